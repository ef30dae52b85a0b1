"""Regions and maps on the scan: the inverse of the grid, areas of the surface, places that belong together."""

import numpy as np
import pytest
from scenes import part

from mmadlib.inspection.regions import pixel_areas, places, region
from mmadlib.inspection.scan_grid import to_scan
from mmadlib.prepare.grid import to_grid
from mmadlib.sample import Sample


@pytest.mark.parametrize("size", [(60, 90), (90, 60), (64, 64), (31, 90)])
@pytest.mark.parametrize("pad", ["edge", "zero", "none"])
def test_a_place_on_the_grid_comes_back_to_where_it_was(size, pad):
    rgb, xyz = np.zeros((*size, 3), np.uint8), np.ones((*size, 3), np.float32)
    mask = np.zeros(size, bool)
    mask[10:20, 30:42] = True
    grid = to_grid(Sample(rgb, xyz, mask=mask, label=1), 180, pad)
    back = to_scan(grid.mask.astype(np.float32), size, pad)
    assert back.shape == size and back.dtype == np.float32
    assert ((back > 0.5) ^ mask).sum() <= 24  # a border of half a pixel


def test_an_area_is_that_of_the_surface():
    """A plane at 45 degrees, 1 mm a pixel: each has sqrt(2) mm2; missing points count as the middle of the others."""
    v, u = np.mgrid[1:41, 1:41] * 1e-3
    xyz = np.stack([u, v, 0.5 + u], -1).astype(np.float32)
    xyz[10:12, 10:12] = 0
    areas = pixel_areas(Sample(np.zeros((40, 40, 3), np.uint8), xyz))
    assert areas == pytest.approx(np.full((40, 40), 2**0.5), rel=1e-3)


def test_a_step_of_the_surface_is_no_area():
    found = part(0)
    areas = pixel_areas(found)
    assert areas.max() <= 4 * np.median(areas) + 1e-6


def test_places_near_each_other_are_one_and_tiny_ones_none():
    above = np.zeros((224, 224), bool)
    above[50:60, 50:60] = above[50:60, 63:70] = True  # three pixels apart
    above[150:160, 50:60] = True
    above[200, 200] = True
    found = places(above)
    assert [int(p.sum()) for p in found] == [170, 100]
    assert not places(np.zeros((224, 224), bool))
    only = np.zeros((224, 224), bool)
    only[3, 4] = True
    assert [p.sum() for p in places(only)] == [1]


def test_a_region_says_what_it_is():
    amap = np.full((20, 30), np.nan, np.float32)
    amap[5:9, 6:10] = 1
    amap[7, 8] = 3
    found = region(amap > 0, amap, np.full((20, 30), 0.5), "shape")
    assert (found.box, found.peak, found.peak_at, found.pixels, found.area_mm2, found.speaks) == (
        (5, 6, 9, 10), 3.0, (7, 8), 16, 8.0, "shape")
    assert region(amap > 0, amap, None).area_mm2 is None
