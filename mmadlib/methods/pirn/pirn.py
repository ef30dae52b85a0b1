"""PIRN: prototype-based intra-modal reconstruction with normality communication (ICLR 2026), a reconstruction.

A few learnable prototypes rebuild the tokens of each modality; what they cannot rebuild is anomalous. Balanced assignment
keeps all of them in use (BPA, assignment.py), the modalities tell each other what is normal (MNC, communication.py), and each
image may adapt them through a gate (APR, refinement.py); two such layers make the cascade (cascade.py).

Symbols: E (M, B, N, D) tokens of M modalities, B images, N cells; P (M, K, D) prototypes; Z_rec the reconstruction; the map
of a modality is d = 1 - cos(E, Z_rec). The paper reads surface normals as its second modality: features
"dinov2_vitb14+normals_dinov2_vitb14" with option rgb_layers="2-9". On other features, both sides are mapped to one width
(reduction.py).
Known: the abstract, and equations and numbers that third-party notes quote. Everything else, each open choice a setting, is
a reconstruction: label results "reconstruction of PIRN". Learning rate, passes and refinement of the default differ from what
is reported, because the version with the reported ones, variant as_noted, stands at chance here (settings.py).
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32
from torch.nn.utils.rnn import pad_sequence

from mmadlib.errors import SettingsError
from mmadlib.features.field import Features
from mmadlib.methods.base import Scores
from mmadlib.methods.pirn.cascade import Cascade
from mmadlib.methods.pirn.prototypes import first_prototypes
from mmadlib.methods.pirn.reduction import Reduction, common_width
from mmadlib.methods.pirn.settings import MODALITIES, VARIANTS, Settings
from mmadlib.methods.pirn.soft_mining import soft_mining
from mmadlib.methods.scoring import smooth
from mmadlib.methods.token_grid import grid_size, on_grid, on_raster, to_pixels
from mmadlib.methods.trained import Trained
from mmadlib.methods.training import Terms

ROWS, CELLS = 20_000, 7  # training cells that the reduction is fitted on, and their stream of random numbers
LEAKY = 0.8  # leak probe above which the reconstruction is close to a copy


class PIRN(Trained):
    """Reconstruction by prototypes, a branch a modality, and the sum of the branches. parts: the maps "rgb", "xyz".

    After fit, `leak` holds the leak probe of every epoch; fit warns when it is above LEAKY: then the reconstruction passes
    tokens that it has never seen.
    """

    name = "pirn"
    SETTINGS = Settings
    VARIANTS = VARIANTS
    settings: Settings
    networks: Mapping[str, Cascade]

    @property
    def needs(self) -> tuple[str, ...]:
        return MODALITIES[self.settings.modality]

    def start_fit(self, features: Sequence[Features]) -> None:
        super().start_fit(features)
        s, first = self.settings, features[0]
        self.grid = grid_size(first.size, s.grid)
        # of both sides and with heads even where one is unused or no attention is built: so a switch changes nothing else
        widths = [self.standardise.width(side) for side in ("rgb", "xyz") if side != first.missing]
        width, found = common_width(widths, math.lcm(s.heads, s.graph_heads), s.width), []
        for i in self.usable:
            rows, share = self.cells(features[i])[0], -(-ROWS // len(self.usable))
            n = len(rows[self.needs[0]])
            some = torch.from_numpy(np.sort(np.random.default_rng([self.seed, CELLS, i]).permutation(n)[:share]))
            found.append({side: x[some] for side, x in rows.items()})
        self.reduction = {side: Reduction.fit(torch.cat([rows[side] for rows in found]), width, s.project, self.seed)
                          for side in self.needs}
        self.epochs = -(-self.n_steps(s.passes(len(self.usable)), s.steps) // self.n_steps(1, 1))
        tokens = torch.cat([self.image(features, i) for i in self.usable], dim=1).cpu()
        self.start = torch.stack([first_prototypes(E, s.K, s.init, self.seed) for E in tokens])

    def build(self, c2: int, c3: int) -> Mapping[str, Cascade]:
        return {"cascade": Cascade(self.start, self.epochs, self.settings)}

    def cells(self, features: Features) -> tuple[dict[str, Float[torch.Tensor, "N _C"]], Bool[torch.Tensor, " cells"]]:
        """Features by side at the N valid cells of a sample, and which of the grid's cells those are.

        A cell is the mean of its pixels that count, or the patch of an encoder whose raster is the grid, as it is. Raises
        SettingsError for a map of another size.
        """
        if grid_size(features.size, self.settings.grid) != self.grid:
            raise SettingsError(f"a map of {features.size} pixels does not fit the token grid {self.grid} of the training; "
                                "extract with the size option of the training")
        maps = {side: self.standardise(features, side) for side in self.needs}
        coarse = on_grid({side: m for side, m in maps.items() if not on_raster(m, self.grid)}, self.seen(features), self.grid)
        return {side: (coarse.tokens(side) if side in coarse.maps else m.tokens)[coarse.valid]
                for side, m in maps.items()}, coarse.valid

    def tokens(self, features: Features) -> tuple[Float[torch.Tensor, "M N D"], Bool[torch.Tensor, " cells"]]:
        """E at the valid cells of a sample, reduced to one width, and the cells; see `cells`."""
        rows, valid = self.cells(features)
        return torch.stack([self.reduction[side](x) for side, x in rows.items()]).to(self.device), valid

    def image(self, features: Sequence[Features], i: int) -> Float[torch.Tensor, "M N D"]:
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
    def rebuilt(self, features: Features) -> tuple[Float[torch.Tensor, "M N D"], Float[torch.Tensor, "M N D"],
                                                   Float32[torch.Tensor, "M K N"], Bool[torch.Tensor, " cells"]]:
        """E and Z_rec, the last layer's plan T, and the valid cells, of one sample; see `tokens`."""
        self.check_fitted()
        E, valid = self.tokens(features)
        Z, T = self.networks["cascade"](E[:, None], torch.ones(1, E.shape[1], dtype=torch.bool, device=E.device))
        return E, Z[:, 0], T[:, 0], valid

    def score(self, features: Features) -> Scores:
        """Sum of the branches' cosine errors, smoothed, its maximum, and the error maps. Raises MissingModality."""
        seen = self.seen(features)
        self.check_fitted()
        if not seen.any():
            self.standardise.check(features)
            nothing = np.zeros(features.size, np.float32)
            return Scores(nothing, 0.0, dict.fromkeys(self.needs, nothing))
        E, Z, _, valid = self.rebuilt(features)
        d = (1 - torch.cosine_similarity(E, Z.float(), dim=-1)).clamp_min(0).cpu()
        parts = {side: to_pixels(d[m], valid, self.grid, seen) for m, side in enumerate(self.needs)}
        smoothed = smooth(np.sum(list(parts.values()), axis=0), self.settings.smooth)
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
