"""Nearest: distance to the nearest training feature, one bank per modality or a joint one. The plainest memory bank.

It answers one question: what does a single modality know, what do two know apart (max) and what together (joint)? Banks of
features go back to SPADE (Cohen & Hoshen, 2020) and PatchCore (Roth et al., CVPR 2022); neither re-weighting nor feature
selection is used here. Features are compared on a grid of CELLS x CELLS pixels, so that any two front ends fit together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from jaxtyping import Bool, Float32, Int64

from mmadlib.checks import check_fields
from mmadlib.features.field import Features
from mmadlib.methods.banks import Bank, greedy_coreset
from mmadlib.methods.base import Method, Scores
from mmadlib.methods.scoring import SMOOTHINGS, smooth
from mmadlib.methods.token_grid import to_pixels
from mmadlib.progress import bar

CELLS = 56  # compared pixels a side: the centres of 4 px cells in a 224 px picture
BANKS = {"rgb": ("rgb",), "xyz": ("xyz",), "joint": ("joint",), "max": ("rgb", "xyz")}
CHOICES = ("random", "coreset")


@dataclass(frozen=True)
class Settings:
    bank: str = "joint"  # rgb | xyz | joint: concatenated features | max: the larger of two calibrated distances
    size: int = 3000  # rows a bank holds at most
    choose: str = "random"  # random | coreset (greedy k-centre)
    k: int = 1  # neighbours whose distances are averaged
    smooth: str = "gauss4"  # see mmadlib.methods.scoring

    def __post_init__(self) -> None:
        check_fields(self, least={"size": 1, "k": 1}, choices={"bank": BANKS, "choose": CHOICES, "smooth": SMOOTHINGS})


VARIANTS = {bank: {"bank": bank} for bank in BANKS}


def cell_pixels(features: Features) -> tuple[Int64[np.ndarray, " n"], Bool[np.ndarray, "rows columns"]]:
    """Centre pixels of the cells on the foreground: flat pixel indices and the cell mask."""
    height, width = features.size
    row, column = (((np.arange(n) + 0.5) * side / n).astype(int)
                   for side, n in ((height, min(height, CELLS)), (width, min(width, CELLS))))
    on = features.foreground[np.ix_(row, column)]
    return (row[:, None] * width + column)[on], on


class Nearest(Method):
    """Distance to the nearest normal feature. parts: {"rgb", "xyz"}, one of them, or {"joint"}, by setting `bank`."""

    name = "nearest"
    SETTINGS = Settings
    VARIANTS = VARIANTS
    settings: Settings

    @property
    def needs(self) -> tuple[str, ...]:
        return (self.settings.bank,) if self.settings.bank in ("rgb", "xyz") else ("rgb", "xyz")

    def rows(self, features: Features, side: str, pixels: Int64[np.ndarray, " n"]) -> Float32[torch.Tensor, "n C"]:
        """Standardised features; joint ones are scaled by 1 / sqrt(C) each, so that widths do not weigh."""
        if side != "joint":
            return self.standardise(features, side).at(pixels)
        parts = [self.rows(features, one, pixels) for one in ("rgb", "xyz")]
        return torch.cat([part / part.shape[1] ** 0.5 for part in parts], dim=1)

    def fit(self, features: Sequence[Features], progress: bool = True) -> Self:
        """Fill the bank(s) with training-foreground features. Raises TrainingError without any."""
        s = self.settings
        self.start_fit(features)
        self.banks, self.typical = {}, {}
        pixels = self.draw([cell_pixels(f)[0] for f in features])
        image = np.repeat(np.arange(len(features)), [len(p) for p in pixels])
        for side in bar(BANKS[s.bank], f"{self.name}: fit", progress):
            rows = torch.cat([self.rows(f, side, p) for f, p in zip(features, pixels, strict=True)])
            if s.choose == "coreset":
                kept = greedy_coreset(rows, s.size, self.seed)
                rows, owner = rows[torch.from_numpy(kept)], image[kept]
            else:
                owner = image
            self.banks[side] = Bank(rows)
            self.typical[side] = self.calibrate(rows, owner) if s.bank == "max" else torch.tensor([0.0, 1.0])
        self.fitted = True
        return self

    def draw(self, pixels: list[Int64[np.ndarray, " _"]]) -> list[Int64[np.ndarray, " _"]]:
        """The pixels whose features are gathered: `size` of all images' at random, or all of them for a coreset."""
        total = sum(map(len, pixels))
        if self.settings.choose == "coreset" or total <= self.settings.size:
            return pixels
        take = np.zeros(total, bool)
        take[np.random.default_rng(self.seed).choice(total, self.settings.size, replace=False)] = True
        parts = np.split(take, np.cumsum([len(p) for p in pixels])[:-1])
        return [p[part] for p, part in zip(pixels, parts, strict=True)]

    def calibrate(self, rows: Float32[torch.Tensor, "n C"], image: Int64[np.ndarray, " n"]) -> Float32[torch.Tensor, " 2"]:
        """Mean and deviation of normal distances, each image's rows against the bank without that image.

        With one image only the row itself can be left out; its neighbours stay, so the distances are too small.
        """
        k = self.settings.k
        if len(np.unique(image)) == 1:
            distances = Bank(rows).distance(rows, k + 1)[0][:, 1:]
        else:
            out = [image == i for i in np.unique(image)]
            distances = torch.cat([Bank(rows[~o]).distance(rows[o], k)[0].mean(1) for o in out])
        if distances.numel() == 0:
            return torch.tensor([0.0, 1.0])
        return torch.stack([distances.mean(), distances.std(correction=0).clamp_min(1e-6)])

    def score(self, features: Features) -> Scores:
        """Distance map(s), their maximum smoothed, and its maximum as the image score."""
        self.check_fitted()
        pixels, on = cell_pixels(features)
        parts = {}
        for side, bank in self.banks.items():
            mean, std = self.typical[side]
            distance = bank.distance(self.rows(features, side, pixels), self.settings.k)[0].mean(1)
            parts[side] = to_pixels(((distance - mean) / std).clamp_min(0), torch.from_numpy(on.ravel()), on.shape,
                                    features.foreground)
        smoothed = smooth(np.maximum.reduce(list(parts.values())), self.settings.smooth)
        return Scores(smoothed, float(smoothed.max()), parts)

    def state(self) -> dict[str, torch.Tensor]:
        return {f"{kind}.{side}": value for side, bank in self.banks.items()
                for kind, value in (("bank", bank.rows), ("typical", self.typical[side]))}

    def restore(self, state: dict[str, torch.Tensor]) -> None:
        sides = BANKS[self.settings.bank]
        self.banks = {side: Bank(state[f"bank.{side}"]) for side in sides}
        self.typical = {side: state[f"typical.{side}"] for side in sides}
