"""MuSc-V2 as a method: the official chain, a batch and its parts, what is refused, its switches."""

import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from recorded import RECORDED, assert_whole
from synthetic import pixel_features

from mmadlib.errors import MissingModality, SettingsError, TrainingError, UnknownName
from mmadlib.features.field import FeatureMap, Features
from mmadlib.features.operators import bilinear
from mmadlib.methods import BATCH_METHODS, METHODS
from mmadlib.methods.musc.musc import MuSc
from mmadlib.methods.musc.settings import PUBLISHED, VARIANTS

SIZE = 12


def parts(n: int = 6, family: str = "descriptors", seed: int = 0) -> list[Features]:
    """Parts of one kind, one token a pixel; rgb of 6 channels, 3D of 4."""
    rng, foreground = np.random.default_rng(seed), np.zeros((SIZE, SIZE), bool)
    foreground[2:-2, 3:-3] = True
    palette = rng.normal(size=(5, 10))
    found = []
    for _ in range(n):
        x = palette[rng.integers(5, size=SIZE * SIZE)] + 0.1 * rng.normal(size=(SIZE * SIZE, 10))
        found.append(pixel_features(x[:, :6].astype(np.float32), x[:, 6:].astype(np.float32), foreground, family))
    return found


def spoilt(f: Features, side: str, pixel: int = 5 * SIZE + 6, by: float = 9.0) -> Features:
    """The part with one odd token on one side."""
    x = getattr(f, side).tokens.clone()
    x[pixel] += by
    return replace(f, **{side: getattr(f, side).with_tokens(x)})


@pytest.fixture(scope="module")
def batch() -> list[Features]:
    made = parts()
    return [made[0], spoilt(made[1], "xyz"), spoilt(made[2], "rgb", 6 * SIZE + 4), *made[3:]]


def judged(batch, **settings):
    return MuSc(**settings).score_batch(batch, progress=False)


def test_the_whole_chain_is_the_official_one():
    d = dict(np.load(RECORDED / "musc_v2.npz"))
    batch = []
    for x in torch.from_numpy(d["in.e2e.tokens2d"]):  # three layers side by side
        rgb = FeatureMap(x.transpose(0, 1).reshape(49, -1), bilinear(7, 28), 28)
        none = FeatureMap(torch.zeros(1, 0), np.ones((28 * 28, 1), np.float32), 28)
        batch.append(Features(rgb, none, np.ones((28, 28), bool), np.zeros((28, 28, 3), np.float32), {"missing": "xyz"}))
    model = MuSc(**PUBLISHED | {"modality": "rgb", "rgb_layers": 3, "grid": 7})
    found = model.score_batch(batch, progress=False)
    assert_whole(np.stack([s.map for s in found]), d["code.e2e.rgb.maps"], 1e-5)
    np.testing.assert_allclose([s.map.max() for s in found], d["out.e2e.rgb.image_max"], atol=1e-5)
    np.testing.assert_allclose([s.image for s in found], d["out.e2e.rgb.image"], atol=1e-5)


def test_it_stands_in_a_table_of_its_own():
    assert BATCH_METHODS == {"musc": MuSc} and "musc" not in METHODS
    for settings in VARIANTS.values():
        MuSc(**settings)


def test_the_odd_parts_of_a_batch_are_found(batch):
    found = judged(batch, smooth="none")
    assert set(np.argsort([s.image for s in found])[-2:]) == {1, 2}
    assert found[1].parts["xyz"].argmax() == 5 * SIZE + 6 and found[2].parts["rgb"].argmax() == 6 * SIZE + 4
    for s, f in zip(found, batch, strict=True):
        assert s.map.dtype == np.float32 and not s.map[~f.foreground].any() and s.image == s.map.max()


def test_a_part_of_the_batch_is_not_compared_with_itself(batch, tmp_path):
    model = MuSc(smooth="none")
    found = model.score_batch(batch, progress=False)
    np.testing.assert_allclose(model.score(batch[1]).map, found[1].map, atol=1e-4)
    anew = replace(batch[1])  # the same values, another object: its own copy is its nearest neighbour
    assert model.score(anew).map.max() < found[1].map.max()
    np.testing.assert_allclose(model.score(anew, place=1).map, found[1].map, atol=1e-4)
    again = MuSc.load(model.save(tmp_path))
    assert np.array_equal(again.score(batch[1], place=1).map, model.score(batch[1]).map)
    new = parts(1, seed=3)[0]
    assert np.array_equal(again.score(new).map, model.score(new).map)
    one, other = (folder / "model.safetensors" for folder in (tmp_path, again.save(tmp_path / "again")))
    assert one.read_bytes() == other.read_bytes()


def test_fit_keeps_what_a_batch_call_keeps(batch):
    one, other = MuSc(), MuSc().fit(batch, progress=False)
    one.score_batch(batch, progress=False)
    assert one.state().keys() == other.state().keys()
    assert all(torch.equal(value, other.state()[key]) for key, value in one.state().items())


@pytest.mark.parametrize("settings", [{}, {"rescore": "clean"}, {"cae": False}, {"aggregate": "clean", "scale": "unit"}])
def test_the_order_of_the_parts_does_not_matter(batch, settings):
    plain, turned = judged(batch, **settings), judged(batch[::-1], **settings)[::-1]
    for one, other in zip(plain, turned, strict=True):
        np.testing.assert_allclose(one.map, other.map, atol=1e-4)
        assert one.image == pytest.approx(other.image, abs=1e-4)


@pytest.mark.parametrize("n", [0, 1, 2])
def test_fewer_than_three_parts_are_refused(batch, n):
    with pytest.raises(TrainingError, match=r"no training samples|compares the parts of a batch, give at least 3"):
        judged(batch[:n])
    assert len(judged(batch[:3])) == 3


def test_a_part_without_foreground_is_left_out(batch):
    empty = replace(batch[0], foreground=np.zeros((SIZE, SIZE), bool))
    found, plain = judged([*batch, empty], rescore="clean"), judged(batch, rescore="clean")
    assert found[-1].image == 0 and not found[-1].map.any()
    np.testing.assert_allclose(found[1].map, plain[1].map, atol=1e-5)
    assert not MuSc().fit(batch, progress=False).score(empty).map.any()
    with pytest.raises(TrainingError, match="2 parts with foreground"):
        judged([batch[0], batch[3], empty])


def test_copies_are_named_and_identical_parts_score_nothing(batch):
    with pytest.warns(UserWarning, match="parts 1 and 3 of the batch are the same"):
        judged([batch[0], batch[3], batch[0], batch[4]])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert not any(s.map.any() for s in judged([batch[0]] * 5))


def test_the_background_counts_only_where_asked(batch):
    odd = [spoilt(batch[0], "rgb", pixel=0), *batch[1:]]
    settings = {"family": "paper", "standardise": []}
    odd, plain = ([replace(f, meta=settings) for f in some] for some in (odd, batch))
    assert np.array_equal(judged(odd)[0].map, judged(plain)[0].map)
    whole = {"masked": False, "smooth": "none"}
    assert judged(odd, **whole)[0].map[0, 0] > 1.5 * judged(plain, **whole)[0].map[0, 0]


@pytest.mark.parametrize("side", ["rgb", "xyz"])
def test_one_side_is_judged_alone(batch, side):
    other = "xyz" if side == "rgb" else "rgb"
    both, alone = judged(batch, cae=False, smooth="none"), judged(batch, modality=side, smooth="none")
    assert list(alone[0].parts) == [side] and np.array_equal(alone[1].parts[side], both[1].parts[side])
    without = [replace(f, meta=f.meta | {"missing": other}) for f in batch]
    assert np.array_equal(judged(without, modality=side, smooth="none")[1].map, alone[1].map)
    with pytest.raises(MissingModality):
        judged(without)


def test_sides_weigh_alike_or_as_they_are(batch):
    balanced, plain = (judged(batch, fusion=fusion, smooth="none") for fusion in ("balanced", "plain"))
    mean = {side: np.concatenate([s.parts[side][f.foreground] for s, f in zip(plain, batch, strict=True)]).mean()
            for side in ("rgb", "xyz")}
    np.testing.assert_allclose(plain[1].map, plain[1].parts["rgb"] + plain[1].parts["xyz"], atol=1e-6)
    expected = sum(plain[1].parts[side] / mean[side] for side in mean)
    np.testing.assert_allclose(balanced[1].map, expected, rtol=1e-4)


def test_the_anchor_leaves_distances_alone_and_serves_directions(batch):
    for settings, same in (({}, True), ({"scale": "unit"}, False), ({"rescore": "clean"}, False)):
        one, other = (judged(batch, anchor=anchor, **settings) for anchor in (0.0, 1.0))
        assert np.allclose([s.image for s in one], [s.image for s in other], rtol=1e-4) == same


def test_the_scale_of_the_features_does_not_matter_where_they_are_standardised(batch):
    large = [replace(f, rgb=f.rgb.with_tokens(100 * f.rgb.tokens)) for f in batch]
    np.testing.assert_allclose(judged(large)[1].map, judged(batch)[1].map, rtol=1e-3)


def test_unit_tokens_score_between_nothing_and_two(batch):
    found = judged(batch, scale="unit", fusion="plain", smooth="none")
    assert all(0 <= part.min() and part.max() <= 2 for s in found for part in s.parts.values())


def test_cae_and_snamd_change_the_maps(batch):
    plain = judged(batch)[0].map
    for settings in ({"cae": False}, {"aggregate": "clean"}, {"aggregate": "published"}, {"every": 2}, {"grid": 6},
                     {"share": 1.0}, {"corners": True, "grid": 6}):
        found = judged(batch, **settings)[0].map
        assert np.isfinite(found).all() and not np.array_equal(found, plain), settings
    alone = judged(batch, modality="rgb")[0].map
    assert np.array_equal(judged(batch, modality="rgb", cae=True)[0].map, alone), "one side has nobody to ask"


def test_every_second_cell_is_a_chessboard(batch):
    model = MuSc(every=2).fit(batch, progress=False)
    valid = model.tokens(batch[0])[1].reshape(SIZE, SIZE)
    row, column = np.indices((SIZE, SIZE))
    assert np.array_equal(valid, batch[0].foreground & ((row + column) % 2 == 0))
    found = judged(batch, every=2, smooth="none")
    assert (found[0].map[batch[0].foreground] > 0).all() and not found[0].map[~batch[0].foreground].any()


def test_rescoring_is_of_the_batch_and_leaves_the_maps(batch):
    plain = judged(batch)
    for rescore in ("clean", "published"):
        found = judged(batch, rescore=rescore)
        assert all(np.array_equal(a.map, b.map) for a, b in zip(plain, found, strict=True))
        assert [s.image for s in found] != [s.image for s in plain]
    alone = judged(batch, rescore="clean", window=1)
    np.testing.assert_allclose([s.image for s in alone], [s.image for s in plain], rtol=1e-5)


@pytest.mark.parametrize(("wrong", "match"), [
    ({"every": 4}, "every=4"), ({"degrees": "1 2"}, "odd whole numbers"), ({"degrees": ""}, "odd whole numbers"),
    ({"degrees": "x"}, "odd whole numbers"), ({"cae": True, "xyz_layers": 3}, "make them equal"), ({"share": 0.0}, "share")])
def test_settings_that_make_no_sense_are_refused(wrong, match):
    with pytest.raises(SettingsError, match=match):
        MuSc(**wrong)


def test_layers_that_do_not_fit_are_refused(batch):
    with pytest.raises(SettingsError, match=r"rgb_layers=4.*set it to 1"):
        judged([replace(f, meta={}) for f in batch], rgb_layers=4, cae=False)
    with pytest.raises(UnknownName, match="unknown rescore 'no'"):
        MuSc(rescore="no")


def test_parts_that_were_made_differently_are_refused(batch):
    other = replace(batch[0], meta={"family": "paper", "standardise": [], "extraction": {"isolate": True, "settings": {}}})
    with pytest.raises(SettingsError, match="musc: training samples were made differently"):
        judged([*batch, other])


def test_the_same_seed_gives_the_same_bits(batch):
    for settings in ({}, {"cae": False, "aggregate": "clean", "rescore": "clean"}):
        one, other = judged(batch, **settings), judged(batch, **settings)
        assert all(np.array_equal(a.map, b.map) and a.image == b.image for a, b in zip(one, other, strict=True))


def test_nothing_is_judged_before_a_batch(batch):
    with pytest.raises(TrainingError, match=r"musc: fit\(\) or load\(\) comes before score\(\)"):
        MuSc().score(batch[0])
