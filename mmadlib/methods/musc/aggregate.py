"""Neighbourhood aggregation by similarity (SNAMD): a token becomes a mean of those around it that are like it.

Source: MuSc-V2 (HUST-SLOW/MuSc-V2 models/modules/_SNAMD.py), the form for tokens on a raster.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float

DEGREES = (1, 3, 5)


def aggregated(x: Float[torch.Tensor, "h w C"], taken: Bool[torch.Tensor, "h w"],
               degrees: Sequence[int] = DEGREES) -> Float[torch.Tensor, "h w C"]:
    """Mean over the degrees r of the weighted means of r x r windows; weight exp(-|n - x|) of neighbour n (Euclidean).

    taken  cells that take part. Beyond the raster there are zero vectors, which take part as published if all cells do
    """
    reach = max(degrees) // 2
    padding = bool(taken.all())
    around = F.pad(x.permute(2, 0, 1), (reach,) * 4).permute(1, 2, 0)
    takes = F.pad(taken.to(x.dtype), (reach,) * 4, value=float(padding))
    h, w = taken.shape
    total = {r: torch.zeros_like(x) for r in degrees}
    weights = {r: torch.zeros_like(x[..., :1]) for r in degrees}
    for row, column in product(range(-reach, reach + 1), repeat=2):
        window = slice(reach + row, reach + row + h), slice(reach + column, reach + column + w)
        n = around[window]
        weight = (-(n - x).norm(dim=-1, keepdim=True)).exp() * takes[window][..., None]
        for r in degrees:
            if max(abs(row), abs(column)) <= r // 2:
                total[r] += weight * n
                weights[r] += weight
    return torch.stack([total[r] / weights[r].clamp_min(1e-12) for r in degrees]).mean(0)
