import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from mmadlib.errors import UnknownName
from mmadlib.methods.scoring import BOX_CHAINS, SMOOTHINGS, normalise, smooth


@pytest.mark.parametrize(("name", "variance"), [("box_cfm", 22), ("box_cmdr_rec", 14), ("box_cfr", 2), ("gauss4", 16)])
def test_impulse_response_has_unit_mass_and_the_stated_variance(name, variance):
    impulse = np.zeros((81, 81), np.float32)
    impulse[40, 40] = 1
    blurred = smooth(impulse, name)
    assert blurred.sum() == pytest.approx(1, abs=1e-4)
    assert (blurred.sum(0) * (np.arange(81) - 40) ** 2).sum() == pytest.approx(variance, rel=0.01)


@pytest.mark.parametrize("name", BOX_CHAINS)
def test_box_chains_leave_exact_zeros_outside_their_support(name):
    impulse = np.zeros((81, 81), np.float32)
    impulse[40, 40] = 1
    support = sum(w // 2 for w in BOX_CHAINS[name])
    blurred = smooth(impulse, name)
    assert blurred[40, 40 + support] > 0
    assert (blurred[:, 41 + support:] == 0).all()


@pytest.mark.parametrize("name", SMOOTHINGS)
def test_smoothing_keeps_zeros_and_the_input(name):
    amap = np.random.default_rng(0).random((20, 30)).astype(np.float32)
    before = amap.copy()
    assert smooth(amap, name).shape == (20, 30) and smooth(amap, name).dtype == np.float32
    assert (amap == before).all()
    assert (smooth(np.zeros((20, 30)), name) == 0).all()


@pytest.mark.parametrize("name", BOX_CHAINS)
def test_box_chains_keep_constants_inside_and_lose_them_at_the_border(name):
    support = sum(w // 2 for w in BOX_CHAINS[name])
    blurred = smooth(np.ones((60, 60)), name)
    np.testing.assert_allclose(blurred[support:-support, support:-support], 1, atol=1e-5)
    assert blurred[0, 0] < 0.5 and (name != "box_cfr" or blurred[0, 0] == pytest.approx(0.36))


def test_eight_bit_blur_has_few_grey_levels():
    amap = np.random.default_rng(0).random((64, 64)).astype(np.float32)
    assert len(np.unique(smooth(amap, "pil4"))) < 256


def test_eight_bit_blur_truncates_to_grey_levels_of_the_maximum():
    halves = np.full((64, 64), 3, np.float32)
    halves[:, 32:] = 1.5  # level 127 of 255
    blurred = smooth(halves, "pil4")
    assert blurred[30, 0] == 3 and blurred[30, 63] == pytest.approx(3 * 127 / 255)
    near = gaussian_filter(halves, 4, mode="nearest")
    assert abs(blurred - near).max() < 0.04 < abs(gaussian_filter(halves, 5, mode="nearest") - near).max()


def test_gaussian_blur_loses_mass_at_the_border_or_mirrors_it():
    ones = np.ones((30, 40), np.float32)
    np.testing.assert_allclose(smooth(ones, "gauss4_reflect"), 1, rtol=1e-6)
    assert smooth(ones, "gauss4")[0, 0] == pytest.approx(0.3, abs=0.01)  # .55 squared: its own pixel, and half of the others


def test_no_smoothing_is_a_copy():
    amap = np.random.default_rng(0).random((5, 6)).astype(np.float32)
    assert np.array_equal(smooth(amap, "none"), amap) and smooth(amap, "none") is not amap


def test_normalisations():
    amap = np.array([[0, 0], [1, 3]], np.float32)
    np.testing.assert_allclose(normalise(amap, "aupro"), amap / 2)
    np.testing.assert_allclose(normalise(amap, "p_auroc"), amap)
    np.testing.assert_allclose(normalise(amap, "image"), amap / np.sqrt(2))
    assert (normalise(np.zeros((3, 3)), "image") == 0).all()


def test_unknown_names_suggest_the_nearest():
    with pytest.raises(UnknownName, match="did you mean 'gauss4'"):
        smooth(np.zeros((3, 3)), "gaus4")
    with pytest.raises(UnknownName, match="did you mean 'aupro'"):
        normalise(np.zeros((3, 3)), "aupr")
