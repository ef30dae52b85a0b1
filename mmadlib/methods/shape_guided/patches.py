"""Overlapping local patches of a part's cloud, each of unit size around its own mean.

Source of the numbers: jayliu0313/Shape-Guided cut_patches.py, core/data.py.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float32, Int64

from mmadlib.features.grouping import RANDOM_START, farthest_points, first_point, nearest
from mmadlib.methods.token_grid import cells, grid_size

STARTS = ("first", RANDOM_START)


@dataclass(frozen=True, eq=False)
class Patches:
    """P patches of n points of one part.

    points  each patch by itself: largest extent 1, mean 0
    cells   flat index of each point's cell on the `raster` (h, w) that the cloud was sampled on
    """

    points: Float32[np.ndarray, "P n 3"]
    cells: Int64[np.ndarray, "P n"]
    raster: tuple[int, int]


def normalised(points: Float[np.ndarray, "P n 3"]) -> Float32[np.ndarray, "P n 3"]:
    """Patches times 1 / their largest extent, minus their mean; a patch without any extent is only centred."""
    extent = np.ptp(points, axis=1).max(1)
    scaled = points / np.where(extent > 0, extent, 1)[:, None, None]
    return (scaled - scaled.mean(1, keepdims=True)).astype(np.float32)


def cut(cloud: Float32[np.ndarray, "H W 3"], seen: Bool[np.ndarray, "H W"], grid: int, n: int, mult: float,
        start: str = "first", seed: int = 0) -> Patches:
    """round(N mult / n) patches, at least one and at most N: the n points nearest to centres far from each other.

    grid  the N points are the means of the `seen` points in each cell of a raster, `grid` cells a side; 0: every pixel, as
          published. Points that have not been seen enter no mean
    n     with N < n each patch is all N points, some of them repeated, which changes no maximum over points
    start which point is the first centre; "random", as published, draws it from `seed` and the cloud (see first_point)

    All axes are divided by the extent in x, as published; each patch is scaled again, so this changes no patch.
    """
    raster = grid_size(seen.shape, grid)
    mean = cells(seen, raster)
    inside = np.flatnonzero(np.diff(mean.indptr))
    xyz = (mean @ cloud.reshape(-1, 3).astype(np.float64))[inside]
    xyz = (xyz - xyz.min(0)) / (np.ptp(xyz[:, 0]) or 1)
    N = len(xyz)
    first = first_point(xyz, RANDOM_START if start == RANDOM_START else 0, seed)
    centres = farthest_points(xyz, min(N, max(1, round(N * mult / n))), first)
    index = nearest(xyz, xyz[centres], min(n, N))[:, np.arange(n) % N]
    return Patches(normalised(xyz[index]), inside[index], raster)
