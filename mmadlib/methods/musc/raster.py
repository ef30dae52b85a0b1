"""Between features and the tokens that MuSc-V2 compares: their scale, which cells take part, and the way back to pixels."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Float32

from mmadlib.methods.musc.aggregate import aggregated
from mmadlib.methods.musc.settings import Settings


def chosen(valid: Bool[torch.Tensor, " cells"], grid: tuple[int, int], every: int) -> Bool[torch.Tensor, " cells"]:
    """Of the valid cells those that are compared: all, or those on every n-th diagonal."""
    row, column = torch.meshgrid(torch.arange(grid[0]), torch.arange(grid[1]), indexing="ij")
    return valid & ((row + column) % every == 0).flatten()


def scaled(x: Float32[torch.Tensor, "cells C"], seen: Bool[torch.Tensor, " cells"], grid: tuple[int, int], width: int,
           s: Settings) -> Float32[torch.Tensor, "cells C"]:
    """Tokens of a layer, `width` channels and perhaps an anchor, brought to one scale, and aggregated if wanted (SNAMD).

    "published" aggregates raw tokens of all cells before they are scaled, "clean" scaled ones of the foreground.
    """

    def scale(x: torch.Tensor) -> torch.Tensor:
        return F.normalize(x, dim=1) if s.scale == "unit" else x / width**0.5

    if s.aggregate == "none":
        return scale(x)
    x, taken = (x, torch.ones_like(seen)) if s.aggregate == "published" else (scale(x), seen)
    around = aggregated(x.reshape(*grid, -1), taken.reshape(grid).to(x.device), s.windows).reshape(x.shape)
    return scale(around) if s.aggregate == "published" or s.scale == "unit" else around


def spread(values: Float[torch.Tensor, " n"], chosen: Bool[torch.Tensor, " cells"], valid: Bool[torch.Tensor, " cells"],
           grid: tuple[int, int]) -> tuple[Float[torch.Tensor, " m"], Bool[torch.Tensor, " cells"]]:
    """Values of the chosen cells, and of the valid cells beside them the mean of those in 3 x 3; and which cells these are."""
    planes = torch.zeros(2, 1, len(valid))
    planes[0, 0, chosen], planes[1, 0, chosen] = values.float(), 1
    total, count = F.conv2d(planes.reshape(2, 1, *grid), torch.ones(1, 1, 3, 3), padding=1).reshape(2, -1)
    known = valid & (count > 0)
    return torch.where(chosen, planes[0, 0], total / count.clamp_min(1))[known], known


def cornered(values: Float[torch.Tensor, " n"], valid: Bool[torch.Tensor, " cells"], grid: tuple[int, int],
             seen: Bool[np.ndarray, "H W"]) -> Float32[np.ndarray, "H W"]:
    """`token_grid.to_pixels` as published: the outermost cells lie on the outermost pixels (align_corners)."""
    plane = torch.zeros(len(valid))
    plane[valid] = values.float()
    pixels = F.interpolate(plane.reshape(1, 1, *grid), seen.shape, mode="bilinear", align_corners=True)[0, 0].numpy()
    return np.where(seen, pixels, 0).astype(np.float32)
