"""PIRN: prototype-based intra-modal reconstruction with normality communication (ICLR 2026), a reconstruction.

A few learnable prototypes rebuild the tokens of each modality; what they cannot rebuild is anomalous. Balanced assignment
keeps all of them in use (BPA, assignment.py), each image adapts them through a gate (APR, refinement.py), and the modalities
tell each other what is normal (MNC, communication.py); two such layers make the cascade (cascade.py).

Symbols: E (M, B, N, D) tokens of M modalities, B images, N cells; P (M, K, D) prototypes; Z_rec the reconstruction; the map
of a modality is d = 1 - cos(E, Z_rec). The paper reads surface normals as its second modality: features
"dinov2_vitb14+normals_dinov2_vitb14". On other features, both sides are mapped to one width (reduction.py).
Known: the abstract, and equations and numbers that third-party notes quote. Everything else, each open choice a setting, is
a reconstruction: label results "reconstruction of PIRN".
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn
from torch.nn.utils.rnn import pad_sequence

from mmadlib.checks import one_of, whole
from mmadlib.errors import SettingsError
from mmadlib.features.field import Features
from mmadlib.methods.assignment import RULES
from mmadlib.methods.base import Scores
from mmadlib.methods.cascade import Cascade, soft_mining
from mmadlib.methods.prototypes import INITS, first_prototypes
from mmadlib.methods.reduction import KINDS, Reduction, common_width
from mmadlib.methods.refinement import CONTEXTS
from mmadlib.methods.token_grid import grid_size, on_grid, on_raster, to_pixels
from mmadlib.methods.trained import Trained
from mmadlib.methods.training import ByShots, Terms
from mmadlib.scoring import SMOOTHINGS, smooth

SIDES = {"both": ("rgb", "xyz"), "rgb": ("rgb",), "xyz": ("xyz",)}
LEAKY = 0.8  # leak probe above which the reconstruction is close to a copy
CHOICES = {"modality": SIDES, "init": INITS, "assign": RULES, "plan": ("loop", "detached"), "apr": CONTEXTS,
           "mnc_residual": ("literal", "off"), "loss": ("flat", "weighted"), "project": KINDS, "smooth": SMOOTHINGS}


@dataclass(frozen=True)
class Settings(ByShots):
    """Reported: K, L, epochs, lr, the soft-mining loss. At the paper's size grid is 16 and masked False. A step takes whole
    images, so `pixels` stays 0."""

    epochs: int = 60
    epochs_full: int = 8
    batch: int = 8
    pixels: int = 0
    lr: float = 1e-4  # mnc_residual="off" needs 1e-3
    modality: str = "both"  # both | rgb | xyz (surface normals in the paper)
    grid: int = 28  # N = grid x grid tokens; the paper's encoder gives 16 x 16
    width: int = 0  # D; 0: the features' own if both sides agree, else min(256, the smaller) in whole heads
    project: str = "pca"  # pca | random: how a side of another width is mapped to D
    K: int = 10  # prototypes of a modality
    L: int = 2  # layers
    init: str = "kmeans"  # kmeans: cosine k-means of training tokens | random
    carry: bool = False  # a layer starts from the refined prototypes of the one before
    assign: str = "ot"  # ot: balanced | softmax | sigmoid | linear
    eps: float = 0.05  # of the transport, and temperature of softmax and sigmoid
    iterations: int = 50
    plan: str = "loop"  # gradient through the transport: loop | detached
    apr: str = "ot"  # context of the refinement: ot | same (as assign) | mean | topk | none (no refinement)
    gru: bool = True  # False: the context replaces the prototype
    apr_infer: bool = True  # refine while scoring, too
    mnc: bool = True  # False: Z_rec = Z_bpa
    mnc_stage1: bool = True  # graph attention over prototypes
    mnc_purify: bool = True  # Z' = Z sigmoid(Z_bpa); False: Z' = Z
    mnc_residual: str = "literal"  # literal: Z' is added, which lets anything through if trained long | off
    gamma_frozen: bool = False  # the gate of the cross-attention stays shut
    neighbours: int = 3  # cross-modal edges of a prototype
    heads: int = 8  # of the cross-attention
    graph_heads: int = 4
    loss: str = "flat"  # soft mining: flat (as INP-Former) | weighted
    exponent: float = 3.0  # of soft mining; 0: plain cosine
    smooth: str = "gauss4_reflect"  # of the sum of both maps; see mmadlib.scoring

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, options in CHOICES.items():
            one_of(name, getattr(self, name), options)
        for name, least in {"grid": 1, "width": 0, "K": 1, "L": 1, "iterations": 1, "neighbours": 0, "heads": 1,
                            "graph_heads": 1}.items():
            whole(f"setting {name}", getattr(self, name), least)
        if not 0 < self.eps < math.inf:
            raise SettingsError(f"setting eps={self.eps}: must be finite and above 0")
        if not 0 <= self.exponent < math.inf:
            raise SettingsError(f"setting exponent={self.exponent}: must be finite and not negative")
        if self.pixels:
            raise SettingsError(f"setting pixels={self.pixels}: a plan is balanced over whole images; leave it 0")


class PIRN(Trained):
    """Reconstruction by prototypes, a branch a modality, and the sum of the branches. parts: the maps "rgb", "xyz".

    After fit, `leak` holds the leak probe of every epoch; fit warns when it is above LEAKY: then the reconstruction passes
    tokens that it has never seen.
    """

    name = "pirn"
    Settings = Settings
    settings: Settings

    @property
    def needs(self) -> tuple[str, ...]:
        return SIDES[self.settings.modality]

    def start_fit(self, features: Sequence[Features]) -> None:
        super().start_fit(features)
        s, usable = self.settings, [f for f in features if len(self.pixels(f))]
        self.grid = grid_size(features[0].size, s.grid)
        width = common_width(*(getattr(features[0], side).channels for side in (*self.needs, self.needs[-1])[:2]),
                             math.lcm(s.heads, s.graph_heads), s.width)
        self.reduction = {
            side: Reduction.fit(torch.cat([self.standardise(f, side).at(self.pixels(f)) for f in usable]), width, s.project,
                                self.seed) for side in self.needs}
        self.epochs = s.passes(len(usable)) or -(-s.steps // -(-len(usable) // s.batch))
        tokens = torch.cat([self.tokens(f)[0] for f in usable], dim=1).cpu()
        self.start = torch.stack([first_prototypes(E, s.K, s.init, self.seed) for E in tokens])

    def build(self, c2: int, c3: int) -> dict[str, nn.Module]:
        return {"cascade": Cascade(self.start, self.epochs, self.settings)}

    def tokens(self, features: Features) -> tuple[torch.Tensor, torch.Tensor]:
        """E (M, N, D) at the N valid cells of a sample, and which of the grid's cells those are, bool (cells,).

        Raises SettingsError for a map of another size.
        """
        if grid_size(features.size, self.settings.grid) != self.grid:
            raise SettingsError(f"a map of {features.size} pixels does not fit the token grid {self.grid} of the training")
        maps = {side: self.reduction[side](self.standardise(features, side)) for side in self.needs}
        cells = on_grid(maps, self.seen(features), self.grid)
        E = [fmap.tokens if on_raster(fmap, self.grid) else cells.tokens(side) for side, fmap in maps.items()]
        return torch.stack(E)[:, cells.valid].to(self.device), cells.valid

    def image(self, features: Sequence[Features], i: int) -> torch.Tensor:
        if i not in self._maps:
            self._maps[i] = self.tokens(features[i])[0]
        return self._maps[i]

    def terms(self, features: Sequence[Features], step: int) -> Terms:
        """The soft-mining loss of each branch, over whole images; before each epoch the leak probe is taken."""
        s, cascade = self.settings, self.networks["cascade"]
        epoch, turn = divmod(step, self.n_steps(1, 1))
        if turn == 0:
            cascade.leak[epoch] = cascade.leak_probe(self.seed)
        images = [self.image(features, i).transpose(0, 1) for i in self.images_of(step)]
        E = pad_sequence(images, batch_first=True).permute(2, 0, 1, 3)  # (M, B, N, D) with zeros behind smaller images
        count = torch.tensor([len(image) for image in images], device=E.device)
        valid = torch.arange(E.shape[2], device=E.device) < count[:, None]
        Z = cascade(E, valid)[0]
        return {side: soft_mining(E[m], Z[m], valid, s.exponent, s.loss) for m, side in enumerate(self.needs)}

    def finish(self, features: Sequence[Features], progress: bool, checkpoint: Path | None) -> None:
        cascade = self.networks["cascade"]
        cascade.leak[-1] = cascade.leak_probe(self.seed)
        if cascade.leak.max() > LEAKY:
            warnings.warn(f"pirn: random tokens are rebuilt with cosine {cascade.leak.max():.2f} (leak probe above {LEAKY}): "
                          "the reconstruction is close to a copy; train less, or set mnc_residual='off' with lr 1e-3",
                          stacklevel=3)

    @property
    def leak(self) -> list[float]:
        """The leak probe before each epoch and after the last."""
        return self.networks["cascade"].leak.tolist()

    @torch.no_grad()
    def rebuilt(self, features: Features) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """E and Z_rec (M, N, D), the last layer's plan T (M, K, N), and the valid cells, of one sample; see `tokens`."""
        self.check_fitted()
        E, valid = self.tokens(features)
        Z, T = self.networks["cascade"](E[:, None], torch.ones(1, E.shape[1], dtype=torch.bool, device=E.device))
        return E, Z[:, 0], T[:, 0], valid

    def score(self, features: Features) -> Scores:
        """Sum of the branches' cosine errors, smoothed, its maximum, and the error maps. Raises MissingModality."""
        E, Z, _, valid = self.rebuilt(features)
        d, seen = 1 - torch.cosine_similarity(E, Z.float(), dim=-1).cpu(), self.seen(features)
        parts = {side: to_pixels(d[m], valid, self.grid, seen) for m, side in enumerate(self.needs)}
        smoothed = smooth(sum(parts.values()), self.settings.smooth)
        return Scores(smoothed, float(smoothed.max()), parts)

    def state(self) -> dict[str, torch.Tensor]:
        kept = {f"reduction.{side}.{part}": value for side, r in self.reduction.items() for part, value in vars(r).items()}
        return super().state() | kept | {"grid": torch.tensor(self.grid)}

    def restore(self, state: dict[str, torch.Tensor]) -> None:
        self.grid = tuple(state["grid"].tolist())
        self.reduction = {side: Reduction(*(state[f"reduction.{side}.{part}"] for part in ("offset", "matrix")))
                          for side in self.needs}
        self.start, self.epochs = state["cascade.prototypes"], len(state["cascade.leak"]) - 1
        super().restore(state)
