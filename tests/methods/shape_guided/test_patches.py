"""Patches: how many, of which points, unit size around the mean, and what becomes of small clouds."""

import numpy as np
import pytest
from recorded import RECORDED

from mmadlib.methods.shape_guided.patches import cut, normalised

RNG = np.random.default_rng(0)


def sheet(height: int, width: int) -> np.ndarray:
    """A wavy cloud, a point a pixel."""
    row, column = np.indices((height, width))
    return np.stack([column * 1e-3, row * 1e-3, 0.5 + 2e-3 * np.sin(column / 5) * np.cos(row / 4)], -1).astype(np.float32)


def test_patches_are_normalised_as_officially():
    d = np.load(RECORDED / "shape_guided.npz")
    np.testing.assert_allclose(normalised(d["in.patches"]), d["out.patches_normalised"], atol=1e-6)


@pytest.mark.parametrize(("mult", "n"), [(10, 50), (5, 64), (1, 30), (0.01, 500), (2.7, 500)])
def test_there_are_so_many_patches_of_distinct_points(mult, n):
    seen = RNG.random((30, 40)) < 0.8
    patches = cut(sheet(30, 40), seen, 0, n, mult)
    assert len(patches.points) == max(1, round(seen.sum() * mult / n)) and patches.points.shape[1:] == (n, 3)
    assert all(len(set(cells)) == n for cells in patches.cells), "distinct"
    assert seen.ravel()[patches.cells].all() and patches.raster == (30, 40)


def test_published_coverage_reaches_every_point():
    """Ten times as many places in patches as points; reported here, promised nowhere."""
    assert len(np.unique(cut(sheet(40, 50), np.ones((40, 50), bool), 0, 100, 10).cells)) == 2000
    assert len(np.unique(cut(sheet(40, 50), np.ones((40, 50), bool), 0, 100, 1).cells)) < 1900


def test_a_patch_is_what_is_nearest_to_its_centre_and_centres_are_far_apart():
    cloud = sheet(30, 40)
    patches = cut(cloud, np.ones((30, 40), bool), 0, 20, 1)
    points, centres = cloud.reshape(-1, 3), patches.cells[:, 0]
    assert centres[0] == 0, "the first point is the first centre"
    for centre, cells in zip(centres, patches.cells, strict=True):
        apart = np.linalg.norm(points - points[centre], axis=1)
        assert apart[cells].max() <= np.delete(apart, cells).min() + 1e-6
    between = np.linalg.norm(points[centres, None] - points[centres], axis=-1) + np.eye(len(centres))
    assert between.min() > 2.5e-3


def test_a_random_start_is_drawn_from_seed_and_cloud():
    seen = np.ones((30, 40), bool)
    one, same, other = (cut(sheet(30, 40), seen, 0, 20, 1, "random", seed) for seed in (3, 3, 4))
    np.testing.assert_array_equal(one.cells, same.cells)
    assert one.cells[0, 0] != other.cells[0, 0] and one.cells[0, 0] != 0


def test_patches_do_not_depend_on_the_unit_of_length():
    seen, cloud = np.ones((20, 20), bool), sheet(20, 20)
    here, there = (cut(c, seen, 0, 30, 3) for c in (cloud, 4 * cloud))
    np.testing.assert_array_equal(here.cells, there.cells)
    np.testing.assert_array_equal(here.points, there.points)
    assert np.ptp(here.points, axis=1).max(1) == pytest.approx(1, abs=1e-6)
    np.testing.assert_allclose(here.points.mean(1), 0, atol=1e-6)


def test_on_a_coarse_raster_a_point_is_the_mean_of_those_seen_in_its_cell():
    seen, cloud = np.ones((20, 20), bool), sheet(20, 20)
    seen[:2, :2], cloud[0, 2] = False, 99.0
    seen[0, 2] = False
    patches = cut(cloud, seen, 10, 5, 99)  # as many patches as there are points
    assert patches.raster == (10, 10) and set(patches.cells.ravel()) == set(range(1, 100))
    one = next(i for i, cells in enumerate(patches.cells) if cells[0] == 1)
    means = np.stack([cloud[r:r + 2, c:c + 2][seen[r:r + 2, c:c + 2]].mean(0)
                      for r, c in (divmod(cell, 10) for cell in patches.cells[one]) for r, c in [(2 * r, 2 * c)]])
    np.testing.assert_allclose(patches.points[one], normalised(means[None])[0], atol=1e-4)


@pytest.mark.parametrize("N", [1, 2, 9])
def test_fewer_points_than_a_patch_holds_are_repeated(N):
    seen = np.zeros((5, 5), bool)
    seen.ravel()[:N] = True
    patches = cut(sheet(5, 5), seen, 0, 12, 3)
    assert patches.cells.shape == (max(1, round(N * 3 / 12)), 12) and set(patches.cells.ravel()) == set(range(N))
    assert np.isfinite(patches.points).all() and len(cut(sheet(5, 5), seen, 0, 12, 999).cells) == N
