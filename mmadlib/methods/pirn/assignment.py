"""Balanced Prototype Assignment (BPA) of PIRN: a token is a convex mix of prototypes, and every prototype carries its share.

Source: PIRN (ICLR 2026), BPA, as third-party notes quote it: entropic optimal transport with uniform marginals. Its
regularisation, iterations and the unbalanced rules are a reconstruction. Stays in float32 under mixed precision.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

from mmadlib.methods.pirn.sinkhorn import sinkhorn

RULES = ("ot", "softmax", "sigmoid", "linear")


def cosines(Z: torch.Tensor, P: torch.Tensor) -> torch.Tensor:
    """cos(p_k, z_n), (..., K, N), of tokens Z (..., N, D) and prototypes P (..., K, D), in float32; 0 with a zero vector."""
    with torch.autocast(Z.device.type, enabled=False):
        return F.normalize(P.float(), dim=-1) @ F.normalize(Z.float(), dim=-1).transpose(-1, -2)


def assign(Z: torch.Tensor, P: torch.Tensor, valid: torch.Tensor, rule: str = "ot", eps: float = 0.05, iterations: int = 50,
           detach: bool = False) -> torch.Tensor:
    """Weights T (..., K, N) of prototypes P (..., K, D) for tokens Z (..., N, D); a valid token's weights sum to 1.

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


def usage(T: torch.Tensor) -> dict[str, float]:
    """How evenly a plan T (K, N) uses its prototypes.

    perplexity  exp of the entropy of the prototypes' masses, from 1 (one carries all) to K (balanced)
    ratio       largest mass over the smallest;   largest, smallest  in fair shares N/K
    """
    mass = T.double().sum(-1)
    share = mass / mass.sum()
    return {"perplexity": float(torch.exp(torch.special.entr(share).sum())),
            "ratio": float(mass.max() / mass.min().clamp_min(1e-300)),
            "largest": float(share.max() * len(share)), "smallest": float(share.min() * len(share))}
