"""Which cells of the RGB raster a patch touches, and which it is linked to.

Source of the published rule: jayliu0313/Shape-Guided utils/utils.py (get_relative_rgb_f_indices).
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Int
from scipy.ndimage import binary_dilation

LINKS = ("published", "dilate2")
REACH = 2  # cells


def touched(cells: Int[np.ndarray, "P n"], raster: tuple[int, int], grid: tuple[int, int]) -> Bool[np.ndarray, "P G"]:
    """The cells of an RGB raster `grid` (h, w) under points in these cells of the cloud's `raster`, flat, row by row."""
    row, column = (index * there // here for index, there, here in
                   zip(np.divmod(cells, raster[1]), grid, raster, strict=True))
    under = np.zeros((len(cells), grid[0] * grid[1]), bool)
    np.put_along_axis(under, row * grid[1] + column, True, axis=1)
    return under


def linked(under: Bool[np.ndarray, "P G"], grid: tuple[int, int], rule: str = "published") -> Bool[np.ndarray, "P G"]:
    """The cells that touched ones link to.

    published  two columns to either side and two rows up and down, by flat index: the touched cells themselves are lost
               unless a neighbour's step hits them, rows run on at their ends, steps off the raster are dropped
    dilate2    all cells within two columns and two rows, themselves included: what the rule was meant to be, as we read it
    """
    if rule == "dilate2":
        box = np.ones((1, 2 * REACH + 1, 2 * REACH + 1), bool)
        return binary_dilation(under.reshape(-1, *grid), box).reshape(under.shape)
    found = np.zeros_like(under)
    for step in (REACH, REACH * grid[1]):
        found[:, step:] |= under[:, :-step]
        found[:, :-step] |= under[:, step:]
    return found


def on_object(links: Bool[np.ndarray, "P G"], under: Bool[np.ndarray, "P G"]) -> Bool[np.ndarray, "P G"]:
    """The links to cells that any patch touches, the others have no feature; the cells it touches of a patch without any."""
    kept = links & under.any(0)
    return np.where(kept.any(1, keepdims=True), kept, under)
