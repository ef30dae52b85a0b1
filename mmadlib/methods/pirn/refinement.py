"""Adaptive Prototype Refinement (APR) of PIRN: the prototypes look at an image before they rebuild it.

Each prototype gathers a context from the image's tokens and takes it in through a gate (GRU). The prototypes of one image are
never kept for the next: learned prototypes are parameters, refined ones are activations.
Source: PIRN (ICLR 2026), APR, as third-party notes quote it; the single step per image and the alternatives to balanced
transport (its Table 7) are a reconstruction.
"""

from __future__ import annotations

from typing import Unpack

import torch
from jaxtyping import Bool, Float
from torch import nn

from mmadlib.methods.pirn.assignment import RULES, Transport, assign, cosines

CONTEXTS = ("ot", "same", "mean", "topk", "none")  # same: by the rule of the assignment


def context(Z: Float[torch.Tensor, "... N D"], P: Float[torch.Tensor, "... K D"], valid: Bool[torch.Tensor, "... N"],
            rule: str = "ot", eps: float = 0.05, iterations: int = 50,
            detach: bool = False) -> Float[torch.Tensor, "... K D"]:
    """What each prototype P gathers of the valid tokens Z.

    ot    c_k = sum_n G_nk z_n / sum_n G_nk with a balanced plan G, or with the weights of another rule of `assign`
    mean  the image's mean token, for all alike;   topk  the mean of the N/K tokens most similar to it, its fair share
    """
    if rule in RULES:
        weight = assign(Z, P, valid, rule, eps, iterations, detach)
    elif rule == "mean":
        weight = valid.unsqueeze(-2).expand(*P.shape[:-1], Z.shape[-2]).to(Z.dtype)
    else:
        share = (valid.sum(-1) // P.shape[-2]).clamp_min(1)
        best = cosines(Z, P).masked_fill(~valid.unsqueeze(-2), -torch.inf).topk(int(share.max()), -1).indices
        rank = torch.arange(best.shape[-1], device=Z.device)
        kept = (rank < share[..., None, None]).expand(best.shape).to(Z.dtype)
        weight = torch.zeros(*P.shape[:-1], Z.shape[-2], device=Z.device, dtype=Z.dtype).scatter(-1, best, kept)
    return (weight / weight.sum(-1, keepdim=True).clamp_min(1e-12)) @ Z


class Refinement(nn.Module):
    """P' = GRU(context, P), one cell a modality; with gru=False P' is the context itself.

    torch's cell keeps the old state where its update gate is open, the notes' keeps it where theirs is shut: u = 1 - z.
    keep: what its bias starts with more than torch draws; at 5 the prototype is kept but for about a hundredth.
    """

    def __init__(self, width: int, modalities: int, rule: str = "ot", gru: bool = True, keep: float = 0.0) -> None:
        super().__init__()
        self.rule = rule
        cells = [nn.GRUCell(width, width) for _ in range(modalities if gru and rule != "none" else 0)]
        for cell in cells:
            cell.bias_ih.data[width:2 * width] += keep  # in torch's order reset, update, new
        self.cells = nn.ModuleList(cells)

    def forward(self, Z: Float[torch.Tensor, "M B N D"], P: Float[torch.Tensor, "M B K D"], valid: Bool[torch.Tensor, "B N"],
                **transport: Unpack[Transport]) -> Float[torch.Tensor, "M B K D"]:
        """P' from tokens Z and prototypes P."""
        if self.rule == "none":
            return P
        c = context(Z, P, valid.expand(len(Z), *valid.shape), self.rule, **transport)
        if not self.cells:
            return c
        return torch.stack([cell(c[m].flatten(0, 1), P[m].flatten(0, 1)).view_as(P[m]) for m, cell in enumerate(self.cells)])
