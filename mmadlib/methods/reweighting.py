"""The image score of BTF and M3DM: the largest distance, weighted by how crowded the bank is around its match.

Symbols: f* the worst patch, m* its nearest row, s* = ||f* - m*||, m1 and m2 the next two rows nearest to m*, C the width:
w = 1 - exp(s*/sqrt(C)) / (exp(||f*-m1||/sqrt(C)) + exp(||f*-m2||/sqrt(C))), image score w s*. PatchCore's paper sums m* too.
Source: eliahuhorwitz/3D-ADS feature_extractors/features.py; nomewang/M3DM feature_extractors/multiple_features.py.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Float32, Int64

from mmadlib.methods.memory import Memory

# name -> (what is added to the denominator, what distances are divided by before the exponential)
RULES = {"btf": (0.0, 1.0), "m3dm_single": (1e-5, 1.0), "m3dm_double": (0.0, 1000.0)}
REWEIGHTINGS = ("none", *RULES)
NEIGHBOURS = 3  # rows nearest to m*, itself among them


def weight(s: Float[torch.Tensor, ""], others: Float[torch.Tensor, " k"], width: int,
           rule: str = "btf") -> Float[torch.Tensor, ""]:
    """w of the distances s* and ||f* - m_j||. In [.5, 1) for two others that are no nearer than m*.

    Numerator and denominator are divided by exp(s*/sqrt(C)), so that no exponential overflows.
    """
    added, shrink = RULES[rule]
    s, others = s.double() / shrink / width**0.5, others.double() / shrink / width**0.5
    return 1 - 1 / (torch.exp(others - s).sum() + added * torch.exp(-s))


def reweighted(patches: Float32[torch.Tensor, "n C"], distance: Float32[torch.Tensor, " n"], index: Int64[torch.Tensor, " n"],
               memory: Memory, rule: str = "btf") -> float:
    """Image score of n patches from the distances to their nearest rows `index`; 0 without patches.

    rule  none: s* itself, and so in a bank of fewer than three rows; btf; m3dm_single: 1e-5 in the denominator; m3dm_double:
          distances a thousandth, so w is about a half
    """
    if not len(distance):
        return 0.0
    worst = int(distance.argmax())
    s = distance[worst]
    if rule == "none" or len(memory) < NEIGHBOURS:
        return float(s)
    match = memory.rows[index[worst]]
    near = memory.nearest(match[None], NEIGHBOURS)[1][0, 1:]
    others = (patches[worst].to(memory.rows.device) - memory.rows[near]).norm(dim=1)
    return float(weight(s.to(others.device), others, patches.shape[1], rule) * s.double().to(others.device))
