"""Calibration: ranges of normal distances, and the rules that make one map of three."""

import numpy as np
import pytest
import torch

from mmadlib.errors import UnknownName
from mmadlib.methods.cmsa.calibration import FUSIONS, calibrated, fuse, normal_range

RNG = np.random.default_rng(0)
RAW = {name: RNG.random((6, 7)).astype(np.float32) for name in ("inter", "bank2", "bank3")}
RANGES = {name: torch.tensor([0.1 * i + 0.2, 0.5 + i]) for i, name in enumerate(RAW)}
WEIGHTS = {"inter": 1.0, "bank2": 0.5, "bank3": 0.5}
CLAMPED = {name: np.maximum(calibrated(A, RANGES[name]), 0) for name, A in RAW.items()}


def test_calibrated_distances_have_mean_zero_and_deviation_one():
    distance = torch.from_numpy(RNG.gamma(2, 0.1, 500))
    found = calibrated(distance.numpy(), normal_range(distance))
    assert found.mean() == pytest.approx(0, abs=1e-6) and found.std() == pytest.approx(1, abs=1e-6)
    assert found.dtype == np.float32


def test_ranges_without_a_spread_divide_by_one():
    assert normal_range(torch.full((9,), 0.25)).tolist() == [0.25, 1]
    assert normal_range(torch.full((9,), 0.25) + 1e-8 * torch.arange(9).double()).tolist()[1] == 1
    assert normal_range(torch.zeros(0)).tolist() == [0, 1]


@pytest.mark.parametrize("scale", [1, 1e-4, 1e-8])
def test_a_small_spread_of_small_distances_is_one(scale):
    distance = torch.from_numpy(RNG.gamma(2, 0.1, 500))
    assert torch.allclose(normal_range(scale * distance), scale * normal_range(distance), rtol=1e-5)
    assert normal_range(1e-15 * distance)[1] == 1, "round-off"


def test_sum_product_and_maximum():
    x, two, three = CLAMPED.values()
    np.testing.assert_allclose(fuse(RAW, RANGES, WEIGHTS), x + 0.5 * (two + three), rtol=1e-6)
    np.testing.assert_allclose(fuse(RAW, RANGES, WEIGHTS, "max"), np.maximum(x, 0.5 * np.maximum(two, three)), rtol=1e-6)
    expected = RAW["inter"] * np.sqrt(RAW["bank2"] * RAW["bank3"])
    np.testing.assert_allclose(fuse(RAW, RANGES, WEIGHTS, "product"), expected, rtol=1e-5)


@pytest.mark.parametrize("rule", FUSIONS)
@pytest.mark.parametrize("name", RAW)
def test_one_weight_alone_gives_its_map(rule, name):
    expected = RAW[name] if rule == "product" else CLAMPED[name]
    np.testing.assert_allclose(fuse(RAW, RANGES, dict.fromkeys(RAW, 0.0) | {name: 1.0}, rule), expected, rtol=1e-6)
    np.testing.assert_allclose(fuse({name: RAW[name]}, RANGES, WEIGHTS, rule), expected, rtol=1e-6)


@pytest.mark.parametrize("name", RAW)
def test_the_product_is_zero_where_a_factor_is(name):
    raw = RAW | {name: RAW[name].copy()}
    raw[name][2, 3] = 0
    fused = fuse(raw, RANGES, WEIGHTS, "product")
    assert fused[2, 3] == 0 and (np.delete(fused.ravel(), 2 * 7 + 3) > 0).all()


def test_an_unknown_rule_is_refused():
    with pytest.raises(UnknownName, match="unknown fusion 'mean'"):
        fuse(RAW, RANGES, WEIGHTS, "mean")
