"""Cross-modal anomaly enhancement (CAE): both sides lend each other their ranking, token by token of one raster.

Source: MuSc-V2 (HUST-SLOW/MuSc-V2 models/modules/_MSM.py), for sides whose tokens belong to each other one by one.
"""

from __future__ import annotations

import torch
from jaxtyping import Float

TIES = ("mean", "stable")


def ranked(source: Float[torch.Tensor, "*shape"], target: Float[torch.Tensor, "*shape"],
           ties: str = "mean") -> Float[torch.Tensor, "*shape"]:
    """M(s, t): the values of the source in the ranking of the target, over all entries.

    ties  entries of the target that are equal: "mean": each takes the mean of their values, so that order and machine do not
          matter | "stable": one after the other in reading order (the released sort leaves it open)
    """
    values = source.flatten().sort().values
    keys, order = target.flatten().sort(stable=True)
    if ties == "mean":
        group, count = torch.unique_consecutive(keys, return_inverse=True, return_counts=True)[1:]
        sums = torch.zeros(len(count), dtype=torch.float64, device=values.device).index_add_(0, group, values.double())
        values = (sums / count)[group].to(values.dtype)
    return torch.empty_like(values).index_put_((order,), values).reshape(target.shape)


def enhanced(A: Float[torch.Tensor, "T R"], B: Float[torch.Tensor, "T R"],
             ties: str = "mean") -> tuple[Float[torch.Tensor, "T R"], Float[torch.Tensor, "T R"]]:
    """A and B, distances of the tokens of one part by either side, each half moved to where the other side has its largest.

    A token on whose distance the references disagree is trusted less. M only permutes: the values stay, their places change.
    R is at least 2.
    """
    spread_A, spread_B = A.std(1), B.std(1)
    trust_A, trust_B = 1 - ranked(spread_A, spread_B, ties), 1 - ranked(spread_B, spread_A, ties)
    told = B.sum(1) != 0  # a token without a counterpart is told nothing
    from_B = torch.zeros_like(A)
    from_B[told] = ranked(A[told], B[told], ties)
    from_A = ranked(B, A, ties)
    E, F = torch.maximum(A, from_B) * trust_A[:, None], torch.maximum(B, from_A) * trust_B[:, None]
    return (A + ranked(A, E, ties)) / 2, (B + ranked(B, F, ties)) / 2
