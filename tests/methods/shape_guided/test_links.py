"""Cells under a patch and cells that it links to: the recorded slip, and what the rule was meant to be."""

import numpy as np
import pytest
from recorded import RECORDED

from mmadlib.methods.shape_guided.links import linked, on_object, touched

GRID = (28, 28)


def under(*cells: int, grid: tuple[int, int] = GRID) -> np.ndarray:
    found = np.zeros((1, grid[0] * grid[1]), bool)
    found[0, list(cells)] = True
    return found


@pytest.mark.parametrize("j", [0, 1])
def test_the_published_cells_are_the_recorded_ones(j):
    d = np.load(RECORDED / "shape_guided.npz")
    cells = touched(d["in.pixel_sets"][[j]], (224, 224), GRID)
    np.testing.assert_array_equal(np.flatnonzero(linked(cells, GRID)), d[f"out.rgb_cells.{j}"])


def test_the_published_rule_loses_the_patch_itself_and_runs_on_at_the_ends_of_rows():
    assert np.flatnonzero(linked(under(28 * 5 + 27), GRID)).tolist() == [28 * 3 + 27, 28 * 5 + 25, 28 * 6 + 1, 28 * 7 + 27]
    assert linked(under(10, 12), GRID)[0, [10, 12]].all(), "unless another cell's step hits it"


def test_the_rule_as_meant_is_a_square_around_each_cell_that_ends_at_the_raster():
    found = linked(under(28 * 5 + 27), GRID, "dilate2").reshape(GRID)
    expected = np.zeros(GRID, bool)
    expected[3:8, 25:] = True
    np.testing.assert_array_equal(found, expected)
    two = linked(np.concatenate([under(0), under(700)]), GRID, "dilate2")
    assert two.sum(1).tolist() == [9, 15] and not (two[0] & two[1]).any(), "patches do not see each other"


@pytest.mark.parametrize("rule", ["published", "dilate2"])
def test_rasters_smaller_than_a_step(rule):
    assert linked(under(0, grid=(1, 1)), (1, 1), rule).shape == (1, 1)
    assert linked(under(1, grid=(2, 3)), (2, 3), rule).shape == (1, 6)


def test_touched_cells_lie_under_the_points_whatever_the_two_rasters():
    cells = np.array([[0, 1, 13, 59], [59, 59, 59, 59]])  # of 6 x 10
    assert [np.flatnonzero(row).tolist() for row in touched(cells, (6, 10), (3, 5))] == [[0, 1, 14], [14]]
    assert [np.flatnonzero(row).tolist() for row in touched(cells, (6, 10), (12, 20))] == [[0, 2, 46, 218], [218]]


def test_links_off_the_object_lead_nowhere_and_a_patch_without_others_keeps_its_own():
    grid, both = (1, 9), np.concatenate([under(4, 6, grid=(1, 9)), under(5, grid=(1, 9))])
    found = on_object(linked(both, grid), both)
    assert [np.flatnonzero(row).tolist() for row in found] == [[4, 6], [5]]
