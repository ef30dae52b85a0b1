"""Places above the pixel threshold: bounding box, peak, pixels, area on the surface in square millimetres."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float32, Float64
from scipy.ndimage import binary_dilation, find_objects, label, maximum_position

from mmadlib.inspection.verdicts import Region
from mmadlib.sample import Sample

NEAR = 1 / 112  # of the longer side: places less than two of these apart are one region
LEAST = 1 / 20000  # of the picture: a smaller place is no region, unless it is the only one
STEEP = 4.0  # times the median: a cell with more area spans a step of the surface and counts as so much
TOUCHING = np.ones((3, 3), bool)


def pixel_areas(sample: Sample) -> Float64[np.ndarray, "H W"]:
    """Square millimetres of the surface around every pixel: each cell of four neighbours is two triangles, a pixel has the
    mean of its cells; where no cell is whole, the median of the part."""
    p = sample.xyz.astype(np.float64)
    a, b, c, d = p[:-1, :-1], p[:-1, 1:], p[1:, :-1], p[1:, 1:]
    cells = 0.5 * (np.linalg.norm(np.cross(b - a, c - a), axis=-1) + np.linalg.norm(np.cross(b - d, c - d), axis=-1)) * 1e6
    v = sample.valid
    whole = v[:-1, :-1] & v[:-1, 1:] & v[1:, :-1] & v[1:, 1:]
    typical = float(np.median(cells[whole])) if whole.any() else 0.0
    cells = np.where(whole, np.minimum(cells, STEEP * typical), 0)
    total, count = np.zeros(sample.size), np.zeros(sample.size)
    for rows in (slice(None, -1), slice(1, None)):
        for columns in (slice(None, -1), slice(1, None)):
            total[rows, columns] += cells
            count[rows, columns] += whole
    return np.where(count > 0, total / np.maximum(count, 1), typical)


def places(above: Bool[np.ndarray, "H W"]) -> list[Bool[np.ndarray, "H W"]]:
    """The connected places, those near each other taken together; tiny ones left out unless there is nothing else."""
    reach = max(1, round(max(above.shape) * NEAR))
    grown = binary_dilation(above, TOUCHING, iterations=reach)
    numbers, count = label(grown, TOUCHING)
    numbers = np.where(above, numbers, 0)
    sizes = np.bincount(numbers.ravel(), minlength=count + 1)[1:]
    large = np.flatnonzero(sizes >= LEAST * above.size) + 1
    kept = large if len(large) else np.flatnonzero(sizes == sizes.max(initial=0))[:1] + 1 if count else large
    return [numbers == i for i in kept]


def region(place: Bool[np.ndarray, "H W"], amap: Float32[np.ndarray, "H W"], areas: Float64[np.ndarray, "H W"] | None,
           speaks: str = "") -> Region:
    """What is said of one place. areas: None where xyz is not metric."""
    (rows, columns), = find_objects(place.astype(np.uint8))
    inside = np.where(place, np.nan_to_num(amap, nan=-np.inf), -np.inf)
    row, column = maximum_position(inside)
    return Region((rows.start, columns.start, rows.stop, columns.stop), float(amap[row, column]), (int(row), int(column)),
                  int(place.sum()), None if areas is None else float(areas[place].sum()), speaks)
