"""Grouping equals the plain definitions, ties included, and the official results."""


import fpsample
import numpy as np
import pytest
from recorded import RECORDED

from mmadlib.errors import SettingsError
from mmadlib.features.grouping import farthest_points, first_point, nearest, three_nearest

DATA = RECORDED


def plain_farthest(points, k, start=0):
    """The definition, one line per step."""
    distance, chosen = np.full(len(points), np.inf, np.float32), [start]
    for _ in range(k - 1):
        distance = np.minimum(distance, ((points - points[chosen[-1]]) ** 2).sum(1))
        chosen.append(int(distance.argmax()))
    return np.array(chosen)


def clouds():
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:40, :40]
    lattice = np.stack([x, y, np.full_like(x, 5)], -1).reshape(-1, 3)
    metric = np.stack([x * 8e-4, y * 8e-4, 0.4 + 0.005 * np.sin(x / 9)], -1).reshape(-1, 3) + rng.normal(0, 1e-5, (1600, 3))
    return {"random": rng.random((1500, 3)), "lattice": lattice, "duplicates": np.repeat(rng.random((400, 3)), 3, 0),
            "metric": metric, "quantised": np.round(metric, 4)}


CLOUDS = {name: cloud.astype(np.float32) for name, cloud in clouds().items()}


@pytest.mark.parametrize("name", CLOUDS)
@pytest.mark.parametrize("start", [0, 37])
def test_farthest_points_equal_the_definition(name, start):
    chosen = farthest_points(CLOUDS[name], 300, start=start)
    assert chosen.dtype == np.int64 and chosen[0] == start
    np.testing.assert_array_equal(chosen, plain_farthest(CLOUDS[name], 300, start))


def test_farthest_points_agree_with_fpsample_without_ties():
    np.testing.assert_array_equal(farthest_points(CLOUDS["metric"], 256),
                                  fpsample.fps_sampling(CLOUDS["metric"], 256, start_idx=0).astype(np.int64))


def test_farthest_points_are_distinct_and_cover_ever_better():
    points = CLOUDS["random"]
    chosen = farthest_points(points, 200)
    assert len(set(chosen.tolist())) == 200
    apart = np.linalg.norm(points[:, None] - points[chosen], axis=-1)
    radius = [apart[:, :k].min(1).max() for k in range(1, 200, 20)]
    assert all(np.diff(radius) <= 0)


def test_points_near_the_origin_are_never_picked_on_request():
    points = np.vstack([[[1.0, 0, 0]], np.random.default_rng(0).normal(0, 0.005, (50, 3)), CLOUDS["random"][:100] + 1])
    near = set(range(1, 51))
    assert near & set(farthest_points(points, 120).tolist())
    assert not near & set(farthest_points(points, 101, near_origin=True).tolist())
    assert farthest_points(points, 5, start=3, near_origin=True)[0] == 3
    with pytest.raises(SettingsError, match="cannot choose 102 of 101"):
        farthest_points(points, 102, near_origin=True)


def test_the_first_point_is_given_or_drawn_by_seed_and_cloud():
    points = CLOUDS["random"]
    assert [first_point(points, start) for start in (0, 37, 10**6)] == [0, 37, len(points) - 1]
    drawn = [first_point(points, "random", seed) for seed in range(200)]
    assert drawn == [first_point(points.copy(), "random", seed) for seed in range(200)]
    assert min(drawn) >= 0 and max(drawn) < len(points) and len(set(drawn)) > 150, "any point, not always the same"
    assert first_point(points + 1, "random") != first_point(points, "random"), "another cloud, another draw"
    assert first_point(points[:1], "random") == 0


@pytest.mark.parametrize("name", CLOUDS)
@pytest.mark.parametrize("k", [1, 5, 64])
def test_nearest_equals_a_stable_full_sort(name, k):
    points = CLOUDS[name].astype(np.float64)
    centres = points[::17]
    full = np.argsort(((centres[:, None] - points) ** 2).sum(-1), axis=1, kind="stable")[:, :k]
    found = nearest(points, centres, k)
    assert found.dtype == np.int64
    np.testing.assert_array_equal(found, full)


def test_nearest_of_many_equal_points_takes_the_lowest_indices():
    points = np.ones((40, 3), np.float32)
    np.testing.assert_array_equal(nearest(points, points[:2], 3), [[0, 1, 2]] * 2)
    np.testing.assert_array_equal(nearest(points, points[:1], 40), [np.arange(40)])


@pytest.mark.parametrize("case", ["unit", "metric"])
def test_indices_equal_the_official_ones(case):
    golden = np.load(DATA / "point_mae.npz")
    points = golden[f"{case}.points"]
    centres = farthest_points(points, 64)
    np.testing.assert_array_equal(centres, golden[f"{case}.center_idx"])
    np.testing.assert_array_equal(nearest(points, points[centres], 32), golden[f"{case}.neighbor_idx"])


@pytest.mark.parametrize("case", ["small", "metric"])
def test_blends_equal_the_official_ones(case):
    golden = np.load(DATA / "interpolation.npz")
    index, weight = three_nearest(golden[f"in.{case}.points"], golden[f"in.{case}.centers"])
    assert index.dtype == np.int64 and weight.dtype == np.float64
    np.testing.assert_allclose(weight.sum(1), 1, rtol=1e-12)
    blended = (golden[f"in.{case}.feats"].astype(np.float64)[:, index] * weight).sum(-1)
    np.testing.assert_allclose(blended, golden[f"out.{case}.interp64"], rtol=0, atol=1e-6)


def test_a_single_centre_is_copied_as_officially():
    golden = np.load(DATA / "interpolation.npz")
    index, weight = three_nearest(golden["in.small.points"], golden["in.small.centers"][:1])
    copied = (golden["in.small.feats"][:, index] * weight).sum(-1).T
    np.testing.assert_array_equal(copied, golden["out.small.interp_one_centre"])


def test_a_point_at_a_centre_takes_its_feature():
    centres = CLOUDS["random"][:30]
    index, weight = three_nearest(centres, centres)
    np.testing.assert_array_equal(index[:, 0], np.arange(30))
    assert (weight[:, 0] > 1 - 1e-4).all()


def test_one_and_two_centres():
    points = CLOUDS["random"][:10]
    index, weight = three_nearest(points, points[:1])
    np.testing.assert_array_equal(index, np.zeros((10, 3)))
    np.testing.assert_array_equal(weight, [[1, 0, 0]] * 10)
    index, weight = three_nearest(points, points[:2])
    assert set(index[:, :2].ravel()) == {0, 1} and (weight[:, 2] == 0).all()
    np.testing.assert_allclose(weight.sum(1), 1)


@pytest.mark.parametrize("call", [
    lambda: farthest_points(np.zeros((5, 2)), 2), lambda: farthest_points(np.ones((5, 3)), 6),
    lambda: farthest_points(np.ones((5, 3)), 2, start=5), lambda: farthest_points(np.ones((0, 3)), 1),
    lambda: farthest_points(np.full((5, 3), np.nan), 2), lambda: farthest_points(np.ones((5, 3)), 2.0),
    lambda: farthest_points(np.ones((5, 3)), 0), lambda: farthest_points(np.ones((5, 3)), 2, start=-1),
    lambda: nearest(np.ones((5, 3)), np.ones((1, 3)), 2.0), lambda: nearest(np.ones((5, 3)), np.full((1, 3), np.inf), 2),
    lambda: nearest(np.full((5, 3), np.nan), np.ones((1, 3)), 2), lambda: nearest(np.ones((5, 3)), np.ones((1, 3)), 6),
    lambda: three_nearest(np.ones((5, 3)), np.ones((0, 3)))])
def test_impossible_requests_are_refused(call):
    with pytest.raises(SettingsError):
        call()
