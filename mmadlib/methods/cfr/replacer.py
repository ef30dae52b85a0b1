"""Replacer: base of a method that replaces unreliable reconstructions by what it remembers of normal samples.

Stage 2 fills banks and sets the threshold, stage 3 trains the attention retriever, `replace` uses both.
Facts: CFR, Yuan-Honoka-Guo/CFR construct_memory_bank.py, attention_training.py, cfr_inference.py.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import torch
from jaxtyping import Bool, Float32, Int, Int64
from torch import nn

from mmadlib.checks import check_fields
from mmadlib.errors import SettingsError, TrainingError
from mmadlib.features.field import FeatureMap, Features
from mmadlib.methods.cfr.memory import Memory, draw, gather, remember
from mmadlib.methods.cfr.retriever import Retriever
from mmadlib.methods.distances import cosine_loss
from mmadlib.methods.trained import CHUNK, Trained
from mmadlib.methods.training import Terms, TrainSettings
from mmadlib.progress import bar

REPLACEMENTS = ("off", "nn_observed", "topk_mean", "attention")
DIRECTIONS = {"rgb": ("rgb",), "xyz": ("xyz",), "both": ("rgb", "xyz")}
OTHER = {"rgb": "xyz", "xyz": "rgb"}
CANDIDATES, QUERIES, SUBSET = 3, 4, 5  # streams of random numbers below one seed, after those of Trained
BANK_OPTIONS = ("backbone_mode", "seed")  # of extraction, which banks may have otherwise; the seed counts in mode compat only
QUANTILE = 0.95  # of the unreliability of normal pixels, where theta is "quantile"


@dataclass(frozen=True)
class ReplaceSettings(TrainSettings):
    """Published: candidates 0, bank_mask False, self_match True, retriever_epochs 100, retriever_pixels 20000, retriever_lr
    1e-4, and theta .4 (MVTec 3D-AD) or .2 (Eyecandies). Those thetas belong to DINO features; other features have other
    cosines, so the default asks the normal samples.
    """

    replace: str = "attention"  # off | nn_observed | topk_mean | attention
    replace_direction: str = "rgb"  # which reconstruction may be replaced: rgb (as published) | xyz | both
    theta: float | str = "quantile"  # replace where rho >= theta; "quantile": see QUANTILE
    topk: int = 3  # pairs retrieved for a query
    coreset: float = 0.1  # share of the candidates that the banks keep
    candidates: int = 8192  # pixels that the banks are chosen from, of all shots together; 0: all of them
    bank_mask: bool = True  # the banks see the foreground only
    bank_subset: int = 20000  # pairs searched at once, drawn anew in each step, once for scoring; 0: all
    self_match: bool = False  # a training query may retrieve its own pixel
    width: int = 128  # of the attention
    retriever_steps: int = 200  # when retriever_epochs is 0
    retriever_epochs: int = 0
    retriever_pixels: int = 512  # queries per step; 0: all
    retriever_lr: float = 1e-3

    def __post_init__(self) -> None:
        super().__post_init__()
        check_fields(self, least={"topk": 1, "candidates": 0, "bank_subset": 0, "width": 1, "retriever_steps": 1,
                                  "retriever_epochs": 0, "retriever_pixels": 0},
                     choices={"replace": REPLACEMENTS, "replace_direction": DIRECTIONS}, positive=["retriever_lr"],
                     shares=["coreset"])
        if self.theta != "quantile" and (isinstance(self.theta, str) or math.isnan(self.theta)):
            raise SettingsError(f"setting theta={self.theta!r}: a number or 'quantile' is needed")


class Replacer(Trained):
    """A subclass trains its mappers first and gives `reconstruct`.

    After fit, `memory` {side: Memory}, `theta` {side: float} and `retrieval_losses` {side: losses} have an entry for each
    reconstruction that may be replaced.
    """

    settings: ReplaceSettings
    memory: dict[str, Memory]
    theta: dict[str, float]
    retrieval_losses: dict[str, list[dict[str, float]]]

    def reconstruct(self, side: str, maps: dict[str, FeatureMap],
                    pixels: Int[np.ndarray, " n"]) -> Float32[torch.Tensor, "n C"]:
        """The features of one side at some pixels, from those of the other side."""
        raise NotImplementedError

    @property
    def replaced(self) -> tuple[str, ...]:
        """The sides whose reconstruction may be replaced."""
        return () if self.settings.replace == "off" else DIRECTIONS[self.settings.replace_direction]

    def retrievers(self, widths: dict[str, int]) -> dict[str, nn.Module]:
        """The networks of stage 3, to be built after those of stage 1."""
        sides = self.replaced if self.settings.replace == "attention" else ()
        return {f"retriever_{side}": Retriever(widths[OTHER[side]], widths[side], self.settings.width) for side in sides}

    def fit(self, features: Sequence[Features], progress: bool = True, checkpoint: str | Path | None = None,
            bank_features: Sequence[Features] | None = None) -> Self:
        """Train the mappers, fill the banks, train the retriever; errors as in Trained.fit.

        bank_features  the same samples in the backbone mode of banks and retriever training, where that is not the mode of
                       the mappers and of the test: published are banks in eval mode and queries in train mode
        """
        self._bank_features = features if bank_features is None else bank_features
        if len(self._bank_features) != len(features):
            raise SettingsError(f"bank_features has {len(self._bank_features)} samples, features {len(features)}")
        if not all(getattr(f, side).tokens.isfinite().all() for f in self._bank_features for side in OTHER):
            raise TrainingError(f"{self.name}: bank_features are not finite; check the training samples")
        return super().fit(features, progress, checkpoint)

    def start_fit(self, features: Sequence[Features]) -> None:
        super().start_fit(features)
        for bank in self._bank_features:
            self.standardise.check(bank, BANK_OPTIONS)

    def finish(self, features: Sequence[Features], progress: bool, checkpoint: Path | None) -> None:
        """Stages 2 and 3."""
        s, banks, self._bank_features = self.settings, self._bank_features, ()
        self.memory, self.theta, self.retrieval_losses = {}, {}, {}
        if not self.replaced:
            return
        maps = {side: [self.standardise(f, side, self.device, free=BANK_OPTIONS) for f in banks] for side in OTHER}
        inside = {i: f.pixels for i, f in enumerate(features) if i in self.usable}
        seen = inside if s.bank_mask else {i: np.arange(features[i].foreground.size) for i in inside}
        for side in bar(self.replaced, f"{self.name}: banks", progress):
            self.memory[side] = remember(maps[side], maps[OTHER[side]], self.draw(seen), s.coreset, self.seed)
            self.theta[side] = self.normal_theta(side, features, self.draw(inside)) if isinstance(s.theta, str) else s.theta
        for side in self.replaced if s.replace == "attention" else ():
            self.retrieval_losses[side] = self.train_retriever(side, maps, banks, progress, checkpoint)
        self.memory = {side: memory.subset(s.bank_subset, [self.seed, SUBSET]) for side, memory in self.memory.items()}

    def draw(self, pixels: dict[int, Int64[np.ndarray, " _"]]) -> Int64[torch.Tensor, "n 2"]:
        """At most about `candidates` of the pixels {image: pixels}."""
        return draw(pixels, self.settings.candidates, [self.seed, CANDIDATES]).to(self.device)

    @torch.no_grad()
    def normal_theta(self, side: str, features: Sequence[Features], pixels: Int64[torch.Tensor, "n 2"]) -> float:
        """The QUANTILE of rho over pixels of the training samples, which know nothing of their own image's rows."""
        rho = []
        for i in pixels[:, 0].unique().tolist():
            maps = dict(zip(("rgb", "xyz"), self.maps(features[i]), strict=True))
            for some in pixels[pixels[:, 0] == i].split(CHUNK):
                made = self.reconstruct(side, maps, some[:, 1].cpu().numpy())
                rho.append(self.memory[side].unreliability(made, some).cpu())
        return float(np.quantile(torch.cat(rho).numpy(), QUANTILE))

    def train_retriever(self, side: str, maps: dict[str, list[FeatureMap]], banks: Sequence[Features], progress: bool,
                        checkpoint: Path | None) -> list[dict[str, float]]:
        """Stage 3: from pairs with a similar feature of the other side, make the feature of a normal pixel."""
        s, name = self.settings, f"retriever_{side}"
        net = {name: self.networks[name]}

        def terms(features: Sequence[Features], step: int) -> Terms:
            memory = self.memory[side].subset(s.bank_subset, [self.seed, SUBSET, step])
            pixels = {i: self.pixels(features[i]) for i in sorted(self.images_of(step))}
            origin = draw(pixels, s.retriever_pixels, [self.seed, QUERIES, step]).to(self.device)
            query = gather(maps[OTHER[side]], origin)
            keys, values = memory.neighbours(query, s.topk, None if s.self_match else origin)
            return {"retrieval": cosine_loss(net[name](query, keys, values), gather(maps[side], origin))}

        adam = {"adam": torch.optim.Adam(net[name].parameters(), lr=s.retriever_lr)}
        return self.train(self.n_steps(s.retriever_epochs, s.retriever_steps), terms, net, adam, banks,
                          checkpoint and checkpoint / name, progress, name.replace("_", " "))

    def replace(self, side: str, made: Float32[torch.Tensor, "n C"], seen: dict[str, Float32[torch.Tensor, "n _"]],
                valid: Bool[np.ndarray, " n"]) -> tuple[Float32[torch.Tensor, "n C"], Float32[np.ndarray, " n"]]:
        """Reconstructions with the unreliable ones at valid pixels replaced, and rho of all of them.

        seen  the observed features of the same pixels, by side
        """
        s, memory = self.settings, self.memory[side]
        rho = memory.unreliability(made)
        bad = (rho >= self.theta[side]) & torch.from_numpy(valid).to(rho.device)
        if bad.any():
            made = made.clone()
            made[bad] = memory.replacement(seen[OTHER[side]][bad], seen[side][bad], s.replace, s.topk,
                                           self.networks.get(f"retriever_{side}"))
        return made, rho.cpu().numpy()

    def state(self) -> dict[str, torch.Tensor]:
        remembered = {f"memory_{side}.{k}": v for side, memory in self.memory.items() for k, v in memory.state().items()}
        thetas = {f"theta_{side}": torch.tensor(theta, dtype=torch.float64) for side, theta in self.theta.items()}
        return super().state() | remembered | thetas

    def restore(self, state: dict[str, torch.Tensor]) -> None:
        super().restore(state)
        self.memory = {side: Memory.restored({k.partition(".")[2]: v.to(self.device) for k, v in state.items()
                                              if k.startswith(f"memory_{side}.")}) for side in self.replaced}
        self.theta = {side: state[f"theta_{side}"].item() for side in self.replaced}
