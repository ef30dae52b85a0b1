"""BTF against recorded outputs of the official code (tests/data/golden/btf.npz) and the invariants of its sheet."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from recorded import RECORDED, assert_whole
from samples import HAND_MADE, dome
from scipy.spatial.transform import Rotation
from synthetic import shared_latent

from mmadlib.errors import MissingModality, SettingsError, UnknownName
from mmadlib.features import Extractor
from mmadlib.features.field import FeatureMap, Features
from mmadlib.features.operators import bilinear
from mmadlib.methods import METHODS, patch_rows
from mmadlib.methods.btf import VARIANTS, fpfh
from mmadlib.methods.btf.histograms import thinned, valid_points
from mmadlib.methods.memory import Memory
from mmadlib.methods.scoring import smooth
from mmadlib.methods.token_grid import to_pixels

BTF = METHODS["btf"]
PUBLISHED = VARIANTS["published"]
EVERYWHERE = np.ones((224, 224), bool)


@pytest.fixture(scope="module")
def golden():
    return dict(np.load(RECORDED / "btf.npz"))


@pytest.fixture(scope="module")
def parts():
    """Domes, 96 px a side, as features."""
    extractor = Extractor(**HAND_MADE, size=96)
    return [extractor(dome(seed=seed)) for seed in range(3)]


def recorded(d, kind, i=None) -> Features:
    """A recorded cloud, with both levels of its RGB maps on one raster as a network gives them."""
    cloud, fine, coarse = (x if i is None else x[i] for x in (d[f"{'clouds' if kind == 'train' else 'cloud'}_{kind}"],
                                                              d[f"rgb2_{kind}"], d[f"rgb3_{kind}"]))
    resized = F.interpolate(torch.from_numpy(coarse)[None], 28, mode="bilinear", align_corners=False)[0]
    tokens = torch.cat([torch.from_numpy(fine), resized]).flatten(1).T
    fmap = FeatureMap(tokens, bilinear(28, 64), 64)
    settings = {"rgb": "none", "xyz": "none"}
    account = {"grid": {}, "rgb": {"rgb": "wide_resnet50_2", "levels": "8+16"}, "xyz": {"xyz": "none"}, "isolate": True,
               "settings": settings}
    cloud = np.ascontiguousarray(cloud.transpose(1, 2, 0))
    return Features(fmap, fmap, valid_points(cloud), cloud, {"standardise": ["rgb"], "extraction": account})


def test_fpfh_is_the_official_one(golden):
    cloud = golden["cloud_test"].transpose(1, 2, 0)
    found = fpfh(cloud, valid_points(cloud))
    assert_whole(found.transpose(2, 0, 1), golden["fpfh_test"], 1e-3)
    patches = BTF(**PUBLISHED | {"parts": "fpfh"})
    patches.standardise.fit([recorded(golden, "test")]).extraction = recorded(golden, "test").extraction
    patches.scale = torch.ones(1)
    assert_whole(patches.cells(recorded(golden, "test"), "fpfh").rows, golden["patch28"], 1e-3)


def test_distances_map_and_score_of_shape_are_the_official_ones(golden):
    train = [recorded(golden, "train", i) for i in (0, 1)]
    model = BTF(**PUBLISHED | {"parts": "fpfh", "coreset": 1.0}).fit(train, progress=False)
    bank = model.banks["fpfh"].rows
    assert len(bank) == 1568 and len(golden["coreset"]) == 156
    ours = BTF(**PUBLISHED | {"parts": "fpfh"}).fit(train, progress=False).banks["fpfh"]
    model.banks["fpfh"] = Memory(bank[golden["coreset"].astype(np.int64)])
    reach = [m.nearest(bank)[0].max().item() for m in (model.banks["fpfh"], ours)]
    assert reach[1] <= reach[0] < 1.05 * reach[1], "in half precision officially: other rows, hardly a worse cover"
    found = model.cells(recorded(golden, "test"), "fpfh")
    distance = model.banks["fpfh"].nearest(found.rows)[0][:, 0]
    np.testing.assert_allclose(distance, golden["fpfh.min_dist"], atol=1e-3)
    assert model.score(recorded(golden, "test")).image == pytest.approx(float(golden["fpfh.s"]), abs=1e-3)
    amap = smooth(to_pixels(distance, found.valid, found.grid, EVERYWHERE), "pil4")
    assert_whole(amap, golden["fpfh.map"], float(golden["fpfh.grey"]))


def test_colour_beside_shape_is_the_official_vector(golden, monkeypatch):
    monkeypatch.setitem(patch_rows.LEVELS, ("8+16", 10), (4, 6))
    model = BTF(**PUBLISHED | {"coreset": 1.0}).fit([recorded(golden, "train", i) for i in (0, 1)], progress=False)
    bank = model.banks["rgb+fpfh"]
    assert bank.rows.shape == (1568, 43)
    assert_whole(bank.rows[:784, :10], golden["rgb_patch"], 1e-5)
    assert model.score(recorded(golden, "test")).image == pytest.approx(float(golden["btf.s"]), abs=1e-3)
    found = model.cells(recorded(golden, "test"), "rgb+fpfh")
    amap = to_pixels(bank.nearest(found.rows)[0][:, 0], found.valid, found.grid, EVERYWHERE)
    assert_whole(smooth(amap, "pil4"), golden["btf.map"], float(golden["btf.grey"]))


def test_histograms_sum_to_200_and_move_with_the_object():
    sample = dome(48)
    valid = valid_points(sample.xyz)
    found = fpfh(sample.xyz, valid)
    np.testing.assert_allclose(found[valid].reshape(-1, 3, 11).sum(2), 200, rtol=1e-4)
    assert not found[~valid].any() and 0 < (~valid).sum()
    moved = np.where(valid[..., None], sample.xyz + np.float32(0.25), 0).astype(np.float32)
    away = np.abs(fpfh(moved, valid)[valid] - found[valid])
    assert np.median(away) < 0.5, "but for the digits that a shift costs"
    assert not fpfh(sample.xyz, np.zeros_like(valid)).any()


def test_neighbour_caps_decide_and_radii_do_not(monkeypatch):
    sample = dome(48)
    valid = valid_points(sample.xyz)
    found = fpfh(sample.xyz, valid)
    monkeypatch.setattr("mmadlib.methods.btf.histograms.FPFH_RADIUS", 10.0)
    np.testing.assert_array_equal(fpfh(sample.xyz, valid), found)
    assert not np.array_equal(fpfh(sample.xyz, valid, neighbours=20), found)
    assert not np.array_equal(fpfh(sample.xyz, valid, normal_neighbours=10), found)


def test_normals_that_look_to_the_camera_make_another_descriptor_that_turns_with_the_object():
    sample = dome(48)
    valid = valid_points(sample.xyz)
    found = fpfh(sample.xyz, valid, orient=True)
    assert not np.array_equal(found, fpfh(sample.xyz, valid))
    turned = (sample.xyz @ Rotation.from_rotvec([0.5, -0.3, 0.8]).as_matrix().T).astype(np.float32)  # around the camera
    away = np.abs(fpfh(turned, valid, orient=True)[valid] - found[valid])
    assert np.median(away) < 0.5, "but for the digits that it costs"


def test_an_eight_bit_map_is_nearly_the_one_in_floats(golden):
    amap = smooth(np.random.default_rng(0).random((224, 224)).astype(np.float32), "gauss4_reflect")
    assert np.abs(smooth(amap, "pil4") - smooth(amap, "gauss4_reflect")).max() < 0.01 * amap.max()
    assert len(np.unique(smooth(np.full((224, 224), 0.3, np.float32), "pil4"))) == 1


def test_thinned_points_stand_in_the_middle_of_their_cells():
    assert np.argwhere(thinned(np.ones((8, 8), bool), 4)).tolist() == [[2, 2], [2, 6], [6, 2], [6, 6]]
    assert thinned(np.ones((3, 3), bool), 1).all()


def test_both_parts_weigh_the_same_when_normalised(parts):
    model = BTF(coreset=1.0).fit(parts, progress=False)
    rows = model.banks["rgb+fpfh"].rows
    for block in (rows[:, :-33], rows[:, -33:]):
        assert (block - block.mean(0)).square().sum(1).mean().sqrt().item() == pytest.approx(1, rel=1e-4)
    plain = BTF(coreset=1.0, normalised=False).fit(parts, progress=False).banks["rgb+fpfh"].rows
    length = plain[:, -33:].norm(dim=1).mean() / plain[:, :-33].norm(dim=1).mean()
    assert 20 < length < 80, "shape outweighs colour"
    weighed = BTF(coreset=1.0, normalised=False, fpfh_weight=0.5).fit(parts, progress=False).banks["rgb+fpfh"].rows
    torch.testing.assert_close(weighed[:, -33:], plain[:, -33:] / 2)


@pytest.mark.parametrize("settings", [{}, {"parts": "rgb"}, {"parts": "fpfh"}, PUBLISHED])
def test_a_training_part_scores_nothing_against_a_whole_bank(parts, settings):
    model = BTF(**settings | {"coreset": 1.0, "smooth": "none"}).fit(parts, progress=False)
    found = model.score(parts[0])
    assert found.image == 0 and not found.map.any()
    assert model.score(parts[0]).parts.keys() == {model.settings.parts}


def test_the_order_of_training_parts_does_not_matter_to_a_whole_bank(parts):
    one, two = (BTF(coreset=1.0).fit(train, progress=False).score(parts[2]) for train in (parts[:2], parts[1::-1]))
    np.testing.assert_allclose(one.map, two.map, atol=1e-5)
    assert one.image == pytest.approx(two.image, abs=1e-5)


def test_colours_do_not_see_shape_and_shape_does_not_see_colour(parts):
    dark = replace(parts[2], rgb=parts[2].rgb.with_tokens(parts[2].rgb.tokens + 3))
    bent = replace(parts[2], cloud=parts[2].cloud * np.float32([1, 1, 1.02]))
    for kind, blind, seen in (("rgb", bent, dark), ("fpfh", dark, bent)):
        model = BTF(parts=kind).fit(parts[:2], progress=False)
        good = model.score(parts[2]).image
        assert model.score(blind).image == good != model.score(seen).image


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_runs_saves_and_repeats(parts, variant, tmp_path):
    one, two = (BTF(**VARIANTS[variant]).fit(parts[:1], progress=False) for _ in range(2))
    again = BTF.load(one.save(tmp_path))
    found = one.score(parts[2])
    assert np.isfinite(found.map).all() and found.map.any() and found.image > 0
    for other in (two, again):
        assert np.array_equal(other.score(parts[2]).map, found.map) and other.score(parts[2]).image == found.image


def test_parts_without_a_cloud_are_refused_where_shape_is_needed(parts):
    none = FeatureMap(torch.zeros(1, 0), np.ones((96**2, 1), np.float32), 96)
    lacking = replace(parts[1], xyz=none, cloud=parts[1].cloud * 0, meta=parts[1].meta | {"missing": "xyz"})
    flat = replace(parts[1], cloud=parts[1].cloud * 0)
    for kind in ("rgb+fpfh", "fpfh"):
        model = BTF(parts=kind).fit(parts, progress=False)
        for sample in (lacking, flat):
            with pytest.raises(MissingModality, match="no cloud"):
                model.score(sample)
            with pytest.raises(MissingModality):
                BTF(parts=kind).fit([sample], progress=False)
        nothing = replace(flat, foreground=np.zeros((96, 96), bool))
        assert model.score(nothing).image == 0 and not model.score(nothing).map.any()
    assert BTF(parts="rgb").fit([lacking], progress=False).score(lacking).map.shape == (96, 96)


def test_the_background_stays_out(parts):
    found = BTF(smooth="none").fit(parts[:2], progress=False).score(parts[2])
    assert found.map.dtype == np.float32 and not found.map[~parts[2].foreground].any() and found.map.any()


@pytest.mark.parametrize(("wrong", "error"), [({"parts": "xyz"}, UnknownName), ({"stride": 0}, SettingsError),
                                              ({"fpfh_neighbours": 2}, SettingsError), ({"reweight": "two"}, UnknownName)])
def test_bad_settings(wrong, error):
    with pytest.raises(error):
        BTF(**wrong)


def test_hand_made_features_will_do():
    assert BTF().fit(shared_latent(1), progress=False).score(shared_latent(1, seed=3)[0]).image > 0
