"""Banked: base of the methods that keep patches of normal samples and score by the distance to the nearest one.

They compare Euclidean distances, so none of them has an anchor (Standardiser says what for).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Self

import numpy as np
import torch
from jaxtyping import Bool, Float32

from mmadlib.checks import check_fields
from mmadlib.features.field import FeatureMap, Features
from mmadlib.methods.base import Method, Scores
from mmadlib.methods.memory import PROJECTIONS, SAMPLINGS, Memory, build
from mmadlib.methods.patch_rows import Cells
from mmadlib.methods.reweighting import REWEIGHTINGS, reweighted
from mmadlib.methods.scoring import SMOOTHINGS, smooth
from mmadlib.methods.token_grid import cells, grid_size, to_pixels
from mmadlib.progress import bar

IMAGES = ("map", "patch")


@dataclass(frozen=True)
class BankSettings:
    """What every method of memory banks can be told; a method's own Settings extend it."""

    coreset: float = 0.1  # share of the patches that a bank keeps
    sampling: str = "greedy"  # where the search starts: greedy: row 0 | approximate, exact: as PatchCore's code
    projection: str = "sparse"  # of the search: sparse: scikit-learn, eps .9 | linear: PatchCore's, to 128 | none
    reweight: str = "btf"  # of the image score, see mmadlib.methods.reweighting
    image: str = "map"  # map: the largest value of the smoothed map | patch: of the patches, re-weighted, as published
    smooth: str = "gauss4"  # see mmadlib.methods.scoring; published: pil4
    masked: bool = True  # patches of the foreground alone; False: of the whole picture, as published
    standardised: bool = True  # features whose channels differ in scale; False: as the backbone gives them, as published

    def __post_init__(self) -> None:
        check_fields(self, shares=["coreset"], choices={"sampling": SAMPLINGS, "projection": PROJECTIONS,
                                                        "reweight": REWEIGHTINGS, "image": IMAGES,
                                                        "smooth": SMOOTHINGS})


class Banked(Method):
    """A subclass gives `sides`, the names of its banks, `width` and `cells`, a sample's patches for one of them.

    After fit, `banks` holds a Memory a side.
    """

    settings: BankSettings
    banks: dict[str, Memory]
    power = 1  # of distances in maps and scores: 2 where a paper's code takes squares

    @property
    def sides(self) -> tuple[str, ...]:
        """The names of the banks."""
        raise NotImplementedError

    def width(self, side: str) -> int:
        """Numbers in a patch."""
        raise NotImplementedError

    def grid_of(self, side: str) -> int:
        """Cells a side of the raster, at most."""
        raise NotImplementedError

    def cells(self, features: Features, side: str) -> Cells:
        """The patches of a sample, a row a cell, those that count marked. Raises MissingModality."""
        raise NotImplementedError

    def rows(self, features: Features, side: str) -> Float32[torch.Tensor, "n C"]:
        """What a training sample gives to a bank."""
        return self.cells(features, side).rows

    def learn(self, features: Sequence[Features], progress: bool) -> None:
        """What comes before the banks: statistics, networks."""

    def finish(self, features: Sequence[Features], progress: bool) -> None:
        """What comes after them: a decision layer."""

    def fit(self, features: Sequence[Features], progress: bool = True) -> Self:
        """Fill the banks. Raises TrainingError without any patches, or when a bank needs more memory than is free."""
        self.start_fit(features)
        self.learn(features, progress)
        self.banks = {}
        for side in bar(self.sides, f"{self.name}: fit", progress):
            self.banks[side] = self.fill(features, side)
        self.finish(features, progress)
        self.fitted = True
        return self

    def fill(self, features: Sequence[Features], side: str, limit: int = 0) -> Memory:
        """The bank of one side; limit: its rows, where the setting `coreset` does not decide."""
        s = self.settings

        def rows(i: int) -> Float32[torch.Tensor, "n C"]:
            return self.rows(features[i], side)

        images = [partial(rows, i) for i in range(len(features))]
        return build(self.name, images, self.about(features, side), self.width(side), share=s.coreset, limit=limit,
                     sampling=s.sampling, projection=s.projection, seed=self.seed, device=self.device)

    def about(self, features: Sequence[Features], side: str) -> int:
        """How many patches there are at most, without making any."""
        inside = (cells(self.seen(f), grid_size(f.size, self.grid_of(side))) for f in features)
        return sum(int(np.count_nonzero(np.diff(found.indptr))) for found in inside)

    def seen(self, features: Features) -> Bool[np.ndarray, "H W"]:
        """The pixels that count."""
        return features.foreground if self.settings.masked else np.ones_like(features.foreground)

    def map_of(self, features: Features, side: str) -> FeatureMap:
        """The features of one side, standardised unless the settings say otherwise. Raises MissingModality."""
        fmap = self.standardise(features, side)
        return fmap if self.settings.standardised else getattr(features, side)

    def judge(self, features: Features, side: str,
              memory: Memory | None = None) -> tuple[Float32[np.ndarray, "H W"], float]:
        """The distance map of one side before smoothing, and its image score; memory: another than the side's bank."""
        memory, found = memory or self.banks[side], self.cells(features, side)
        rows = found.rows
        distance, index = (x[:, 0] for x in memory.nearest(rows))
        image = reweighted(rows, distance, index, memory, self.settings.reweight)
        values = distance.cpu() ** self.power
        return to_pixels(values, found.valid, found.grid, self.seen(features)), image**self.power

    def score(self, features: Features) -> Scores:
        """Distance map, smoothed, and the image score of the only bank."""
        self.check_fitted()
        side, = self.sides
        amap, image = self.judge(features, side)
        smoothed = smooth(amap, self.settings.smooth)
        return Scores(smoothed, self.image(smoothed, image), {side: amap})

    def image(self, smoothed: Float32[np.ndarray, "H W"], of_patches: float) -> float:
        """The image score by the rule of the settings."""
        return float(smoothed.max()) if self.settings.image == "map" else of_patches

    def state(self) -> dict[str, torch.Tensor]:
        return {f"bank.{side}.{kind}": getattr(bank, kind) for side, bank in self.banks.items() for kind in ("rows", "owner")}

    def restore(self, state: Mapping[str, torch.Tensor]) -> None:
        self.banks = {}
        for side in self.sides:
            rows, owner = (state[f"bank.{side}.{kind}"] for kind in ("rows", "owner"))
            if rows.shape[1] != self.width(side):
                raise ValueError(f"tensor bank.{side}.rows is not as the settings have it")
            self.banks[side] = Memory(rows, owner, self.device)

