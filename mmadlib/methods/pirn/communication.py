"""Multimodal Normality Communication (MNC) of PIRN: what is normal in one modality, told to the other.

Stage 1 aligns the refined prototypes of both modalities by one pass of graph attention over cross-modal neighbours. Stage 2
purifies each token by its own reconstruction and lets it attend to the other modality's aligned prototypes behind a gate.
Source: PIRN (ICLR 2026), MNC, as third-party notes quote it; where the gate starts, neighbours, heads and the form of the
attention are a reconstruction (graph attention: Velickovic et al., ICLR 2018).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import nn

from mmadlib.methods.pirn.assignment import cosines

SLOPE = 0.2  # of the leaky ReLU in graph attention


def cross_edges(P: Float[torch.Tensor, "2 B K D"], k: int) -> Bool[torch.Tensor, "B 2*K 2*K"]:
    """Edges of prototypes P: each node's k most similar ones of the other modality, made symmetric, and itself."""
    K = P.shape[2]
    similarity, edges = cosines(P[1], P[0]), torch.zeros(P.shape[1], 2 * K, 2 * K, dtype=torch.bool, device=P.device)
    if k:
        rank = {axis: similarity.argsort(axis, descending=True).argsort(axis) for axis in (1, 2)}
        near = (rank[1] < k) | (rank[2] < k)  # (B, K of the first, K of the second)
        edges[:, :K, K:], edges[:, K:, :K] = near, near.transpose(1, 2)
    return edges | torch.eye(2 * K, dtype=torch.bool, device=P.device)


class GraphAttention(nn.Module):
    """H' = H + concat over heads of sum_j a_ij W h_j, on the graph of `cross_edges`."""

    def __init__(self, width: int, heads: int = 4, k: int = 3) -> None:
        super().__init__()
        self.k, self.heads = k, heads
        self.project = nn.Linear(width, width, bias=False)
        self.ends = nn.Parameter(torch.empty(2, heads, width // heads))
        nn.init.xavier_uniform_(self.ends)

    def forward(self, P: Float[torch.Tensor, "2 B K D"]) -> Float[torch.Tensor, "2 B K D"]:
        """Aligned prototypes."""
        H = torch.cat([P[0], P[1]], dim=1)
        W = self.project(H).unflatten(-1, (self.heads, -1))  # (B, 2K, heads, D / heads)
        to, of = ((W * end).sum(-1) for end in self.ends)
        score = F.leaky_relu(to[:, :, None] + of[:, None], SLOPE).float()  # (B, 2K, 2K, heads)
        a = score.masked_fill(~cross_edges(P, self.k)[..., None], -torch.inf).softmax(2)
        H = H + torch.einsum("bijh,bjhd->bihd", a.to(W.dtype), W).flatten(2)
        return torch.stack(H.chunk(2, dim=1))


class GatedCrossAttention(nn.Module):
    """tanh(gamma) CA(query Z'; keys and values the prototypes of a modality); gamma: where the gate starts, 0 is shut."""

    def __init__(self, width: int, heads: int = 8, gamma: float = 1.0, frozen: bool = False) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)
        self.gamma = nn.Parameter(torch.tensor(float(gamma)), requires_grad=not frozen)

    def forward(self, Z: Float[torch.Tensor, "B N D"], P: Float[torch.Tensor, "B K D"]) -> Float[torch.Tensor, "B N D"]:
        """What tokens Z take from prototypes P."""
        return torch.tanh(self.gamma) * self.attention(Z, P, P, need_weights=False)[0]


class Communication(nn.Module):
    """Z_mnc = residual * Z' + gated cross-attention, Z' = Z * sigmoid(Z_bpa), for M modalities.

    source    other: tokens ask the other modality's prototypes, M is 2
              own: they ask their own, and no graph joins the modalities: the same network with nothing told, a control
    residual  off: Z' only asks the questions of the attention (as INP-Former's decoder does)
              literal: it is added as the notes print it, a copy of the token that no prototype constrains
    """

    def __init__(self, width: int, heads: int = 8, graph_heads: int = 4, k: int = 3, stage1: bool = True, purify: bool = True,
                 residual: str = "off", gamma: float = 1.0, frozen: bool = False, source: str = "other",
                 modalities: int = 2) -> None:
        super().__init__()
        self.graph = GraphAttention(width, graph_heads, k) if stage1 and source == "other" else None
        self.cross = nn.ModuleList(GatedCrossAttention(width, heads, gamma, frozen) for _ in range(modalities))
        self.purify, self.residual, self.own = purify, residual == "literal", source == "own"

    def forward(self, Z: Float[torch.Tensor, "M B N D"], Z_bpa: Float[torch.Tensor, "M B N D"],
                P: Float[torch.Tensor, "M B K D"]) -> Float[torch.Tensor, "M B N D"]:
        """Z_mnc of tokens Z, their reconstruction Z_bpa and refined prototypes P."""
        aligned = P if self.graph is None else self.graph(P)
        purified = Z * torch.sigmoid(Z_bpa) if self.purify else Z
        asked = aligned if self.own else aligned.flip(0)
        told = torch.stack([cross(Z, P) for cross, Z, P in zip(self.cross, purified, asked, strict=True)])
        return purified + told if self.residual else told
