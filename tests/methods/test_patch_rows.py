"""Cells of a sample: tokens or means, which of them count, the papers' pooling and its levels."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from recorded import RECORDED, assert_whole
from scipy import sparse

from mmadlib.features.field import FeatureMap, Features
from mmadlib.features.operators import bilinear, masked
from mmadlib.methods import patch_rows
from mmadlib.methods.patch_rows import Cells, cells_of, coarser, is_raster, leading, levels, neighbourhood, of_image, pooled


def field(grid=8, size=24, valid=None, width=3):
    interp = bilinear(grid, size) if valid is None else masked(bilinear(grid, size), valid)
    return FeatureMap(torch.randn(grid**2, width, generator=torch.Generator().manual_seed(0)), interp, size)


def test_a_raster_is_known_by_where_its_tokens_reach():
    assert is_raster(field(), (8, 8)) and not is_raster(field(), (12, 12))
    valid = np.random.default_rng(0).random(64) < 0.5
    assert is_raster(field(valid=valid), (8, 8))
    groups = sparse.csr_array(np.random.default_rng(0).random((576, 64)) * (np.random.default_rng(1).random((576, 64)) < 0.05))
    assert not is_raster(FeatureMap(torch.zeros(64, 2), groups, 24), (8, 8)), "as many groups of points"
    assert not is_raster(FeatureMap(torch.zeros(64, 2), bilinear(8, 24)[::-1], 24), (8, 8)), "upside down"


def test_on_its_raster_a_map_gives_its_tokens():
    seen = np.zeros((24, 24), bool)
    seen[6:12, 3:9] = True
    found = cells_of(field(), seen, 8)
    assert torch.equal(found.values, field().tokens)
    assert found.valid.reshape(8, 8)[2:4, 1:3].all() and found.valid.sum() == 4 and len(found.rows) == 4
    assert cells_of(field(), None, 8).valid.all()


def test_a_pixel_whose_own_token_is_invalid_takes_the_nearest():
    valid = np.ones(64, bool)
    valid[9] = False  # row 1, column 1
    fmap = field(valid=valid)
    found = np.flatnonzero(leading(fmap, np.array([3 * 24 + 4])))  # in the cell of token 9, nearest to token 1 above
    assert found.tolist() == [1]
    assert np.flatnonzero(leading(field(), np.array([4 * 24 + 4]))).tolist() == [9]
    assert not leading(field(), np.array([], int)).any()


def test_on_another_raster_it_gives_means_of_the_pixels_that_count():
    seen = np.zeros((24, 24), bool)
    seen[0, :7] = True
    found = cells_of(field(), seen, 4)
    dense = field().dense()
    assert np.flatnonzero(found.valid).tolist() == [0, 1]
    torch.testing.assert_close(found.values[0], dense[0, :6].mean(0))
    torch.testing.assert_close(found.values[1], dense[0, 6])
    whole = cells_of(field(), None, 4)
    torch.testing.assert_close(whole.values[0], dense[:6, :6].mean((0, 1)))
    assert whole.valid.all() and whole.grid == (4, 4) and cells_of(field(), None, 99).grid == (24, 24)


def test_a_neighbourhood_is_the_mean_of_what_counts():
    values = torch.arange(9.0)[:, None]
    on = torch.tensor([1, 1, 0, 1, 1, 0, 0, 0, 0], dtype=torch.bool)
    found = neighbourhood(Cells(values, on, (3, 3)))
    assert found.values[:2, 0].tolist() == [2, 2] and found.values[8, 0] == 4
    assert neighbourhood(Cells(values, on, (3, 3)), 1).values is values
    assert neighbourhood(of_image(torch.ones(2, 4, 5))).values == pytest.approx(1)


def test_pooling_is_the_official_one():
    d = np.load(RECORDED / "btf.npz")
    maps = [torch.from_numpy(d[f"rgb{i}_train"][0]) for i in (2, 3)]
    found = of_image(pooled(maps, (28, 28)))
    assert found.values.shape == (784, 10) and found.grid == (28, 28)
    assert_whole(found.values, d["rgb_patch"], 1e-5)
    wide = of_image(pooled([torch.zeros(512, 28, 28), torch.zeros(1024, 14, 14)], (28, 28)))  # of WideResNet-50
    assert wide.values.shape == (784, 1536)


def test_levels_are_recovered(monkeypatch):
    monkeypatch.setitem(patch_rows.LEVELS, ("8+16", 7), (3, 4))
    fine, coarse = torch.randn(3, 8, 8), torch.randn(4, 4, 4)
    both = torch.cat([fine, F.interpolate(coarse[None], 8, mode="bilinear", align_corners=False)[0]])
    fmap = FeatureMap(both.flatten(1).T, bilinear(8, 24), 24)
    made = {"rgb": {"levels": "8+16"}}

    def found(meta):
        return levels(Features(fmap, fmap, np.ones((24, 24), bool), np.zeros((24, 24, 3), np.float32), meta), "rgb", fmap)

    one, two = found({"extraction": made})
    assert torch.equal(one, fine)
    torch.testing.assert_close(two, coarse, atol=1e-5, rtol=0)
    assert [m.shape for m in found({})] == [(7, 8, 8)] and [m.shape for m in found({"extraction": {"rgb": {}}})] == [(7, 8, 8)]
    odd = FeatureMap(torch.zeros(5, 2), np.ones((576, 5), np.float32), 24)
    assert levels(Features(odd, odd, np.ones((24, 24), bool), np.zeros((24, 24, 3), np.float32)), "rgb", odd) == []


def test_the_widths_of_wide_resnet_are_those_of_timm():
    timm = __import__("mmadlib.features.networks", fromlist=["import_timm"]).import_timm()
    with torch.device("meta"):
        info = timm.create_model("wide_resnet50_2", features_only=True).feature_info
    stages = {stage["reduction"]: stage["num_chs"] for stage in info}
    assert patch_rows.LEVELS["8+16", 1536] == (stages[8], stages[16])


def test_a_resize_is_undone():
    x = torch.randn(2, 14, 14)
    assert coarser(F.interpolate(x[None], 28, mode="bilinear", align_corners=False)[0], 14) == pytest.approx(x, abs=1e-5)
