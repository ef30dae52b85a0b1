"""AST: asymmetric student and teacher (Rudolph, Wehrbein, Rosenhahn, Wandt, WACV 2023, arXiv 2210.07829).

The teacher is a normalising flow, fitted to normal images by likelihood; the student, an ordinary convolutional network,
learns to give the teacher's output on normal images. A flow is injective, so on anything new its output is new; the student
extrapolates otherwise, and the more so because it is built otherwise. The distance of the two outputs is the score.

Symbols: x (C, h, w) RGB features and packed depth on a raster; m (h, w) soft weight of the foreground; z_t, z_s the outputs.
The paper's RGB features are of EfficientNet-B5, 304 x 24 x 24. Source: marco-rudolph/AST train_teacher.py, train_student.py,
eval.py; what is ours is said in settings.py.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Float32
from torch import nn

from mmadlib.errors import SettingsError
from mmadlib.features.field import Features
from mmadlib.methods.ast.depth import centimetres, fill_holes, levelled, packed, soft_weight, standing_out
from mmadlib.methods.ast.flow import Flow, likelihood_loss, position_code
from mmadlib.methods.ast.settings import MODES, VARIANTS, WEIGHTS, Settings
from mmadlib.methods.ast.student import Student, imitation_error
from mmadlib.methods.base import Scores
from mmadlib.methods.scoring import smooth
from mmadlib.methods.token_grid import grid_size, on_grid
from mmadlib.methods.trained import Trained
from mmadlib.methods.training import Terms


class AST(Trained):
    """networks "teacher", "student". parts: "error", the weighted distance of their outputs, on the pixels, not smoothed."""

    name = "ast"
    SETTINGS = Settings
    VARIANTS = VARIANTS
    settings: Settings

    @property
    def needs(self) -> tuple[str, ...]:
        return MODES[self.settings.mode]

    def start_fit(self, features: Sequence[Features]) -> None:
        super().start_fit(features)
        self.grid = grid_size(features[0].size, self.settings.grid)

    def build(self, c2: int, c3: int) -> dict[str, nn.Module]:
        s = self.settings
        channels = c2 * ("rgb" in self.needs) + s.packing**2 * ("xyz" in self.needs)
        return {"teacher": Flow(channels, s.flow_hidden, s.position, s.flow_blocks),
                "student": Student(channels, s.student_width, s.position, s.student_blocks)}

    def optimisers(self) -> dict[str, torch.optim.Optimizer]:
        """One per network: they are trained one after the other."""
        s = self.settings
        return {name: torch.optim.Adam(net.parameters(), s.lr, weight_decay=s.weight_decay)
                for name, net in self.networks.items()}

    def whole_batches(self) -> bool:
        """Whether the last incomplete batch of a pass is left out; one that is the only one is not."""
        return self.settings.drop_last and len(self.usable) > self.settings.batch

    def n_steps(self, epochs: int, steps: int) -> int:
        n, batch = len(self.usable), self.settings.batch
        return epochs * (n // batch) if epochs and self.whole_batches() else super().n_steps(epochs, steps)

    def images_of(self, step: int) -> list[int]:
        if self.whole_batches():  # the batches of a pass are counted without the one that is left out
            n, batch = len(self.usable), self.settings.batch
            epoch, turn = divmod(step, n // batch)
            step = epoch * -(-n // batch) + turn
        return super().images_of(step)

    def identity(self, features: Sequence[Features], label: str) -> str:
        """The base's, and the depth: it is taken from the cloud, which tokens need not tell."""
        depth = hashlib.sha256()
        for f in features:
            depth.update(f.cloud[..., 2].tobytes())
        return f"{super().identity(features, label)} {depth.hexdigest()}"

    def seen_depth(self, features: Features) -> tuple[Float[np.ndarray, "H W"], Bool[np.ndarray, "H W"]]:
        """Filled depth z (metres), and the foreground."""
        s = self.settings
        z = fill_holes(features.cloud[..., 2], s.fills, s.fill_border)
        if s.masked and s.foreground == "corners":
            return z, standing_out(z)
        return z, self.seen(features)

    def inputs(self, features: Features) -> tuple[Float32[torch.Tensor, "C h w"], Float32[torch.Tensor, "h w"],
                                                  Bool[np.ndarray, "H W"]]:
        """x, m and the foreground of a sample. Raises SettingsError for a map of another size, MissingModality."""
        s = self.settings
        if grid_size(features.size, s.grid) != self.grid:
            raise SettingsError(f"a map of {features.size} pixels does not fit the raster {self.grid} of the training; "
                                "extract with the size option of the training")
        maps = {side: self.standardise(features, side) for side in self.needs}  # refuses what is missing or made otherwise
        z, on = self.seen_depth(features)
        z = levelled(z, on) if s.depth == "level" else z
        x = []
        if "rgb" in maps:
            cells = on_grid({"rgb": maps["rgb"]}, on, self.grid, s.background == "keep").tokens("rgb")
            x.append(cells.T.reshape(-1, *self.grid))
        if "xyz" in maps:
            x.append(packed(torch.from_numpy(centimetres(z, on)), self.grid, s.packing))
        m = soft_weight(torch.from_numpy(on), self.grid, s.packing, s.dilation)
        return torch.cat(x).to(self.device), m.to(self.device), on

    def image(self, features: Sequence[Features], i: int) -> tuple[torch.Tensor, torch.Tensor]:
        if i not in self._maps:
            self._maps[i] = self.inputs(features[i])[:2]
        return self._maps[i]

    def run(self, name: str, x: Float[torch.Tensor, "B C h w"]) -> tuple[Float32[torch.Tensor, "B C h w"], torch.Tensor]:
        """z of a network at the cells, and the teacher's log |det J| (B, h, w)."""
        condition = position_code(self.settings.position, self.grid).to(x.device).expand(len(x), -1, -1, -1)
        found = self.networks[name](x, condition)
        z, volume = found if name == "teacher" else (found, x.new_zeros(0))
        return z.float(), volume.float()

    def batch(self, features: Sequence[Features], step: int) -> tuple[torch.Tensor, torch.Tensor]:
        """x (B, C, h, w) and m (B, h, w) of a step."""
        x, m = zip(*(self.image(features, i) for i in self.images_of(step)), strict=True)
        return torch.stack(x), torch.stack(m)

    def terms(self, features: Sequence[Features], step: int) -> Terms:
        """Stage 1: the teacher's loss, mean over positions and images."""
        x, m = self.batch(features, step)
        return {"likelihood": likelihood_loss(*self.run("teacher", x), m).mean()}

    def imitation(self, features: Sequence[Features], step: int) -> Terms:
        """Stage 2: the student's; the teacher is frozen."""
        x, m = self.batch(features, step)
        return {"imitation": imitation_error(torch.stack([self.targets[i] for i in self.images_of(step)]),
                                             self.run("student", x)[0], m).mean()}

    def finish(self, features: Sequence[Features], progress: bool, checkpoint: Path | None) -> None:
        """Train the student. imitation_losses holds its losses, as `losses` those of the teacher."""
        with torch.no_grad():
            self.targets = {i: self.run("teacher", self.image(features, i)[0][None])[0][0] for i in self.usable}
        steps, student = self.n_steps(self.settings.passes(len(self.usable)), self.settings.steps), "student"
        self.imitation_losses = self.train(steps, self.imitation, {student: self.networks[student]},
                                           {student: self.optimisers()[student]}, features,
                                           checkpoint and checkpoint / student, progress, student)
        self.targets = {}

    @torch.no_grad()
    def error(self, features: Features) -> tuple[Float32[torch.Tensor, "h w"], Bool[np.ndarray, "H W"]]:
        """The score of each cell, mean over channels of m (z_t - z_s)^2, or m^2, and the foreground."""
        x, m, on = self.inputs(features)
        z_t, z_s = (self.run(name, x[None])[0] for name in ("teacher", "student"))
        return imitation_error(z_t, z_s, m[None] ** WEIGHTS[self.settings.weight])[0].cpu(), on

    def score(self, features: Features) -> Scores:
        """Anomaly map, image score and the error. Raises MissingModality or SettingsError where the sample does not fit."""
        self.check_fitted()
        s, (error, on) = self.settings, self.error(features)
        raw = np.where(on, upsampled(error, s.upsample, s.packing, features.size).numpy(), 0).astype(np.float32)
        smoothed = smooth(raw, s.smooth)
        image = {"max_map": smoothed.max(), "max_cells": error.max(), "mean": smoothed.mean()}[s.image_score]
        return Scores(smoothed, float(image), {"error": raw})

    def state(self) -> dict[str, torch.Tensor]:
        return super().state() | {"grid": torch.tensor(self.grid)}

    def restore(self, state: dict[str, torch.Tensor]) -> None:
        self.grid = tuple(state["grid"].tolist())
        super().restore(state)


def upsampled(error: Float[torch.Tensor, "h w"], rule: str, packing: int, size: tuple[int, int]) -> Float[torch.Tensor, "H W"]:
    """Scores of cells on the pixels: bilinear, or bicubic to packing x packing pixels a cell and from there bilinear.

    Bicubic as published (192 x 192 there): it overshoots, and some scores are below 0.
    """
    values = error[None, None]
    if rule == "bicubic":
        values = F.interpolate(values, [packing * n for n in error.shape], mode="bicubic", align_corners=False)
    return F.interpolate(values, size, mode="bilinear", align_corners=False)[0, 0]
