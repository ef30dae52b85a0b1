"""Soft mining: a cosine loss in which tokens that are rebuilt badly weigh more."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float, Float32

LOSSES = ("flat", "weighted")


def soft_mining(E: Float[torch.Tensor, "B N D"], Z: Float[torch.Tensor, "B N D"], valid: Bool[torch.Tensor, "B N"],
                exponent: float = 3.0, form: str = "flat") -> Float32[torch.Tensor, ""]:
    """Loss of reconstructions Z of tokens E; hard tokens weigh w = (d / mean d)^exponent.

    flat      1 - cosine of the flattened maps, mean over images; w scales the gradient of each token only
    weighted  mean of w d over the valid tokens;   d = 1 - cos(e_n, z_n), w without gradient
    Source: INP-Former (luow23/INP-Former utils.py, exponent 3), which PIRN's notes name; "weighted" is a reconstruction.
    """
    E, Z = E.float(), Z.float()
    d = 1 - torch.cosine_similarity(E, Z, dim=-1)
    with torch.no_grad():
        error = d.clamp_min(0)
        w = (error / error[valid].mean().clamp_min(1e-12)) ** exponent
    if form == "weighted":
        return (w * d)[valid].mean()
    Z = _with_gradient(Z, lambda gradient: gradient * w[..., None])
    flat_E, flat_Z = (torch.where(valid[..., None], x, 0).flatten(1) for x in (E, Z))
    return (1 - torch.cosine_similarity(flat_E, flat_Z)).mean()


def _with_gradient(x: torch.Tensor, change: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
    """x, whose gradient passes through `change` on its way back."""
    x = x.clone()
    if x.requires_grad:
        x.register_hook(change)
    return x
