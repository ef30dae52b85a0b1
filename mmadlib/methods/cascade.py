"""The network of PIRN: a cascade of layers, each of which refines prototypes, rebuilds tokens from them and communicates.

Source: PIRN (ICLR 2026) as third-party notes quote it: APR, then BPA, then MNC; two layers, ten prototypes. One codebook a
modality, shared by the layers, and which prototypes the next layer starts from are a reconstruction.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import nn

from mmadlib.methods.assignment import assign
from mmadlib.methods.communication import Communication
from mmadlib.methods.refinement import Refinement

if TYPE_CHECKING:
    from mmadlib.methods.pirn import Settings

LEAK_TOKENS = 256  # random tokens of the leak probe


class Layer(nn.Module):
    """Z, P -> Z_rec = Z_bpa + Z_mnc with the refined prototypes P'."""

    def __init__(self, width: int, modalities: int, s: Settings) -> None:
        super().__init__()
        self.rule, self.always = s.assign, s.apr_infer
        self.transport = {"eps": s.eps, "iterations": s.iterations, "detach": s.plan == "detached"}
        self.refine = Refinement(width, modalities, s.assign if s.apr == "same" else s.apr, s.gru)
        self.communicate = Communication(width, s.heads, s.graph_heads, s.neighbours, s.mnc_stage1, s.mnc_purify,
                                         s.mnc_residual, s.gamma_frozen) if s.mnc and modalities == 2 else None

    def forward(self, Z: torch.Tensor, P: torch.Tensor,
                valid: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Z_rec (M, B, N, D), P' (M, B, K, D) and the plan T (M, B, K, N); M modalities, B images, N tokens."""
        if self.training or self.always:
            P = self.refine(Z, P, valid, **self.transport)
        T = assign(Z, P, valid.expand(len(Z), *valid.shape), self.rule, **self.transport)
        Z_bpa = T.to(P.dtype).transpose(-1, -2) @ P
        return Z_bpa if self.communicate is None else Z_bpa + self.communicate(Z, Z_bpa, P), P, T


class Cascade(nn.Module):
    """L layers over one codebook a modality.

    prototypes  (M, K, D), the learned ones: parameters, never written while scoring
    leak        (epochs + 1,) the leak probe before each epoch and at the end; NaN where it was not taken
    """

    def __init__(self, prototypes: torch.Tensor, epochs: int, s: Settings) -> None:
        super().__init__()
        modalities, _, width = prototypes.shape
        self.prototypes, self.carry = nn.Parameter(prototypes.clone()), s.carry
        self.layers = nn.ModuleList(Layer(width, modalities, s) for _ in range(s.L))
        self.register_buffer("leak", torch.full((epochs + 1,), torch.nan))

    def forward(self, E: torch.Tensor, valid: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Reconstruction Z_rec (M, B, N, D) of tokens E (M, B, N, D), valid bool (B, N), and the last layer's plan."""
        learned = self.prototypes[:, None].expand(-1, E.shape[1], -1, -1)
        Z, P = E, learned
        for layer in self.layers:
            Z, P, T = layer(Z, P if self.carry else learned, valid)
        return Z, T

    @torch.no_grad()
    def leak_probe(self, seed: int = 0) -> float:
        """Mean cosine of random Gaussian tokens and their reconstruction: near 1, anything passes, also a defect."""
        modalities, _, width = self.prototypes.shape
        random = torch.randn(modalities, 1, LEAK_TOKENS, width, generator=torch.Generator().manual_seed(seed))
        random = random.to(self.prototypes.device)
        was, valid = self.training, torch.ones(1, LEAK_TOKENS, dtype=torch.bool, device=random.device)
        rebuilt = self.eval()(random, valid)[0]
        self.train(was)
        return float(torch.cosine_similarity(random, rebuilt.float(), dim=-1).mean())


def soft_mining(E: torch.Tensor, Z: torch.Tensor, valid: torch.Tensor, exponent: float = 3.0,
                form: str = "flat") -> torch.Tensor:
    """Loss of reconstructions Z (B, N, D) of tokens E, valid bool (B, N); hard tokens weigh w = (d / mean d)^exponent.

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
    flat = (torch.where(valid[..., None], x, 0).flatten(1) for x in (E, Z))
    return (1 - torch.cosine_similarity(*flat)).mean()


def _with_gradient(x: torch.Tensor, change: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
    """x, whose gradient passes through `change` on its way back."""
    x = x.clone()
    if x.requires_grad:
        x.register_hook(change)
    return x
