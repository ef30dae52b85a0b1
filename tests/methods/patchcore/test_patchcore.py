"""PatchCore against recorded outputs of the official code (tests/data/golden/patchcore.npz) and its invariants."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from recorded import RECORDED, assert_whole
from synthetic import shared_latent

from mmadlib.errors import MissingModality, SettingsError, UnknownName
from mmadlib.features.field import FeatureMap, Features
from mmadlib.features.operators import bilinear
from mmadlib.methods import METHODS, patch_rows
from mmadlib.methods.memory import Memory
from mmadlib.methods.patchcore import VARIANTS, embedding

PatchCore = METHODS["patchcore"]


@pytest.fixture(scope="module")
def golden():
    return dict(np.load(RECORDED / "patchcore.npz"))


def recorded(d, i) -> Features:
    """Both levels of an image on one raster, as a network gives them."""
    coarse = F.interpolate(torch.from_numpy(d["layer3"][i])[None], 12, mode="bilinear", align_corners=False)[0]
    fmap = FeatureMap(torch.cat([torch.from_numpy(d["layer2"][i]), coarse]).flatten(1).T, bilinear(12, 96), 96)
    account = {"grid": {}, "rgb": {"rgb": "wide_resnet50_2", "levels": "8+16"}, "xyz": {"xyz": "none"}, "isolate": True,
               "settings": {"rgb": "wide_resnet50_2", "xyz": "none"}}
    return Features(fmap, fmap, np.ones((96, 96), bool), np.ones((96, 96, 3), np.float32), {"standardise": ["rgb"],
                                                                                            "extraction": account})


def test_patches_are_the_official_ones(golden):
    maps = [[torch.from_numpy(golden[name][i]) for name in ("layer2", "layer3")] for i in (0, 1)]
    width, target = int(golden["pretrain_embed_dim"]), int(golden["target_embed_dim"])
    found = torch.cat([embedding(pair, width, target).flatten(1).T for pair in maps])
    np.testing.assert_allclose(found, golden["embedding"], rtol=0, atol=2e-6)


def test_scores_and_maps_are_the_official_ones(golden, monkeypatch):
    monkeypatch.setitem(patch_rows.LEVELS, ("8+16", 16), (6, 10))
    parts = [recorded(golden, i) for i in (0, 1)]
    model = PatchCore(**VARIANTS["published"] | {"grid": 12, "width": 16}).fit(parts, progress=False)
    model.banks["rgb"] = Memory(torch.from_numpy(golden["bank"]))
    for i, part in enumerate(parts):
        rows = model.cells(part, "rgb").rows
        np.testing.assert_allclose(rows, golden["embedding"][144 * i:144 * (i + 1)], rtol=0, atol=2e-6)
        squares = model.banks["rgb"].nearest(rows)[0][:, 0] ** model.power
        np.testing.assert_allclose(squares, golden["score"][144 * i:144 * (i + 1)], rtol=0, atol=1e-5)
        found = model.score(part)
        assert found.image == pytest.approx(float(golden["image_score"][i]), abs=1e-5)
        assert_whole(found.map, golden["segmentation"][i], 1e-5)


def test_a_mean_over_a_patch_is_what_one_level_at_its_own_width_gives():
    image = torch.randn(5, 6, 6)
    torch.testing.assert_close(embedding([image], 5, 5), F.avg_pool2d(image[None], 3, 1, 1)[0])


def test_the_amazon_dialect_squares_the_distances_of_the_other():
    train, test = shared_latent(2), shared_latent(1, seed=4)[0]
    squares, distances = (PatchCore(dialect=d, image="patch", smooth="none").fit(train, progress=False)
                          for d in ("amazon", "line"))
    assert torch.equal(squares.banks["rgb"].rows, distances.banks["rgb"].rows)
    one, two = squares.score(test), distances.score(test)
    assert one.image == pytest.approx(two.image**2, rel=1e-6)
    inside = test.foreground
    np.testing.assert_allclose(one.map[inside], two.map[inside] ** 2, rtol=1e-4)


@pytest.mark.parametrize("modality", ["rgb", "xyz"])
def test_a_bank_of_one_modality_needs_no_other(modality):
    other = {"rgb": "xyz", "xyz": "rgb"}[modality]
    none, train = FeatureMap(torch.zeros(1, 0), np.ones((576, 1), np.float32), 24), shared_latent(2)
    lacking = [replace(f, **{other: none}, meta=f.meta | {"missing": other}) for f in train]
    model = PatchCore(modality=modality).fit(lacking, progress=False)
    whole = PatchCore(modality=modality).fit(train, progress=False)
    assert np.array_equal(model.score(lacking[0]).map, whole.score(train[0]).map)
    with pytest.raises(MissingModality):
        PatchCore(modality=other).fit(lacking, progress=False)
    with pytest.raises(MissingModality):
        PatchCore(modality=other).fit(train, progress=False).score(lacking[0])


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_runs_saves_and_repeats(variant, tmp_path):
    train, test = shared_latent(1), shared_latent(1, seed=4)[0]
    one, two = (PatchCore(seed=3, **VARIANTS[variant]).fit(train, progress=False) for _ in range(2))
    again, found = PatchCore.load(one.save(tmp_path)), one.score(test)
    assert np.isfinite(found.map).all() and found.map.any() and found.image > 0
    for other in (two, again):
        assert np.array_equal(other.score(test).map, found.map) and other.score(test).image == found.image
    assert set(found.parts) == {one.settings.modality}


def test_the_background_stays_out_and_own_patches_score_nothing():
    train = shared_latent(2)
    found = PatchCore(coreset=1.0, smooth="none").fit(train, progress=False).score(train[0])
    assert found.image == 0 and not found.map.any()
    other = PatchCore(smooth="none").fit(train, progress=False).score(shared_latent(1, seed=4)[0])
    assert other.map.any() and not other.map[~train[0].foreground].any()
    nothing = replace(train[0], foreground=np.zeros((24, 24), bool))
    assert not PatchCore().fit(train, progress=False).score(nothing).map.any()


def test_the_search_depends_on_the_seed():
    one, two = (PatchCore(seed=s).fit(shared_latent(2), progress=False).banks["rgb"].rows for s in (0, 1))
    assert not torch.equal(one, two)


def test_neighbourhoods_blur():
    train = shared_latent(2)
    spreads = [PatchCore(neighbourhood=n, coreset=1.0).fit(train, progress=False).banks["rgb"].rows.std() for n in (1, 3, 5)]
    assert spreads[0] > spreads[1] > spreads[2]


@pytest.mark.parametrize(("wrong", "error"), [({"modality": "both"}, UnknownName), ({"dialect": "m3dm"}, UnknownName),
                                              ({"neighbourhood": 2}, SettingsError), ({"neighbourhood": 0}, SettingsError)])
def test_bad_settings(wrong, error):
    with pytest.raises(error):
        PatchCore(**wrong)
