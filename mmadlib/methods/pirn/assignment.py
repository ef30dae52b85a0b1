"""Balanced Prototype Assignment (BPA) of PIRN: a token is a convex mix of prototypes, and every prototype carries its share.

Source: PIRN (ICLR 2026), BPA, as third-party notes quote it: entropic optimal transport with uniform marginals. Its
regularisation, iterations and the unbalanced rules are a reconstruction. Stays in float32 under mixed precision.
"""

from __future__ import annotations

from typing import TypedDict

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Float32

from mmadlib.methods.pirn.sinkhorn import sinkhorn

RULES = ("ot", "softmax", "sigmoid", "linear")


class Transport(TypedDict):
    """How the weights are found, whatever the rule: keywords of `assign`."""

    eps: float
    iterations: int
    detach: bool


def cosines(Z: Float[torch.Tensor, "... N D"], P: Float[torch.Tensor, "... K D"]) -> Float32[torch.Tensor, "... K N"]:
    """cos(p_k, z_n) of tokens Z and prototypes P; 0 with a zero vector."""
    with torch.autocast(Z.device.type, enabled=False):
        return F.normalize(P.float(), dim=-1) @ F.normalize(Z.float(), dim=-1).transpose(-1, -2)


def assign(Z: Float[torch.Tensor, "... N D"], P: Float[torch.Tensor, "... K D"], valid: Bool[torch.Tensor, "... N"],
           rule: str = "ot", eps: float = 0.05, iterations: int = 50,
           detach: bool = False) -> Float32[torch.Tensor, "... K N"]:
    """Weights T of prototypes P for tokens Z; a valid token's weights sum to 1.

    rule    ot: balanced | softmax of cos / eps | sigmoid of cos / eps | linear: 1 + cos, the last two over their sum
    detach  no gradient through the weights, only through the prototypes that they mix
    """
    with torch.autocast(Z.device.type, enabled=False), torch.set_grad_enabled(torch.is_grad_enabled() and not detach):
        cos = cosines(Z, P)
        if rule == "ot":
            return sinkhorn(1 - cos, valid, eps, iterations)
        if rule == "softmax":
            T = torch.softmax(cos / eps, -2)
        else:
            T = torch.sigmoid(cos / eps) if rule == "sigmoid" else 1 + cos
            T = T / T.sum(-2, keepdim=True).clamp_min(1e-12)
        return T * valid.unsqueeze(-2)


def usage(T: Float[torch.Tensor, "K N"]) -> dict[str, float]:
    """How evenly a plan T uses its prototypes.

    perplexity  exp of the entropy of the prototypes' masses, from 1 (one carries all) to K (balanced)
    ratio       largest mass over the smallest;   largest, smallest  in fair shares N/K
    """
    mass = T.double().sum(-1)
    share = mass / mass.sum()
    return {"perplexity": float(torch.exp(torch.special.entr(share).sum())),
            "ratio": float(mass.max() / mass.min().clamp_min(1e-300)),
            "largest": float(share.max() * len(share)), "smallest": float(share.min() * len(share))}
