"""Re-scoring of a batch (RsCon): image scores, smoothed over the parts whose most anomalous tokens are alike.

Source: MuSc-V2 (HUST-SLOW/MuSc-V2 models/modules/_RsCon.py).
"""

from __future__ import annotations

import torch
from jaxtyping import Float


def min_max(scores: Float[torch.Tensor, " N"]) -> Float[torch.Tensor, " N"]:
    """Scores brought to [0, 1]; as they are where all are equal."""
    low, span = scores.min(), scores.max() - scores.min()
    return (scores - low) / span if span > 0 else scores


def rescored(scores: Float[torch.Tensor, " N"], features: Float[torch.Tensor, "N F"],
             window: int = 7) -> Float[torch.Tensor, " N"]:
    """Mean over k = 1 and k = window of the scores weighted by the k largest inner products of a part's feature with all.

    The part itself is among all. k is at most N; a part without any weight keeps its score. As weights sum to 1, the scores
    may be in any unit.
    """
    W, found = features @ features.T, []
    for k in sorted({1, window}):
        weight, place = W.topk(min(k, len(W)), dim=1)
        total = weight.sum(1)
        mean = (weight * scores[place]).sum(1) / torch.where(total == 0, 1, total)
        found.append(torch.where(total == 0, scores, mean))
    return torch.stack(found).mean(0)
