"""Patch rows: what a memory bank holds of one sample, one row a cell of a raster, by the papers' rules and by ours.

Ours takes tokens of the foreground alone. The papers' methods take every cell, background too, and pool the maps of a
convolutional network level by level, so those are recovered here from tokens that hold all levels on one raster.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import isqrt

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Float32, Int64

from mmadlib.features.field import FeatureMap, Features, blend
from mmadlib.methods.token_grid import cells, grid_size

# widths of the levels of networks that papers pool level by level: (levels, channels together) -> channels of each
LEVELS = {("8+16", 1536): (512, 1024)}  # WideResNet-50


@dataclass(frozen=True, eq=False)
class Cells:
    """One sample on h x w cells, row by row: a row of C numbers each, and which of them count."""

    values: Float32[torch.Tensor, "cells C"]
    valid: Bool[torch.Tensor, " cells"]
    grid: tuple[int, int]

    @property
    def rows(self) -> Float32[torch.Tensor, "n C"]:
        """The rows of the cells that count."""
        return self.values[self.valid]

    @property
    def image(self) -> Float32[torch.Tensor, "C h w"]:
        return self.values.T.reshape(-1, *self.grid)


def of_image(image: Float[torch.Tensor, "C h w"], valid: Bool[torch.Tensor, " cells"] | None = None) -> Cells:
    """Cells of a map; all of them count unless told."""
    h, w = image.shape[1:]
    every = torch.ones(h * w, dtype=torch.bool) if valid is None else valid
    return Cells(image.float().flatten(1).T.contiguous(), every, (h, w))


def is_raster(fmap: FeatureMap, grid: tuple[int, int]) -> bool:
    """Whether the tokens are the cells of `grid` themselves: as many, and none reaches a pixel beyond the next cell."""
    if len(fmap.tokens) != grid[0] * grid[1]:
        return False
    pixel = np.repeat(np.arange(fmap.interp.shape[0]), np.diff(fmap.interp.indptr))
    places = zip(np.divmod(pixel, fmap.size[1]), np.divmod(fmap.interp.indices, grid[1]), fmap.size, grid, strict=True)
    return all((np.abs((p + 0.5) * n / side - 0.5 - t) < 1).all() for p, t, side, n in places)


def leading(fmap: FeatureMap, pixels: Int64[np.ndarray, " n"]) -> Bool[torch.Tensor, " T"]:
    """Tokens that are the largest part of one of the pixels: on a raster their own cells, or what stands in for them."""
    found = torch.zeros(len(fmap.tokens), dtype=torch.bool)
    rows = fmap.interp[pixels[np.diff(fmap.interp.indptr)[pixels] > 0]]
    if rows.nnz:
        largest = np.maximum.reduceat(rows.data, rows.indptr[:-1])
        found[torch.from_numpy(rows.indices[rows.data == np.repeat(largest, np.diff(rows.indptr))].astype(np.int64))] = True
    return found


def cells_of(fmap: FeatureMap, seen: Bool[np.ndarray, "H W"] | None, grid: int) -> Cells:
    """A map on at most `grid` cells a side: its own tokens where they are these cells, else the mean of a cell's pixels.

    seen  the pixels that count; a cell counts that holds any. None: all cells count, pixels without features as zeros
    """
    size = grid_size(fmap.size, grid)
    if is_raster(fmap, size):
        valid = torch.ones(len(fmap.tokens), dtype=torch.bool) if seen is None else leading(fmap, np.flatnonzero(seen))
        return Cells(fmap.tokens.cpu(), valid, size)
    inside = cells(np.ones(fmap.size, bool) if seen is None else seen, size)
    values = blend(inside @ fmap.interp, fmap.tokens.cpu())
    return Cells(values, torch.from_numpy(np.diff(inside.indptr) > 0), size)


def neighbourhood(found: Cells, size: int = 3) -> Cells:
    """Each cell's mean over the cells that count among size x size around it (size odd): PatchCore's local awareness."""
    if size == 1:
        return found
    on = found.valid.float().reshape(1, *found.grid)
    planes = torch.cat([found.image * on, on])
    *total, weight = F.avg_pool2d(planes[None], size, 1, size // 2, count_include_pad=True)[0]
    mean = torch.stack(total) / weight.clamp_min(1e-6)
    return Cells(mean.flatten(1).T.contiguous(), found.valid, found.grid)


def pooled(maps: Sequence[Float[torch.Tensor, "_ _ _"]], grid: tuple[int, int]) -> Float[torch.Tensor, "C h w"]:
    """AvgPool 3x3 without padding, then an adaptive mean to grid = (h, w), of each map; side by side.

    Source: BTF (eliahuhorwitz/3D-ADS feature_extractors/features.py), its rule for all its features.
    """
    return torch.cat([F.adaptive_avg_pool2d(F.avg_pool2d(m[None], 3, 1), grid)[0] for m in maps])


def levels(features: Features, side: str, fmap: FeatureMap) -> list[Float32[torch.Tensor, "_ _ _"]]:
    """The maps of a network's levels, each on its own raster; one map of other tokens on a square raster; else none.

    Tokens hold the coarser of two levels resized bilinearly to the raster of the finer one, which can be undone exactly.
    """
    g = isqrt(len(fmap.tokens))
    if not is_raster(fmap, (g, g)):
        return []
    image = fmap.tokens.cpu().T.reshape(-1, g, g)
    made = ((features.extraction or {}).get(side) or {}).get("levels")
    widths = LEVELS.get((made, len(image)), (len(image),)) if made else (len(image),)
    maps = torch.split(image, list(widths))
    return [m if i == 0 else coarser(m, -(-g // 2**i)) for i, m in enumerate(maps)]


def coarser(image: Float32[torch.Tensor, "C g g"], to: int) -> Float32[torch.Tensor, "C to to"]:
    """The map of which `image` is the bilinear resize, on to x to cells."""
    back = _undo(to, image.shape[1])
    return (back @ image.double() @ back.T).float()


@lru_cache(maxsize=4)
def _undo(to: int, size: int) -> torch.Tensor:
    """(to, size): the inverse of the resize along one axis, whose singular values are about 1."""
    line = F.interpolate(torch.eye(to, dtype=torch.float64)[None], size, mode="linear", align_corners=False)[0].T
    return torch.linalg.pinv(line)
