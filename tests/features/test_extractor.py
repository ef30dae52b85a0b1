"""From a sample to features: families, options, background, foreground, and no ground truth."""

import numpy as np
import pytest
from recorded import RECORDED
from samples import HAND_MADE, TINY, dome
from samples import on_a_table as table

from mmadlib.errors import DataError, SettingsError, UnknownName, WeightsError
from mmadlib.experiments.grids import read_sweep
from mmadlib.experiments.source import Source
from mmadlib.features import FAMILIES, Extractor, extract, extractor, family, given
from mmadlib.features.dino import Dino
from mmadlib.features.point_mae import PointMAE
from mmadlib.prepare import isolate
from mmadlib.prepare.grid import to_grid
from mmadlib.sample import Sample


@pytest.mark.parametrize("name", ["descriptors", "random"])
def test_families_without_weights(name):
    features = extract(dome(), *FAMILIES[name], size=112)
    assert features.size == (112, 112) and features.meta["family"] == name
    valid = (features.cloud != 0).all(-1)
    assert features.foreground.any() and not (features.foreground & ~valid).any()
    assert features.foreground.sum() > 0.8 * valid.sum()
    for side in (features.rgb, features.xyz):
        rows = np.asarray(side.interp[features.pixels].sum(1))
        np.testing.assert_allclose(rows, 1, atol=1e-5)
        assert np.isfinite(side.dense().numpy()).all()


def test_paper_like_family():
    features = extract(dome(), **TINY, size=96)
    assert features.rgb.channels == 192 and features.xyz.channels == 384 and features.meta["family"] == "paper"
    np.testing.assert_array_equal(features.foreground, features.xyz.support)
    valid = (features.cloud != 0).all(-1)
    assert (features.foreground | ~valid).all(), "the published mask covers every valid point"
    assert features.foreground.sum() > valid.sum()


def test_mixed_features_are_no_paper_family():
    mixed = Extractor("vit_tiny_patch16_224", "descriptors", 96, rgb_weights="random", rgb_blocks=1)
    features = mixed(dome())
    assert features.meta["family"] == mixed.family == "mixed"
    assert not (features.foreground & ~(features.cloud != 0).all(-1)).any()


def test_features_know_no_ground_truth():
    sample = dome()
    changed = sample.with_(mask=~sample.mask, label=0, defect="good", modality="none")
    one, other = (extract(s, **HAND_MADE, size=112) for s in (sample, changed))
    assert one.meta == other.meta
    np.testing.assert_array_equal(one.rgb.tokens, other.rgb.tokens)
    np.testing.assert_array_equal(one.xyz.tokens, other.xyz.tokens)


def test_same_sample_same_bits_and_nothing_in_place():
    sample = dome()
    before = sample.xyz.copy(), sample.rgb.copy()
    one, other = (Extractor(**HAND_MADE, size=112)(sample) for _ in range(2))
    np.testing.assert_array_equal(one.xyz.tokens, other.xyz.tokens)
    np.testing.assert_array_equal(one.rgb.interp.data, other.rgb.interp.data)
    np.testing.assert_array_equal(sample.xyz, before[0])
    np.testing.assert_array_equal(sample.rgb, before[1])


def test_the_table_goes_where_the_dataset_has_one():
    sample = table()
    removed, kept = Extractor(**HAND_MADE, size=96)(sample), Extractor(**HAND_MADE, size=96, isolate=False)(sample)
    assert kept.foreground.mean() > 0.9
    assert 0.1 < removed.foreground.mean() < 0.5
    for dataset in ("road", "folder"):
        other = sample.with_(dataset=dataset)
        assert Extractor(**HAND_MADE, size=96)(other).foreground.mean() > 0.9
        assert Extractor(**HAND_MADE, size=96, isolate=True)(other).foreground.mean() < 0.5
    isolated = dome(dataset="rendered")
    np.testing.assert_array_equal(Extractor(**HAND_MADE, size=96)(isolated).cloud, isolated.xyz)


@pytest.mark.parametrize(("names", "blind"), [(HAND_MADE, True), ({"rgb": "random", "xyz": "random"}, True), (TINY, False),
                                             ({}, False)], ids=["descriptors", "random", "vit", "learned"])
def test_a_masked_picture_is_that_of_the_part_on_black(names, blind):
    sample, options = table(), names | {"size": 96, "isolate": True}
    found = extract(sample, **options, rgb_masked=True)
    isolated = Extractor(**options).tokens(sample).valid
    black = sample.with_(rgb=sample.rgb * isolated[..., None])
    np.testing.assert_array_equal(found.rgb.tokens, extract(black, **options).rgb.tokens)
    kept = extract(sample, **options)
    assert np.array_equal(found.rgb.tokens, kept.rgb.tokens) == blind, "only backbones look at the background"
    np.testing.assert_array_equal(found.xyz.tokens, kept.xyz.tokens)
    np.testing.assert_array_equal(found.foreground, kept.foreground)


def test_the_masked_picture_knows_no_background(monkeypatch):
    seen = []
    monkeypatch.setattr(given, "to_grid", lambda *what: seen.append(to_grid(*what)) or seen[-1])
    sample = dome()
    assert (sample.rgb[~sample.valid] > 0).all()
    extract(sample, **HAND_MADE, size=96, rgb_masked=True)
    assert not seen[0].rgb[~sample.valid].any() and (sample.rgb[~sample.valid] > 0).all(), "not in place"
    np.testing.assert_array_equal(seen[0].rgb[sample.valid], sample.rgb[sample.valid])
    other = sample.with_(rgb=np.where(sample.valid[..., None], sample.rgb, 255).astype(np.uint8))
    for masked, same in ((True, True), (False, False)):
        one, two = (extract(s, **TINY, size=96, rgb_masked=masked).rgb.tokens for s in (sample, other))
        assert np.array_equal(one, two) == same


def test_the_masked_picture_is_the_one_that_m3dm_writes(monkeypatch):
    """Recorded: table and clutter are black, pixels without a return keep their colour."""
    recorded, seen = np.load(RECORDED / "preprocess.npz"), []
    monkeypatch.setattr(isolate, "fit_plane", lambda *_: recorded["in.plane"])
    monkeypatch.setattr(given, "to_grid", lambda *what: seen.append(to_grid(*what)) or seen[-1])
    xyz = recorded["in.xyz"]
    sample = Sample(np.random.default_rng(0).integers(1, 256, xyz.shape, dtype=np.uint8), xyz)
    extract(sample, **HAND_MADE, size=160, pad="zero", isolate=True, rgb_masked=True)
    extract(sample, **HAND_MADE, size=160, pad="zero", isolate=True, rgb_masked=False)
    kept = np.unpackbits(recorded["out.m3dm_rgb_kept"], count=xyz[..., 0].size).reshape(xyz.shape[:2]).astype(bool)
    assert (kept & ~sample.valid).sum() == 608
    black = to_grid(sample.with_(rgb=sample.rgb * kept[..., None]), 160, "zero").rgb
    np.testing.assert_array_equal(seen[0].rgb, black)
    np.testing.assert_array_equal(seen[1].rgb, to_grid(sample, 160, "zero").rgb)


def test_a_newer_option_leaves_the_settings_of_older_runs_alone():
    base, named = Extractor(**HAND_MADE, size=96), Extractor(**HAND_MADE, size=96, rgb_masked=False)
    assert "rgb_masked" not in base.settings and named.settings == base.settings and named.key == base.key
    masked = Extractor(**HAND_MADE, size=96, rgb_masked=True)
    assert masked.settings == base.settings | {"rgb_masked": True} and masked.key != base.key


@pytest.mark.parametrize("options", [{}, {"rgb_masked": True}, {"fps_start": "random"}])
def test_a_sweep_takes_options(options, tmp_path):
    sweep = {"dataset": "rendered", "categories": ["plain"], "shots": [1], "seeds": [0], "root": str(tmp_path),
             "features": "random", "methods": {"nearest": {"rgb": {"bank": "rgb", "options": options}}}}
    cell, = read_sweep(sweep)
    made = Source(**cell.source(), cache=None, progress=False).extractor
    assert cell.expected()["features"] == made.settings
    assert {name: made.settings.get(name) for name in options} == options


def test_a_random_first_centre_is_an_option():
    def canvas(**more):
        return extract(dome(), **TINY, size=96, **more).xyz

    np.testing.assert_array_equal(canvas(fps_start="random").tokens, canvas(fps_start="random").tokens)
    assert not np.array_equal(canvas(fps_start="random").tokens, canvas().tokens)
    for wrong, match in (("ramdom", "random"), (-1, "fps_start=-1"), (True, "fps_start=True"), (None, "fps_start=None")):
        with pytest.raises(SettingsError, match=match):
            Extractor(fps_start=wrong)


def test_invalid_points_are_zero_in_the_cloud():
    sample = dome()
    xyz = sample.xyz.copy()
    xyz[40, 40, 1] = 0  # one zero coordinate: no point
    features = extract(sample.with_(xyz=xyz, valid=None), **HAND_MADE, size=96)
    assert (features.cloud[40, 40] == 0).all() and not features.foreground[40, 40]


def test_truth_goes_beside_the_features():
    tokens = Extractor(**HAND_MADE, size=192).tokens(dome(96))
    assert tokens.truth.mask.shape == (192, 192) and tokens.truth.label == 1 and tokens.truth.defect == "dent"
    assert tokens.truth.mask.sum() == 4 * dome(96).mask.sum()


@pytest.mark.parametrize("points", [0, 5])
def test_an_almost_empty_cloud_is_named(points, tmp_path):
    sample = dome(path=tmp_path / "003.png")
    xyz = np.zeros_like(sample.xyz)
    xyz[48, 48:48 + points] = 0.5
    with pytest.raises(DataError, match=rf"003\.png: has only {points} valid points"):
        extract(sample.with_(xyz=xyz, valid=None), **HAND_MADE, size=96)


@pytest.mark.parametrize(("axes", "fault"), [(0, "all at one place"), (1, "all on one line"), (2, "")])
@pytest.mark.parametrize("noise", [0, 3e-8])
def test_a_cloud_that_spans_no_surface_is_named(axes, fault, noise, tmp_path):
    sample = dome(path=tmp_path / "003.png")
    v, u = (0.04 * (i / 96 - 0.5) for i in np.mgrid[:96, :96])
    steps = np.stack([u * (axes > 0) + v * (axes > 1), 2 * u * (axes > 0) - v * (axes > 1), 0 * u], -1)
    jitter = np.random.default_rng(0).normal(0, noise, steps.shape)
    sample = sample.with_(xyz=(steps + jitter + [0.1, 0.2, 0.5]).astype(np.float32) * sample.valid[..., None], valid=None)
    if fault:
        with pytest.raises(DataError, match=rf"003\.png: has its \d+ points {fault}; check the cloud"):
            extract(sample, **HAND_MADE, size=96)
        assert extract(sample.with_(missing="xyz"), "descriptors", "none", size=96).meta["missing"] == "xyz"
    else:
        assert np.isfinite(extract(sample, **HAND_MADE, size=96).xyz.tokens).all()  # a flat part is a part


def test_points_are_counted_before_the_cloud_is_made_smaller():
    sample = dome(400)
    sparse = np.zeros((400, 400), bool)
    sparse[1::40, 1::40] = True
    thin = sample.with_(xyz=sample.xyz * sparse[..., None], valid=None)
    assert thin.valid.sum() > 30 and extract(thin, **HAND_MADE).size == (224, 224)
    off_grid = sample.with_(xyz=np.roll(sample.xyz * sparse[..., None], 1, 0), valid=None)
    with pytest.raises(DataError, match="valid points, 0 of them on a grid of 100 px"):
        extract(off_grid, **HAND_MADE, size=100)


def test_keys_name_everything_that_matters():
    base = Extractor(**HAND_MADE, size=112)
    others = [*(Extractor(**HAND_MADE, **more) for more in ({"size": 96}, {"size": 112, "pad": "zero"},
                                                            {"size": 112, "isolate": False})),
              Extractor("random", "random", 112), Extractor("random", "random", 112, seed=1),
              *(Extractor(**TINY | {"size": 96} | more) for more in ({}, {"seed": 1}, {"backbone_mode": "eval"},
                                                                     {"xyz_blocks": 1}, {"rgb_blocks": 1}))]
    keys = [base.key, *(o.key for o in others)]
    assert len(set(keys)) == len(keys)
    assert Extractor(**HAND_MADE, size=112).key == base.key
    assert "device" not in base.settings and base.settings["pad"] == "edge"


def test_keys_name_the_code_of_the_extractor(monkeypatch):
    asked = set()
    monkeypatch.setattr(extractor, "digest_of", lambda *patterns: asked.update(patterns) or "")
    Extractor(**HAND_MADE)
    assert {"features/extractor.py", "features/front_ends.py", "features/given.py"} <= asked


def test_backbones_are_loaded_once():
    extractor._extractor.cache_clear()
    for _ in range(3):
        extract(dome(), **HAND_MADE, size=96)
    assert extractor._extractor.cache_info().hits == 2


def test_family_names():
    assert family("paper") == ("dino_vitb8", "point_mae")
    assert family("dinov2_vitb14+descriptors") == ("dinov2_vitb14", "descriptors")
    with pytest.raises(UnknownName, match="'descriptors'"):
        family("descriptor")
    with pytest.raises(UnknownName, match="unknown features 'None'"):
        family(None)


@pytest.mark.parametrize(("wrong", "match"), [({"xyz": "point_mea"}, "point_mae"), ({"rgb": "dino_vitb9"}, "dino_vitb8"),
                                              ({"rgb_block": 8}, "rgb_blocks"), ({"pad": "egde"}, "edge"),
                                              ({"backbone_mode": "evall"}, "eval"), ({"rgb": None}, "feature 'None'"),
                                              ({"xyz": None}, "feature 'None'")])
def test_unknown_names_suggest_the_nearest(wrong, match):
    with pytest.raises(UnknownName, match=match):
        extract(dome(), **wrong)


@pytest.mark.parametrize(("name", "value"), [
    ("isolate", "yes"), ("isolate", 1), ("rgb_weights", 5), ("xyz_weights", 5), ("xyz_sha256", 0), ("groups", None),
    ("size", 55), ("size", 224.0), ("size", True), ("seed", -1), ("seed", "a"), ("device", "cudaa"), ("device", "cuda:99")])
def test_options_are_checked_even_where_nothing_looks_at_them(name, value):
    for make in (lambda **option: extract(dome(), **option), Extractor):
        with pytest.raises(SettingsError, match=f"{name}={value!r}"):
            make(**{name: value})


@pytest.mark.parametrize("make", [lambda: Dino(TINY["rgb"], 1, 64, "random", device="cudaa"),
                                  lambda: PointMAE(1, weights="random", device="cudaa")])
def test_backbones_check_their_device_themselves(make):
    with pytest.raises(SettingsError, match="device='cudaa'"):
        make()


def test_wrong_types_and_missing_weights(monkeypatch, tmp_path):
    with pytest.raises(SettingsError, match=r"rgb_blocks='8': expected int, got str"):
        Extractor(rgb_blocks="8")
    monkeypatch.setattr("mmadlib.paths.WEIGHTS", tmp_path)
    with pytest.raises(WeightsError, match=r"pretrain\.pth"):
        Extractor("descriptors", "point_mae")
