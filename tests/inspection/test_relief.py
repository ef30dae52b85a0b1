"""Shaded relief: a dent shows, a hole is told from a place without a part, the unit does not matter."""

import numpy as np
import pytest

from mmadlib.inspection.relief import EMPTY, HOLE, relief


@pytest.fixture
def plate():
    """A plate of 80 x 80 pixels, 1 mm each, with a dent of 1 mm in the middle."""
    v, u = np.mgrid[:80, :80] - 39.5
    depth = 0.5 + 0.001 * np.exp(-(u**2 + v**2) / 60)
    return np.stack([u * 1e-3, v * 1e-3, depth], -1).astype(np.float32)


def test_a_dent_is_darker_where_it_turns_from_the_light(plate):
    grey = relief(plate)[..., 0].astype(int)
    flat, toward, away = grey[5:15, 5:15].mean(), grey[44:48, 44:48].mean(), grey[32:36, 32:36].mean()
    assert away < flat - 10 and toward > flat + 10  # the light comes from the upper left


def test_the_unit_and_which_way_depth_runs_do_not_matter(plate):
    np.testing.assert_allclose(relief(plate * 1000).astype(int), relief(plate), atol=1)
    assert relief(plate * np.float32([1, 1, -1])).std() > 1


def test_missing_points_are_hatched_in_colour_inside_the_part_alone(plate):
    plate[30:40, 30:40] = 0
    plate[:8] = 0
    part = np.zeros((80, 80), bool)
    part[20:60, 20:60] = True
    image = relief(plate, part=part)
    hatched = (image == HOLE).all(-1)
    assert hatched[30:40, 30:40].mean() > 0.2 and hatched.sum() == hatched[30:40, 30:40].sum()
    assert (image[:8] == EMPTY).all(-1).mean() > 0.4
    assert not (relief(plate) == HOLE).all(-1).any()  # without a part, no place is a hole


def test_pixels_that_are_said_to_be_invalid_are_no_points(plate):
    valid = np.ones((80, 80), bool)
    valid[:, 40:] = False
    assert (relief(plate, valid)[:, 40:] == EMPTY).all(-1).mean() > 0.4


def test_outside_the_part_is_paler(plate):
    part = np.zeros((80, 80), bool)
    part[20:60, 20:60] = True
    image = relief(plate, part=part)
    assert image[5, 5, 0] > image[25, 25, 0] + 20


@pytest.mark.parametrize("size", [(1, 1), (2, 2), (5, 1)])
def test_without_enough_points_nothing_is_drawn(size):
    assert relief(np.ones((*size, 3), np.float32)).shape == (*size, 3)
    assert relief(np.zeros((*size, 3), np.float32)).shape == (*size, 3)
