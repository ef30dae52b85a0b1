"""CMSA: cross-modal semantic alignment with a memory bank per modality (Li, Zhang, Zuo, Wu, ECAI 2025, FAIA 413).

A reconstruction of the abstract: nothing beyond it was accessible, so no result here is a reproduction.
(paper) The latents of both modalities are consistent on normal samples; where they are not, a sample is anomalous. In
parallel, a lightweight memory bank per modality scores what is unusual inside that modality.
(reconstruction) Everything else: heads and objectives (alignment.py), their training (aligner.py), banks (light_bank.py),
calibration and fusion (calibration.py), rasters and image score (here).

Symbols: F2 (n, C2), F3 (n, C3) features of the valid cells of a raster, z2 = phi_2(F2), z3 = phi_3(F3) latents, A_x, A_2, A_3
distances: between the latents, to the RGB bank, to the 3D bank.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from mmadlib.checks import one_of, whole
from mmadlib.errors import SettingsError
from mmadlib.features.field import Features
from mmadlib.methods.aligner import PHI, Aligner, AlignSettings
from mmadlib.methods.base import Scores
from mmadlib.methods.calibration import FUSIONS, fuse, normal_range
from mmadlib.methods.light_bank import LightBank
from mmadlib.methods.token_grid import OnGrid, to_pixels
from mmadlib.progress import bar
from mmadlib.scoring import SMOOTHINGS, smooth

SIDES = {"inter": ("rgb", "xyz"), "bank2": ("rgb",), "bank3": ("xyz",)}  # map -> the modalities that it looks at
BRANCHES = {"inter": ("inter",), "bank2": ("bank2",), "bank3": ("bank3",), "banks": ("bank2", "bank3"), "all": tuple(SIDES)}
SPACES = ("pca", "raw", "latent")


@dataclass(frozen=True)
class Settings(AlignSettings):
    """All (reconstruction), in full but for what AlignSettings says. A bank holds bank_share of the normal cells, at least
    bank_floor and at most bank_size rows."""

    branches: str = "all"  # inter | bank2 | bank3 | banks: both | all
    rgb_grid: int = 28  # the raster of A_2; A_3 shares that of A_x
    bank_size: int = 2048
    bank_floor: int = 256
    bank_share: float = 0.1
    bank_space: str = "pca"  # pca: bank_dims axes of the normal features | raw | latent: z2, z3
    bank_dims: int = 256
    k: int = 1  # nearest rows whose distances are averaged
    calibrate: bool = True
    fusion: str = "add"  # add | product | max, see calibration.fuse
    weight_inter: float = 1.0
    weight_bank2: float = 0.5
    weight_bank3: float = 0.5
    smooth: str = "gauss4_reflect"  # see mmadlib.scoring
    remask: bool = False  # zeros off the object after the blur, too; as with the other methods, they are put there before it

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, least in {"rgb_grid": 0, "bank_size": 1, "bank_floor": 1, "bank_dims": 1, "k": 1}.items():
            whole(f"setting {name}", getattr(self, name), least)
        for name, options in {"branches": BRANCHES, "bank_space": SPACES, "fusion": FUSIONS, "smooth": SMOOTHINGS}.items():
            one_of(name, getattr(self, name), options)
        if not 0 < self.bank_share <= 1:
            raise SettingsError(f"setting bank_share={self.bank_share}: must be above 0 and at most 1")
        for part, weight in self.weights.items():
            if not 0 <= weight < math.inf:
                raise SettingsError(f"setting weight_{part}={weight}: must be finite and not negative")
        if len(self.parts) > 1 and not any(self.weights[part] for part in self.parts):
            raise SettingsError(f"branches={self.branches!r}: all of their weights are 0; raise one")

    @property
    def parts(self) -> tuple[str, ...]:
        """The maps in use."""
        return BRANCHES[self.branches]

    @property
    def weights(self) -> dict[str, float]:
        """The weight of each map."""
        return {part: getattr(self, f"weight_{part}") for part in SIDES}


class CMSA(Aligner):
    """Alignment and two banks in parallel. parts: "inter" (A_x), "bank2" (A_2), "bank3" (A_3), raw, those in use.

    The map is calibration.fuse of the parts on the pixels (their rasters differ), 0 off the object, blurred; its maximum is
    the image score. A test sample without one modality is judged by the bank of the other: compare it with samples that
    miss the same.
    """

    name = "cmsa"
    Settings = Settings
    settings: Settings

    @property
    def aligned(self) -> bool:
        """Whether any map needs latents."""
        return "inter" in self.settings.parts or self.settings.bank_space == "latent"

    @property
    def needs(self) -> tuple[str, ...]:
        return tuple(side for side in PHI if self.aligned or any(side in SIDES[part] for part in self.settings.parts))

    def grid_of(self, part: str) -> int:
        """Cells a side of a map's raster."""
        return self.settings.rgb_grid if part == "bank2" else self.settings.grid

    @torch.no_grad()
    def finish(self, features: Sequence[Features], progress: bool, checkpoint: Path | None) -> None:
        """Closed-form heads, banks, and the range of every map on normal cells.

        A bank is measured without the rows of a cell's own image, see LightBank.normal_distances; axes and coreset are those
        of all images. A_x is measured on the training cells themselves, as the heads are not trained again: on few shots of
        rendered data, new normal cells then lie at about .2 +- 1.1 in its units, and at -.5 +- .7 in those of the banks.
        """
        s, self.banks, self.ranges = self.settings, {}, {}
        self.solve(features)
        for part in bar(s.parts, f"{self.name}: banks", progress):
            x, image, total = self.gather(features, SIDES[part], self.grid_of(part))
            if part == "inter":
                distances = self.misalignment(x)
            else:
                rows = self.remembered(x)
                size = min(s.bank_size, max(s.bank_floor, math.ceil(s.bank_share * total)))
                self.banks[part], chosen = LightBank.of(rows, size, s.bank_dims if s.bank_space == "pca" else 0, self.seed)
                distances = self.banks[part].normal_distances(rows, image, chosen, s.k)
            self.ranges[part] = normal_range(distances) if s.calibrate else torch.tensor([0.0, 1.0])

    def remembered(self, x: dict[str, torch.Tensor]) -> torch.Tensor:
        """What a bank sees of the features {side: (n, C)} of its side: themselves, or their latents."""
        (side, found), = x.items()
        return self.networks[PHI[side]](found) if self.settings.bank_space == "latent" else found

    def distances(self, part: str, sample: OnGrid) -> torch.Tensor:
        """A_x, A_2 or A_3 (n,) at the valid cells."""
        cells = np.flatnonzero(sample.valid)
        x = {side: fmap.at(cells) for side, fmap in sample.maps.items()}
        return self.misalignment(x) if part == "inter" else self.banks[part].distance(self.remembered(x), self.settings.k)

    @property
    def bank_bytes(self) -> int:
        """Of both banks as saved, with their axes: what the paper calls lightweight."""
        return sum(bank.n_bytes for bank in self.banks.values())

    @torch.no_grad()
    def score(self, features: Features) -> Scores:
        """Anomaly map, image score and the distance maps. Raises MissingModality where no map can do without."""
        self.check_fitted()
        s, seen, parts = self.settings, self.seen(features), {}
        left = [part for part in s.parts if features.missing not in SIDES[part]]
        for part in left or s.parts:
            sample = self.raster(features, SIDES[part], self.grid_of(part))
            grid = sample.maps[SIDES[part][0]].size
            parts[part] = to_pixels(self.distances(part, sample).cpu(), sample.valid, grid, seen)
        fused = fuse(parts, self.ranges, s.weights, s.fusion)
        smoothed = smooth(np.where(seen, fused, 0), s.smooth)
        if s.remask:
            smoothed = np.where(seen, smoothed, 0)
        return Scores(smoothed, float(smoothed.max()), parts)

    def state(self) -> dict[str, torch.Tensor]:
        banks = {f"{part}.{k}": v for part, bank in self.banks.items() for k, v in bank.state().items()}
        return super().state() | banks | {f"range.{part}": normal for part, normal in self.ranges.items()}

    def restore(self, state: dict[str, torch.Tensor]) -> None:
        super().restore(state)
        parts = self.settings.parts
        self.ranges = {part: state[f"range.{part}"] for part in parts}
        self.banks = {part: LightBank.restored({k.removeprefix(f"{part}."): v for k, v in state.items()
                                                if k.startswith(f"{part}.")}) for part in parts if part != "inter"}
