"""Aligner: base of a method that maps both modalities into one latent in which the cells of normal samples agree.

The idea is CMSA's (paper); raster, sampling of cells and schedule are (reconstruction), as are the objectives in alignment.py.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float32, Int
from torch import nn

from mmadlib.checks import check_fields
from mmadlib.errors import SettingsError
from mmadlib.features.field import Features
from mmadlib.methods.cmsa.alignment import Canonical, Head, alike, canonical, close, infonce, misalignment, vicreg
from mmadlib.methods.distances import cosine_loss
from mmadlib.methods.token_grid import OnGrid, grid_size, on_grid
from mmadlib.methods.trained import PICK, Trained
from mmadlib.methods.training import ByShots, Terms

ALIGN = {"infonce": 256, "cos_vicreg": 256, "cca": 64}  # objective -> width of the latent
PHI = {"rgb": "phi_2", "xyz": "phi_3"}
CANDIDATES = 6  # a stream of random numbers below one seed
FOLDS, STRIPS = 10, 4  # of images, and of the cells of a single one: left out of a closed form in turn


@dataclass(frozen=True)
class AlignSettings(ByShots):
    """All (reconstruction). A step takes cells, so `pixels` stays 0.

    In full, cells is 1024 and candidates 0: the defaults are reduced for one CPU core. 256, 512 and 1024 cells score alike on
    rendered data. 32768 candidates are all cells of 10 images at paper size (56 x 56 cells, all object); at 50 shots they are
    655 cells of each image, with all of MVTec 3D-AD about 123. Banks are drawn from what is left, their size is not.

    alike: InfoNCE has to tell a cell from its negatives; where these are the same material it can do so by noise alone, and
    good cells then disagree by as much. Means of five rendered categories (data seed 0, learned features, 4 shots), image
    AUROC of all maps: .90 with every other cell a negative, .92 .98 .98 .98 with a share of .2 .5 .7 .85 left out; of A_x
    alone .85, and .96 with .7 (notebook 25 has the whole table).
    """

    pixels: int = 0
    anchor: float = 1.0
    align: str = "infonce"  # infonce | cos_vicreg | cca: closed form, no training
    hidden: int = 512
    d: int = 0  # width of the latent; 0: as ALIGN says. CCA has at most min(C2, C3) pairs
    tau: float = 0.1
    lam: float = 1.0  # weight of the direct term
    cells: int = 256  # of each image of a step
    radius: int = 2  # cells so near (Chebyshev) see the same pixels: no negatives; 0: all are
    alike: float = 0.7  # nor are this share of the pairs of cells of an image, the most alike in either modality; 0: all are
    ridge: float = 1e-3  # of CCA, in units of the mean variance
    weight_decay: float = 1e-4
    grid: int = 56  # the latents live on a grid x grid raster of cells; 0: on every pixel
    candidates: int = 32768  # cells of all images that CCA, banks and calibration are taken from; 0: all

    def __post_init__(self) -> None:
        super().__post_init__()
        check_fields(self, least={"hidden": 1, "d": 0, "cells": 1, "radius": 0, "grid": 0, "candidates": 0},
                     choices={"align": ALIGN}, positive=["tau", "ridge"], not_negative=["lam", "weight_decay", "alike"])
        if self.alike >= 1:
            raise SettingsError(f"setting alike={self.alike!r}: must be below 1, or no negatives are left")
        if self.pixels:
            raise SettingsError(f"setting pixels={self.pixels}: cells are drawn in place of pixels; leave it 0 and set cells")


class Aligner(Trained):
    """networks "phi_2", "phi_3": heads of RGB and 3D features, none where `aligned` is False."""

    settings: AlignSettings

    @property
    def aligned(self) -> bool:
        """Whether there are heads at all."""
        return True

    def build(self, c2: int, c3: int) -> dict[str, nn.Module]:
        s, widths = self.settings, {"phi_2": c2, "phi_3": c3} if self.aligned else {}
        d = s.d or ALIGN[s.align]
        if s.align == "cca":
            return {name: Canonical(width, min(d, c2, c3)) for name, width in widths.items()}
        return {name: Head(width, s.hidden, d) for name, width in widths.items()}

    def optimisers(self) -> dict[str, torch.optim.Optimizer]:
        """One AdamW, none without anything to train."""
        parameters = [p for net in self.networks.values() for p in net.parameters()]
        if not parameters:
            return {}
        self._adamw = torch.optim.AdamW(parameters, self.settings.lr, weight_decay=self.settings.weight_decay)
        return {"adamw": self._adamw}

    def n_steps(self, epochs: int, steps: int) -> int:
        """As for every method, but 0 without anything to train."""
        return super().n_steps(epochs, steps) if any(list(net.parameters()) for net in self.networks.values()) else 0

    def rate(self, step: int) -> float:
        """Cosine from lr to 0, of the step alone: so a resumed training goes on with the same bits."""
        s = self.settings
        return s.lr * (1 + math.cos(math.pi * step / self.n_steps(s.passes(len(self.usable)), s.steps))) / 2

    def raster(self, features: Features, sides: Sequence[str], grid: int) -> OnGrid:
        """Sides of a sample on at most grid x grid cells; a cell is valid where the object is."""
        maps = {side: self.standardise(features, side, self.device) for side in sides}
        return on_grid(maps, self.seen(features), grid_size(features.size, grid))

    def at_cells(self, sample: OnGrid) -> dict[str, Float[torch.Tensor, "n _C"]]:
        """Features by side of the valid cells of a raster, in reading order."""
        cells = np.flatnonzero(sample.valid)
        return {side: fmap.at(cells) for side, fmap in sample.maps.items()}

    def image(self, features: Sequence[Features], i: int) -> OnGrid:
        if i not in self._maps:
            self._maps[i] = self.raster(features[i], tuple(PHI), self.settings.grid)
        return self._maps[i]

    def terms(self, features: Sequence[Features], step: int) -> Terms:
        """The objective over some valid cells of each image of a step; negatives are those of the same image."""
        s = self.settings
        for group in self._adamw.param_groups:
            group["lr"] = self.rate(step)
        samples = [self.image(features, i) for i in self.images_of(step)]
        rng = np.random.default_rng([self.seed, PICK, step])
        cells = [rng.permutation(np.flatnonzero(sample.valid))[:s.cells] for sample in samples]
        pairs = list(zip(samples, cells, strict=True))
        x = {side: [sample.maps[side].at(some) for sample, some in pairs] for side in PHI}
        z2, z3 = (self.networks[phi](torch.cat(x[side])) for side, phi in PHI.items())
        if s.align == "cos_vicreg":
            return vicreg(z2, z3)
        sizes, width = [len(some) for some in cells], samples[0].maps["rgb"].size[1]
        left_out = [close(torch.from_numpy(some).to(one.device), width, s.radius) | alike(one, s.alike) | alike(other, s.alike)
                    for some, one, other in zip(cells, x["rgb"], x["xyz"], strict=True)]
        contrast = [infonce(one, other, s.tau, out)
                    for one, other, out in zip(z2.split(sizes), z3.split(sizes), left_out, strict=True)]
        return {"contrast": torch.stack(contrast).mean(), "direct": s.lam * cosine_loss(z2, z3)}

    def gather(self, features: Sequence[Features], sides: Sequence[str],
               grid: int) -> tuple[dict[str, Float[torch.Tensor, "n _C"]], Int[np.ndarray, " n"], int]:
        """Normal cells: features by side, the image of each cell, and the number of cells that they are drawn from.

        About `candidates` of them, as many of each image.
        """
        share, image, total = -(-self.settings.candidates // len(self.usable)), [], 0
        x: dict[str, list[torch.Tensor]] = {side: [] for side in sides}
        for i in self.usable:
            sample = self.raster(features[i], sides, grid)
            cells = np.flatnonzero(sample.valid)
            total += len(cells)
            if 0 < share < len(cells):
                cells = np.sort(np.random.default_rng([self.seed, CANDIDATES, i]).choice(cells, share, replace=False))
            image.append(np.full(len(cells), i))
            for side, fmap in sample.maps.items():
                x[side].append(fmap.at(cells))
        return {side: torch.cat(found) for side, found in x.items()}, np.concatenate(image), total

    @property
    def closed_form(self) -> bool:
        """Whether the heads are solved for, not trained."""
        return self.aligned and self.settings.align == "cca"

    def solved(self, x: dict[str, Float[torch.Tensor, "n _C"]]) -> dict[str, nn.Module]:
        """Heads in closed form from the features of normal cells by side."""
        heads = canonical(x["rgb"], x["xyz"], self.settings.d or ALIGN[self.settings.align], self.settings.ridge)
        return {name: head.to(self.device).eval() for name, head in zip(PHI.values(), heads, strict=True)}

    def misalignment(self, x: dict[str, Float[torch.Tensor, "n _C"]],
                     networks: Mapping[str, nn.Module] | None = None) -> Float32[torch.Tensor, " n"]:
        """A_x of features by side, by the heads of the method or by others."""
        networks = networks or self.networks
        return misalignment(*(networks[phi](x[side]) for side, phi in PHI.items()))

    def held_out(self, x: dict[str, Float[torch.Tensor, "n _C"]],
                 image: Int[np.ndarray, " n"]) -> Float32[torch.Tensor, " _n"]:
        """A_x of normal cells by heads solved for without their fold; empty for a single cell.

        image  which image a cell is of, image by image
        """
        fold, found = torch.from_numpy(folds(image)), torch.zeros(len(image))
        for own in (fold == i for i in fold.unique()):
            if own.all():
                return found[:0]
            heads = self.solved({side: rows[~own] for side, rows in x.items()})
            found[own] = self.misalignment({side: rows[own] for side, rows in x.items()}, heads).cpu()
        return found


def folds(image: Int[np.ndarray, " n"]) -> Int[np.ndarray, " n"]:
    """The fold of each cell, given the image that it is of: its image, or one of FOLDS groups of more images.

    The cells of a single image, in reading order, are cut into strips: neighbours see the same pixels, so that cells drawn at
    random would be interpolations of those that a closed form is solved on.
    """
    images, own = np.unique(image, return_inverse=True)
    return own % FOLDS if len(images) > 1 else np.arange(len(image)) * STRIPS // len(image)
