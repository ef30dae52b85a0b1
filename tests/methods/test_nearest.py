"""Nearest: what each bank sees, calibration, saving, bad settings."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import sparse

from mmadlib.errors import MissingModality, SettingsError, TrainingError, UnknownName
from mmadlib.features.field import FeatureMap, Features
from mmadlib.features.operators import bilinear
from mmadlib.methods.nearest import Nearest, cell_pixels
from mmadlib.methods.token_grid import to_pixels

SIZE, SPOT = 56, (30, 30)
KINDS = ("rgb", "xyz", "joint", "max")


def features(seed, odd=(), rgb_grid=14, xyz_grid=28, family="descriptors", foreground=None):
    """Random colours and shapes that agree (3D = -RGB, coarsely); `odd` sides are wrong around SPOT."""
    rng = np.random.default_rng(seed)
    sign = np.where(rng.random((7, 7)) < 0.5, -1.0, 1.0)
    maps = {}
    for side, grid, width in (("rgb", rgb_grid, 5), ("xyz", xyz_grid, 3)):
        base = np.kron(sign, np.ones((grid // 7, grid // 7))) * (1 if side == "rgb" else -1)
        tokens = base[..., None] + 0.05 * rng.normal(size=(grid, grid, width))
        if side in odd:
            row, column = (p * grid // SIZE for p in SPOT)
            tokens[row - 1:row + 2, column - 1:column + 2] = 4
        maps[side] = FeatureMap(tokens.reshape(-1, width), bilinear(grid, SIZE), SIZE)
    if foreground is None:
        foreground = np.ones((SIZE, SIZE), bool)
        foreground[:4] = False
    return Features(maps["rgb"], maps["xyz"], foreground, np.zeros((SIZE, SIZE, 3), np.float32),
                    {"family": family, "standardise": [] if family == "paper" else ["rgb", "xyz"]})


@pytest.fixture(scope="module")
def normal():
    return [features(i) for i in range(4)]


def fitted(normal, **settings):
    return Nearest(**settings).fit(normal, progress=False)


@pytest.mark.parametrize("bank", KINDS)
def test_each_bank_sees_its_modality_and_no_other(normal, bank):
    method = fitted(normal, bank=bank)
    good = method.score(features(9))
    for side in ("rgb", "xyz"):
        bad = method.score(features(9, odd=(side,)))
        if bank in ("joint", "max", side):
            assert bad.image > 1.5 * good.image
            assert np.hypot(*np.subtract(np.unravel_index(bad.map.argmax(), bad.map.shape), SPOT)) < 8
        else:
            assert bad.image == good.image and np.array_equal(bad.map, good.map)
    assert good.map.shape == (SIZE, SIZE) and good.map.dtype == np.float32 and good.image == good.map.max()
    assert set(good.parts) == {"rgb": {"rgb"}, "xyz": {"xyz"}, "joint": {"joint"}, "max": {"rgb", "xyz"}}[bank]


def test_only_the_joint_bank_sees_a_wrong_pair(normal):
    """A legal colour beside a legal shape, wrong together: sides of opposite sign agree in every training sample."""
    wrong = features(9)
    wrong = Features(wrong.rgb, wrong.xyz.with_tokens(-wrong.xyz.tokens), wrong.foreground, wrong.cloud, wrong.meta)
    # cell borders blend to zero, where a wrong sign is no fault: compare the bulk of the map
    ratio = {bank: np.median(fitted(normal, bank=bank, smooth="none").score(wrong).map)
             / np.median(fitted(normal, bank=bank, smooth="none").score(features(9)).map) for bank in ("joint", "rgb", "xyz")}
    assert ratio["joint"] > 3 and 0.7 < ratio["rgb"] < 1.4 and 0.7 < ratio["xyz"] < 1.4


def test_a_training_image_scores_zero_against_its_own_bank(normal):
    scores = fitted(normal, bank="rgb", size=10**6, smooth="none").score(normal[0])
    assert scores.image == 0 and not scores.map.any()


@pytest.mark.parametrize("choose", ["random", "coreset"])
def test_same_seed_same_bits_and_size_is_a_limit(normal, choose):
    first, second = (fitted(normal, choose=choose, size=300, seed=3) for _ in range(2))
    assert len(first.banks["joint"]) == 300
    assert torch.equal(first.banks["joint"].rows, second.banks["joint"].rows)
    assert np.array_equal(first.score(features(9)).map, second.score(features(9)).map)
    other = fitted(normal, choose=choose, size=300, seed=4)
    assert not torch.equal(first.banks["joint"].rows, other.banks["joint"].rows)


def test_calibration_leaves_the_image_out(normal):
    method = fitted(normal, bank="max", size=10**6)
    rows = [method.rows(f, "rgb", cell_pixels(f)[0]) for f in normal]
    expected = torch.cat([torch.cdist(r, torch.cat(rows[:i] + rows[i + 1:]), compute_mode="donot_use_mm_for_euclid_dist")
                          .min(1).values for i, r in enumerate(rows)])
    assert torch.allclose(method.typical["rgb"], torch.stack([expected.mean(), expected.std(correction=0)]), rtol=1e-4)


def test_one_shot_calibration_leaves_the_row_out(normal):
    mean, std = fitted(normal[:1], bank="max").typical["xyz"]
    assert mean > 0 and std > 0
    single = features(0, foreground=np.arange(SIZE**2).reshape(SIZE, SIZE) == 100)
    assert np.isfinite(fitted([single], bank="max").score(single).map).all()


def test_calibration_of_distances_that_do_not_vary():
    method, same = Nearest(), torch.ones(6, 3)
    assert method.calibrate(same, np.repeat([0, 1], 3)).tolist() == [0, pytest.approx(1e-6)]
    assert method.calibrate(torch.tensor([[0.0], [3.0]]), np.zeros(2, int)).tolist() == [3, pytest.approx(1e-6)]
    assert method.calibrate(same[:1], np.zeros(1, int)).tolist() == [0, 1]  # no distance at all


def test_calibration_by_hand():
    """Two images on a line, 0 and 4, 1 and 2: the nearest of the other image are at 1, 2, 1, 2, the mean of two at 1.5, 2.5,
    2, 2; as one image, the nearest other row is at 1, 2, 1, 1."""
    rows, image = torch.tensor([[0.0], [4.0], [1.0], [2.0]]), np.array([0, 0, 1, 1])
    assert Nearest().calibrate(rows, image).tolist() == [1.5, 0.5]
    assert Nearest(k=2).calibrate(rows, image).tolist() == [2, pytest.approx(0.125**0.5)]
    assert Nearest().calibrate(rows, np.zeros(4, int)).tolist() == [1.25, pytest.approx(0.1875**0.5)]


def test_more_neighbours_average(normal):
    one, five = (fitted(normal, k=k, smooth="none").score(features(9)).map for k in (1, 5))
    assert (five >= one - 1e-6).all() and five.sum() > one.sum()


def test_paper_features_are_not_standardised():
    train = [features(i, family="paper") for i in range(2)]
    scaled = [Features(f.rgb.with_tokens(f.rgb.tokens * 10), f.xyz, f.foreground, f.cloud, f.meta) for f in train]
    test = features(9, family="paper")
    times10 = Features(test.rgb.with_tokens(test.rgb.tokens * 10), test.xyz, test.foreground, test.cloud, test.meta)
    plain = fitted(train, bank="rgb").score(test).image
    assert fitted(scaled, bank="rgb").score(times10).image == pytest.approx(10 * plain, rel=1e-4)


def test_no_foreground_gives_a_zero_map(normal):
    nothing = features(9, foreground=np.zeros((SIZE, SIZE), bool))
    for bank in KINDS:
        scores = fitted(normal, bank=bank).score(nothing)
        assert scores.image == 0 and not scores.map.any()


@pytest.mark.parametrize("bank", KINDS)
def test_save_and_load(normal, bank, tmp_path):
    method = fitted(normal, bank=bank, size=200)
    again = Nearest.load(method.save(tmp_path / "model"))
    assert np.array_equal(method.score(features(9)).map, again.score(features(9)).map)


def test_cells_and_back_on_any_frame():
    foreground = np.zeros((112, 224), bool)
    foreground[20:80, 30:190] = True
    blank = FeatureMap(np.zeros((1, 2)), sparse.csr_array((112 * 224, 1)), (112, 224))
    frame = Features(blank, blank, foreground, np.zeros((112, 224, 3), np.float32))
    pixels, on = cell_pixels(frame)
    assert on.shape == (56, 56) and foreground.ravel()[pixels].all()
    centres = torch.from_numpy(pixels % 224).float()
    ramp = to_pixels(centres, torch.from_numpy(on.ravel()), on.shape, foreground)  # the value of a cell is its centre's column
    assert not ramp[~foreground].any()
    assert np.allclose(ramp[40:60, 60:160], np.arange(60, 160) + 0.5, atol=1)


@pytest.mark.parametrize(("settings", "error"), [({"bank": "rbg"}, UnknownName), ({"choose": "corset"}, UnknownName),
                                                 ({"smooth": "gaus"}, UnknownName), ({"size": 0}, SettingsError),
                                                 ({"k": 0}, SettingsError), ({"size": "many"}, SettingsError),
                                                 ({"k": None}, SettingsError), ({"bank": None}, SettingsError)])
def test_bad_settings(settings, error):
    with pytest.raises(error):
        Nearest(**settings)


@pytest.mark.parametrize(("side", "modality"), [("rgb", "RGB"), ("xyz", "3D")])
def test_features_that_are_not_finite_are_refused(normal, side, modality):
    tokens = getattr(normal[0], side).tokens.clone()
    tokens[5, 1] = torch.nan
    broken = replace(normal[0], **{side: getattr(normal[0], side).with_tokens(tokens)})
    with pytest.raises(TrainingError, match=f"{modality} features are not finite"):
        fitted([normal[1], broken])


@pytest.mark.parametrize(("bank", "other"), [("rgb", "xyz"), ("xyz", "rgb")])
def test_a_bank_of_one_modality_needs_no_other(normal, bank, other):
    none = FeatureMap(torch.zeros(1, 0), np.ones((SIZE**2, 1), np.float32), SIZE)
    lacking = [replace(f, **{other: none}, meta=f.meta | {"missing": other}) for f in normal]
    found, whole = fitted(lacking, bank=bank).score(lacking[0]), fitted(normal, bank=bank).score(normal[0])
    np.testing.assert_array_equal(found.map, whole.map)
    for both in ("joint", "max", other):
        with pytest.raises(MissingModality):
            fitted(lacking, bank=both)


def test_nothing_to_learn_from():
    with pytest.raises(TrainingError):
        fitted([])
    with pytest.raises(TrainingError):
        Nearest().score(features(0))
