"""Object isolation against recorded runs of the official script (tests/data/golden/preprocess.npz), and its refusals."""

from pathlib import Path

import numpy as np
import pytest
from layouts import isolated, rgb, table
from recorded import RECORDED

from mmadlib.errors import PreprocessError, SettingsError, UnknownName
from mmadlib.prepare.clustering import largest_cluster
from mmadlib.prepare.isolate import Constants, find_object, fit_plane, isolate_object, object_mask, rim_points
from mmadlib.sample import Sample

GOLDEN = dict(np.load(RECORDED / "preprocess.npz"))
XYZ = GOLDEN["in.xyz"]
VALID = (XYZ != 0).all(-1)


def unpack(bits: np.ndarray, *shape: int) -> np.ndarray:
    return np.unpackbits(bits)[: np.prod(shape)].reshape(shape).astype(bool)


def padded(keep: np.ndarray) -> np.ndarray:
    """A mask on the official 200 x 200 square."""
    side, (top, left) = GOLDEN["out.padded_shape"][0], GOLDEN["out.pad_offsets"]
    square = np.zeros((side, side), bool)
    square[top : top + keep.shape[0], left : left + keep.shape[1]] = keep
    return square


def sample(xyz: np.ndarray = XYZ, **fields) -> Sample:
    return Sample(rgb=rgb(0, xyz.shape[:2]), xyz=xyz, **fields)


def test_rim_points_equal_the_official_ones():
    rim = rim_points(XYZ, VALID)
    assert len(rim) == GOLDEN["out.edge_points_count"]
    assert np.allclose(rim.sum(0), GOLDEN["out.edge_points_sum"], atol=1e-6, rtol=0)


def test_masks_equal_the_official_ones_for_a_given_plane():
    plane = GOLDEN["in.plane"]
    everything = Constants(cluster_points=10**6)  # no cluster: all points off the plane are kept
    assert np.array_equal(object_mask(XYZ, VALID, plane, everything), unpack(GOLDEN["out.kept_after_plane"], *VALID.shape))
    assert np.array_equal(padded(object_mask(XYZ, VALID, plane)), unpack(GOLDEN["out.kept_final"], 200, 200))


@pytest.mark.parametrize("seed", [0, 1, 7])
def test_seeded_plane_fit_agrees_with_five_official_runs(seed):
    ours = padded(find_object(sample(), seed).keep)
    for bits in GOLDEN["out.ransac_masks"]:
        official = unpack(bits, 200, 200)
        assert (ours & official).sum() >= 0.999 * (ours | official).sum()


def test_noise_never_wins_unlike_in_the_published_script():
    cloud = GOLDEN["in.noisy_cloud"].reshape(-1, 3)
    valid = (cloud != 0).all(1)
    published = unpack(GOLDEN["out.noise_wins.kept"], len(cloud))
    ours = np.zeros(len(cloud), bool)
    ours[valid] = largest_cluster(cloud[valid], 0.006, 30)
    assert published.sum() == 1200 and ours.sum() == 64 and not (ours & published).any()  # the blob


def test_the_plane_is_the_tables_and_faces_the_camera():
    rng = np.random.default_rng(0)
    normal = np.array([0.2, -0.1, -1]) / np.linalg.norm([0.2, -0.1, -1])
    xy = rng.uniform(-0.2, 0.2, (9000, 2))
    z = (-0.6 - xy @ normal[:2]) / normal[2]
    points = np.c_[xy, z + rng.normal(0, 5e-4, len(z))]
    points[:2500, 2] -= rng.uniform(0.02, 0.1, 2500)  # clutter that stands on the table
    plane = fit_plane(points, seed=3)
    assert np.allclose(plane, [*normal, 0.6], atol=2e-3)
    assert np.array_equal(plane, fit_plane(points, seed=3)) and not np.array_equal(plane, fit_plane(points, seed=4))


def test_isolated_sample_and_untouched_input():
    given = sample()
    before = given.xyz.copy(), given.valid.copy(), given.rgb.copy()
    result = isolate_object(given)
    assert result.isolated and np.array_equal(result.valid, find_object(given).keep)
    assert np.array_equal(result.xyz[result.valid], XYZ[result.valid]) and not result.xyz[~result.valid].any()
    assert np.array_equal(result.rgb, before[2]) and result.xyz.dtype == np.float32
    assert np.array_equal(given.xyz, before[0]) and np.array_equal(given.valid, before[1]) and not given.isolated


def test_a_synthetic_table_vanishes():
    result = isolate_object(sample(table((96, 128), bump=0.04)))
    height = 0.5 - result.xyz[..., 2][result.valid]
    assert result.valid.sum() > 500 and height.min() > 0.004
    assert np.array_equal(result.valid, isolate_object(sample(table((96, 128), bump=0.04))).valid)


@pytest.mark.parametrize(("cloud", "fields", "words"), [
    (isolated((96, 128)), {}, "0 valid points within 10 px of the border.*processed already"),
    (table((96, 128)), {"isolated": True}, "removed already"),
    (table((96, 128), bump=0.0), {}, "no point is 0.005 m off the table plane"),
    (np.repeat(np.linspace(0.1, 0.9, 64, dtype=np.float32)[:, None, None], 3, 2).repeat(64, 1), {}, "lie on a line"),
    (np.random.default_rng(0).uniform(1e3, 1e9, (32, 32, 3)).astype(np.float32), {}, "no three rim points share a plane"),
])
def test_refusals_name_the_sample(cloud, fields, words):
    with pytest.raises(PreprocessError, match=f"part.png.*{words}"):
        isolate_object(sample(cloud, path=Path("part.png"), **fields))


def test_corners_count_once_when_the_rim_is_counted():
    """As in data.layout, so that both agree on what is processed already."""
    xyz = isolated((96, 128))
    xyz[:5, :6] = table((96, 128))[:5, :6]  # 30 points, which the published rim holds twice
    assert len(rim_points(xyz, (xyz != 0).all(-1))) == 60
    with pytest.raises(PreprocessError, match="only 30 valid points"):
        isolate_object(sample(xyz))


@pytest.mark.parametrize("seed", ["a", -1, None])
def test_impossible_seeds(seed):
    with pytest.raises(SettingsError, match="seed="):
        isolate_object(sample(), seed=seed)


def test_second_run_is_refused():
    with pytest.raises(PreprocessError, match="removed already"):
        isolate_object(isolate_object(sample()))


@pytest.mark.parametrize(("constants", "error", "words"), [
    ({"cluster_epsilon": 0.1}, UnknownName, "did you mean 'cluster_eps'"),
    ({"rim": 2.5}, SettingsError, "rim=2.5: expected a positive int"),
    ({"plane_distance": 0}, SettingsError, "positive float"),
    ({"plane_distance": "5 mm"}, SettingsError, "positive float"),
])
def test_wrong_constants(constants, error, words):
    with pytest.raises(error, match=words):
        isolate_object(sample(), **constants)
