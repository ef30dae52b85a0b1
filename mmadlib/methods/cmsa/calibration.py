"""Maps on one scale and one map of several: what CMSA does with its three distances. (reconstruction) throughout."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from jaxtyping import Float, Float32

from mmadlib.checks import one_of

FUSIONS = ("add", "product", "max")


def normal_range(distances: Float[torch.Tensor, " n"]) -> Float32[torch.Tensor, "pair=2"]:
    """Mean and deviation of normal distances; a deviation of 0 reads as 1, none at all as (0, 1).

    0 is what lies below 1e-6 of the largest distance, or below what float32 resolves near zero.
    """
    if len(distances) == 0:
        return torch.tensor([0.0, 1.0])
    values = distances.detach().cpu().double()
    std, floor = values.std(correction=0), 1e-6 * values.abs().max().clamp_min(1e-6)
    return torch.stack([values.mean(), torch.where(std > floor, std, 1.0)]).float()


def calibrated(distance: Float[np.ndarray, "*shape"],
               normal: Float32[torch.Tensor, "pair=2"]) -> Float32[np.ndarray, "*shape"]:
    """(A - mean) / deviation: mean 0 and deviation 1 on the cells that the range was taken from."""
    mean, std = normal.tolist()
    return ((distance - mean) / std).astype(np.float32)


def fuse(raw: Mapping[str, Float32[np.ndarray, "H W"]], ranges: Mapping[str, Float32[torch.Tensor, "pair=2"]],
         weights: Mapping[str, float], rule: str = "add") -> Float32[np.ndarray, "H W"]:
    """One map of the distance maps A_i >= 0; with weights (1, .5, .5) of inter, bank2 and bank3:

    add      max(A_x', 0) + .5 (max(A_2', 0) + max(A_3', 0)), A' calibrated
    max      the largest of these three
    product  A_x sqrt(A_2 A_3): the weights are exponents, and a factor on every map changes no order, so none is calibrated

    A map that is alone counts in full, whatever its weight.
    """
    one_of("fusion", rule, FUSIONS)
    weights = dict.fromkeys(raw, 1.0) if len(raw) == 1 else weights
    if rule == "product":
        return np.prod([np.maximum(A, 0) ** weights[name] for name, A in raw.items()], axis=0)
    terms = [weights[name] * np.maximum(calibrated(A, ranges[name]), 0) for name, A in raw.items()]
    return np.sum(terms, axis=0) if rule == "add" else np.max(terms, axis=0)
