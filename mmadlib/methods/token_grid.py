"""Pixel features on a coarser raster of cells, and distances back on the pixels: networks that see whole images need it.

A cell takes the mean feature of its valid pixels, so nothing of the background enters the cells of the object.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Float32
from scipy import sparse

from mmadlib.features.field import FeatureMap
from mmadlib.features.operators import bilinear


@dataclass(frozen=True, eq=False)
class OnGrid:
    """Feature maps of one sample on h x w cells, by side, and which of the cells are valid, row by row."""

    maps: dict[str, FeatureMap]
    valid: Bool[torch.Tensor, " cells"]

    def tokens(self, side: str) -> Float32[torch.Tensor, "cells C"]:
        """Composed anew: at paper size they would not fit into memory for all training images."""
        return self.maps[side].dense().flatten(0, 1)


def grid_size(size: tuple[int, int], grid: int) -> tuple[int, int]:
    """(h, w) of the cells of a map: at most `grid` a side; 0 is one cell a pixel."""
    h, w = (min(grid, side) if grid else side for side in size)
    return h, w


def cells(valid: Bool[np.ndarray, "H W"], grid: tuple[int, int], keep: bool = False) -> sparse.csr_array:
    """CSR (h*w, H*W): mean over the valid pixels of each cell. A cell without any reads as zeros, or as the
    mean of all its pixels with keep=True."""
    row, column = (np.arange(n) * cell // n for n, cell in zip(valid.shape, grid, strict=True))
    cell, n_cells = (row[:, None] * grid[1] + column).ravel(), grid[0] * grid[1]
    weight = valid.ravel().astype(np.float64)
    if keep:
        weight[np.bincount(cell, weight, n_cells)[cell] == 0] = 1
    pixel = np.flatnonzero(weight)
    share = weight / np.bincount(cell, weight, n_cells).clip(1)[cell]
    return sparse.csr_array((share[pixel].astype(np.float32), (cell[pixel], pixel)), shape=(n_cells, valid.size))


def on_grid(maps: Mapping[str, FeatureMap], valid: Bool[np.ndarray, "H W"], grid: tuple[int, int],
            keep: bool = False) -> OnGrid:
    """Feature maps on `grid` = (h, w) cells; a cell is valid where any of its pixels is."""
    inside = cells(valid, grid)
    mean = cells(valid, grid, keep) if keep else inside
    coarse = {side: FeatureMap(fmap.tokens, mean @ fmap.interp, grid) for side, fmap in maps.items()}
    return OnGrid(coarse, torch.from_numpy(np.diff(inside.indptr) > 0))


def on_raster(fmap: FeatureMap, grid: tuple[int, int]) -> bool:
    """Whether the tokens of a map are the cells of `grid` themselves, as the patches of an encoder, resized bilinearly."""
    if len(fmap.tokens) != grid[0] * grid[1] or grid[0] != grid[1] or fmap.size[0] != fmap.size[1]:
        return False
    resize = bilinear(grid[0], fmap.size[0])
    return resize.nnz == fmap.interp.nnz and (resize != fmap.interp).nnz == 0  # type: ignore[attr-defined]  # stubs lack !=


def to_pixels(values: Float[torch.Tensor, " n"], valid: Bool[torch.Tensor, " cells"], grid: tuple[int, int],
              seen: Bool[np.ndarray, "H W"]) -> Float32[np.ndarray, "H W"]:
    """Values of the n valid cells as a map: bilinear between valid cells only, 0 outside `seen`."""
    planes = torch.zeros(2, len(valid))
    planes[0, valid], planes[1, valid] = values.float(), 1
    planes = planes.reshape(1, 2, *grid)
    if grid != seen.shape:
        planes = F.interpolate(planes, seen.shape, mode="bilinear", align_corners=False)
    total, weight = planes[0].numpy()
    return np.where(seen, total / np.maximum(weight, 1e-12), 0).astype(np.float32)
