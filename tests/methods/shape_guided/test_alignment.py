"""The two maps on one scale: the recorded a and b, intervals that coincide, fusion."""

import numpy as np
import pytest
from recorded import RECORDED

from mmadlib.methods.shape_guided.alignment import aligned, fuse, interval

RNG = np.random.default_rng(0)
SDF, RGB = 0.02 * RNG.random((20, 20)), 1 + 3 * RNG.random((20, 20))
SDF[:5] = RGB[:5] = 0


def test_a_and_b_are_the_recorded_ones():
    d = np.load(RECORDED / "shape_guided.npz")
    np.testing.assert_allclose(aligned(d["in.align_sdf"], d["in.align_rgb"]), d["out.align_weight_bias"], atol=1e-8)


def test_the_intervals_coincide_and_zeros_do_not_count():
    a, b = aligned(SDF.ravel(), RGB.ravel())
    assert a > 0 and interval((a * RGB[5:] + b).ravel()) == pytest.approx(interval(SDF[5:].ravel()))
    assert interval(SDF.ravel()) == interval(SDF[5:].ravel()) != interval(SDF[5:].ravel() + 1e-3)


@pytest.mark.parametrize(("sdf", "rgb"), [(np.zeros(4), RGB.ravel()), (SDF.ravel(), np.zeros(4)), (SDF.ravel(), np.ones(4))])
def test_maps_without_any_width_are_left_as_they_are(sdf, rgb):
    assert aligned(sdf, rgb) == (1, 0)


@pytest.mark.parametrize("rule", ["max", "sum"])
def test_fusion_keeps_values_at_least_0_and_the_background_at_0(rule):
    inside = (SDF > 0).astype(np.float32)
    for b in (-0.05, 0.3):
        found = fuse(SDF.astype(np.float32), RGB.astype(np.float32), inside, 0.01, b, rule)
        scaled = np.maximum(0.01 * RGB + b, 0)
        expected = SDF + scaled if rule == "sum" else np.maximum(SDF, scaled)
        np.testing.assert_allclose(found, np.where(inside, expected, 0), atol=1e-6)
        assert (found >= 0).all() and found.dtype == np.float32 and not found[:5].any()
