"""The network of PIRN: a cascade of layers, each of which refines prototypes, rebuilds tokens from them and communicates.

Source: PIRN (ICLR 2026) as third-party notes quote it: APR, then BPA, then MNC; two layers, ten prototypes. By default without
APR, which brings nothing here (settings.py). One codebook a modality, shared by the layers, and which prototypes the next
layer starts from are a reconstruction.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Float32
from torch import nn

from mmadlib.checks import check_fields
from mmadlib.methods.pirn.assignment import RULES, Transport, assign
from mmadlib.methods.pirn.communication import Communication
from mmadlib.methods.pirn.refinement import CONTEXTS, Refinement
from mmadlib.methods.training import ByShots

LEAK_TOKENS = 256  # random tokens of the leak probe
CHOICES = {"assign": RULES, "plan": ("loop", "detached"), "apr": CONTEXTS, "mnc_residual": ("off", "literal"),
           "mnc_source": ("other", "own")}


@dataclass(frozen=True)
class CascadeSettings(ByShots):
    """The network. K and L are reported, the rest is a reconstruction."""

    K: int = 10  # prototypes of a modality
    L: int = 2  # layers
    carry: bool = False  # a layer starts from the refined prototypes of the one before
    assign: str = "ot"  # ot: balanced | softmax | sigmoid | linear
    eps: float = 0.2  # of the transport, and temperature of softmax and sigmoid
    iterations: int = 20
    plan: str = "loop"  # gradient through the transport: loop | detached
    apr: str = "none"  # context of the refinement: ot | same (as assign) | mean | topk | none (no refinement)
    apr_keep: float = 0.0  # start of its gate towards the old prototype, beside torch's numbers near 0; 5: nearly all is kept
    gru: bool = True  # False: the context replaces the prototype
    apr_infer: bool = True  # refine while scoring, too
    mnc: bool = True  # False: Z_rec = Z_bpa
    mnc_stage1: bool = True  # graph attention over prototypes
    mnc_purify: bool = True  # Z' = Z sigmoid(Z_bpa); False: Z' = Z
    mnc_residual: str = "off"  # off | literal: Z' is added, which lets anything through if trained long
    mnc_source: str = "other"  # whose prototypes are asked: other | own, a control in which the modalities stay apart
    gamma: float = 1.0  # start of the cross-attention's gate tanh(gamma); 0: shut
    gamma_frozen: bool = False  # it stays where it starts
    neighbours: int = 3  # cross-modal edges of a prototype
    heads: int = 8  # of the cross-attention
    graph_heads: int = 4

    def __post_init__(self) -> None:
        super().__post_init__()
        check_fields(self, least={"K": 1, "L": 1, "iterations": 1, "neighbours": 0, "heads": 1, "graph_heads": 1},
                     choices=CHOICES, positive=["eps"])


class Layer(nn.Module):
    """Z, P -> Z_rec = Z_bpa + Z_mnc with the refined prototypes P'."""

    def __init__(self, width: int, modalities: int, s: CascadeSettings) -> None:
        super().__init__()
        self.rule, self.always = s.assign, s.apr_infer
        self.transport: Transport = {"eps": s.eps, "iterations": s.iterations, "detach": s.plan == "detached"}
        self.refine = Refinement(width, modalities, s.assign if s.apr == "same" else s.apr, s.gru, s.apr_keep)
        heard = s.mnc and (modalities == 2 or s.mnc_source == "own")  # one modality has nobody to ask but itself
        self.communicate = Communication(width, s.heads, s.graph_heads, s.neighbours, s.mnc_stage1, s.mnc_purify,
                                         s.mnc_residual, s.gamma, s.gamma_frozen, s.mnc_source, modalities) if heard else None

    def forward(self, Z: Float[torch.Tensor, "M B N D"], P: Float[torch.Tensor, "M B K D"], valid: Bool[torch.Tensor, "B N"],
                ) -> tuple[Float[torch.Tensor, "M B N D"], Float[torch.Tensor, "M B K D"], Float32[torch.Tensor, "M B K N"]]:
        """Z_rec, P' and the plan T; M modalities, B images, N tokens."""
        if self.training or self.always:
            P = self.refine(Z, P, valid, **self.transport)
        T = assign(Z, P, valid.expand(len(Z), *valid.shape), self.rule, **self.transport)
        Z_bpa = T.to(P.dtype).transpose(-1, -2) @ P
        return Z_bpa if self.communicate is None else Z_bpa + self.communicate(Z, Z_bpa, P), P, T


class Cascade(nn.Module):
    """L layers over one codebook a modality.

    prototypes  the learned ones: parameters, never written while scoring
    leak        the leak probe before each epoch and at the end; NaN where it was not taken
    """

    leak: Float32[torch.Tensor, " epochs+1"]

    def __init__(self, prototypes: Float32[torch.Tensor, "M K D"], epochs: int, s: CascadeSettings) -> None:
        super().__init__()
        modalities, _, width = prototypes.shape
        self.prototypes, self.carry = nn.Parameter(prototypes.clone()), s.carry
        self.layers = nn.ModuleList(Layer(width, modalities, s) for _ in range(s.L))
        self.register_buffer("leak", torch.full((epochs + 1,), torch.nan))

    def forward(self, E: Float[torch.Tensor, "M B N D"], valid: Bool[torch.Tensor, "B N"],
                ) -> tuple[Float[torch.Tensor, "M B N D"], Float32[torch.Tensor, "M B K N"]]:
        """Reconstruction Z_rec of tokens E, and the last layer's plan."""
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
        with torch.autocast(random.device.type, enabled=False):
            rebuilt = self.eval()(random, valid)[0]
        self.train(was)
        return float(torch.cosine_similarity(random, rebuilt, dim=-1).mean())
