"""The fusion of CMDR-IAD against recorded outputs of the official code and its invariants."""


import numpy as np
import pytest
from recorded import RECORDED, assert_whole

from mmadlib.errors import SettingsError, UnknownName
from mmadlib.methods.cmdr_iad.cmdr_iad import Settings
from mmadlib.methods.cmdr_iad.fusion import confident_mean, finished, fuse, local_deviation, reliability
from mmadlib.methods.distances import image_score
from mmadlib.methods.scoring import IMAGE_NORMS, normalise, smooth

GOLDEN = dict(np.load(RECORDED / "cmdr_fusion.npz"))
RNG = np.random.default_rng(0)


def recorded(name: str) -> np.ndarray:
    return GOLDEN[f"out.{name}"]


@pytest.fixture(scope="module")
def maps():
    """The recorded distance maps and the pixels that count."""
    seen = ~np.unpackbits(GOLDEN["xyz_mask"])[:224 * 224].astype(bool).reshape(224, 224)
    names = {"map_rgb": "map2d", "map_xyz": "map3d", "rec_rgb": "rec2d", "rec_xyz": "rec3d"}
    parts = {ours: GOLDEN[f"d_{theirs}_q"].astype(np.float32).reshape(224, 224) / 32768 for ours, theirs in names.items()}
    return {name: np.where(seen, d, 0).astype(np.float32) for name, d in parts.items()}, seen


def test_every_stage_equals_the_official_one(maps):
    parts, seen = maps
    J = parts["map_rgb"] * parts["map_xyz"]
    assert J.mean() == pytest.approx(float(recorded("joint_mean")), abs=1e-6)
    assert_whole(J, recorded("joint"), 1e-5)
    assert_whole(local_deviation(J), recorded("local_std"), 1e-5)
    assert local_deviation(J).mean() == pytest.approx(float(recorded("local_std_mean")), abs=1e-6)
    assert_whole(reliability(J), recorded("gate"), 1e-5)
    assert_whole(reliability(J) * J, recorded("A_map"), 1e-5)
    smoothed = smooth(parts["rec_rgb"], "box_cmdr_rec")
    assert_whole(smoothed, recorded("d_rec2d_smoothed"), 1e-5)
    assert_whole(confident_mean(smoothed, parts["rec_xyz"]), recorded("A_rec"), 1e-5)
    assert_whole(fuse(parts, seen, Settings()), recorded("fused_before_blur"), 1e-5)


def test_result_equals_the_official_one(maps):
    scores = finished(*maps, Settings())
    assert_whole(scores.map, recorded("psi"), 1e-5)
    assert_whole(normalise(scores.map, "aupro"), recorded("map_aupro"), 5e-5)
    assert scores.image == pytest.approx(float(recorded("image_score")), abs=1e-5)
    ratio = scores.map.max() / normalise(scores.map, "p_auroc").max()
    assert ratio == pytest.approx(float(recorded("pixel_scale")), abs=1e-5)


@pytest.mark.parametrize(("joint", "low", "high"), [(0.05, 0.550, 0.622), (0.2, 0.690, 0.881), (0.5, 0.881, 0.993)])
def test_gate_is_a_mild_stretch(joint, low, high):
    flat = np.full((9, 9), joint, np.float32)
    assert reliability(flat, beta=0)[4, 4] == pytest.approx(low, abs=1e-3)
    assert reliability(flat, alpha=10, beta=0)[4, 4] == pytest.approx(high, abs=1e-3)


def test_gate_keeps_at_least_half_and_never_adds():
    J = RNG.random((30, 30)).astype(np.float32) ** 3
    J[:5] = 0
    G = reliability(J)
    assert (local_deviation(J) >= 0).all() and (G >= 0.5).all() and (G < 1).all()
    assert (G * J <= J).all() and (G * J >= J / 2).all() and (G[J == 0] == 0.5).all()


def test_a_constant_has_no_deviation():
    J = np.full((12, 12), 0.25, np.float32)
    assert (local_deviation(J) == 0).all()
    np.testing.assert_allclose(reliability(J), 1 / (1 + np.exp(-4 * 0.25)), rtol=1e-6)  # W = 4 everywhere


def test_deviation_is_from_the_global_mean():
    J = np.zeros((40, 40), np.float32)
    J[:, 20:] = 1
    assert local_deviation(J)[20, 10] == pytest.approx(0.5, abs=1e-6)  # flat here, yet off the mean of the image


@pytest.mark.parametrize(("d2", "d3", "expected"), [(0.2, 0.8, 0.473), (0.2, 1.4, 0.693), (0.6, 0.6, 0.6)])
def test_the_larger_error_weighs_less(d2, d3, expected):
    assert confident_mean(np.array([d2]), np.array([d3])) == pytest.approx(expected, abs=1e-3)


def test_confident_mean_stays_between_its_arguments():
    d2, d3 = RNG.random((2, 500)) * 2
    on, off, inverted = (confident_mean(d2, d3, confidence=c) for c in ("on", "off", "inverted"))
    np.testing.assert_allclose(on, confident_mean(d3, d2))
    np.testing.assert_allclose(off, (d2 + d3) / 2, atol=1e-7)
    np.testing.assert_allclose(on + inverted, d2 + d3, atol=1e-6)
    low, high = np.minimum(d2, d3), np.maximum(d2, d3)
    assert (on <= off + 1e-7).all() and (low <= on + 1e-6).all() and (inverted <= high + 1e-6).all()


def test_only_the_rgb_reconstruction_is_smoothed(maps):
    parts, seen = maps
    assert smooth(parts["rec_rgb"], "box_cmdr_rec").sum() == pytest.approx(parts["rec_rgb"].sum(), rel=1e-4)
    only = {"rec_xyz": parts["rec_xyz"]}
    np.testing.assert_array_equal(fuse(only, seen, Settings(modality="xyz")), parts["rec_xyz"])
    np.testing.assert_array_equal(finished(only, seen, Settings(modality="xyz")).map, parts["rec_xyz"])
    alone = finished({"rec_rgb": parts["rec_rgb"]}, seen, Settings(modality="rgb")).map
    np.testing.assert_array_equal(alone, np.where(seen, smooth(parts["rec_rgb"], "box_cmdr_rec"), 0))


def test_psi_is_zero_where_it_must(maps):
    parts, seen = maps
    assert (fuse(parts, seen, Settings())[~seen] == 0).all()
    nothing = finished({name: np.zeros_like(d) for name, d in parts.items()}, seen, Settings())
    assert nothing.image == 0 and (nothing.map == 0).all()


SWITCHES = [{"gate": False}, {"alpha": 1.0}, {"beta": 0.0}, {"window": 3}, {"confidence": "off"}, {"confidence": "inverted"},
            {"B": 2.0}, {"rec_smooth": "none"}, {"smooth": "box_cmdr_rec"}]


@pytest.mark.parametrize("settings", SWITCHES)
def test_every_switch_moves_the_map(maps, settings):
    assert not np.array_equal(finished(*maps, Settings(**settings)).map, finished(*maps, Settings()).map)


def test_without_gate_the_mapping_part_is_the_product_of_cfm(maps):
    parts, seen = maps
    flat = parts | {"rec_rgb": np.ones_like(parts["rec_rgb"]), "rec_xyz": np.ones_like(parts["rec_xyz"])}
    np.testing.assert_allclose(fuse(flat, seen, Settings(gate=False, rec_smooth="none")), parts["map_rgb"] * parts["map_xyz"],
                               rtol=1e-5)


def test_image_scores_follow_their_rule(maps):
    psi = finished(*maps, Settings()).map
    assert image_score(4 * psi, "cfm") == pytest.approx(2 * image_score(psi, "cfm"), rel=1e-5)
    assert image_score(4 * psi, "root") == pytest.approx(image_score(4 * psi, "cfm"))
    assert image_score(4 * psi, "figure") == pytest.approx(image_score(psi, "figure"), rel=1e-5)
    assert image_score(psi, "figure") == pytest.approx(psi.max() / psi[psi != 0].mean(), rel=1e-5)
    assert image_score(psi, "none") == psi.max()
    assert all(image_score(0 * psi, norm) == 0 for norm in IMAGE_NORMS)


@pytest.mark.parametrize("settings", [{"window": 4}, {"window": 0}, {"alpha": -1.0}, {"beta": float("nan")},
                                      {"B": float("inf")}])
def test_impossible_values_are_refused(settings):
    (name, _), = settings.items()
    with pytest.raises(SettingsError, match=f"{name}="):
        Settings(**settings)


@pytest.mark.parametrize("name", ["confidence", "rec_smooth", "smooth", "image_norm"])
def test_unknown_choices_are_refused(name):
    with pytest.raises(UnknownName, match=f"unknown {name} 'no'"):
        Settings(**{name: "no"})
