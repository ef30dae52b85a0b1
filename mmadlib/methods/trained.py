"""Trained: base of the methods that learn networks by gradient descent on pixels of normal samples."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from jaxtyping import Bool, Float32, Int64
from torch import nn

from mmadlib.features.field import FeatureMap, Features
from mmadlib.methods.base import Method
from mmadlib.methods.training import Checkpoint, Terms, TrainSettings, train

ORDER, PICK = 1, 2  # streams of random numbers below one seed: order of images, choice of pixels
CHUNK = 8192  # pixels scored at once


class Trained(Method):
    """A subclass gives `build` (its networks, by name) and `terms` (the losses of a step); it may replace `optimisers` and
    `finish`. After fit, `networks` {name: module} are in eval mode and `losses` holds {term: value} for every step.
    """

    settings: TrainSettings
    networks: Mapping[str, nn.Module]

    def build(self, c2: int, c3: int) -> Mapping[str, nn.Module]:
        """Networks for RGB features of width C2 and 3D features of width C3; called with a seeded generator."""
        raise NotImplementedError

    def terms(self, features: Sequence[Features], step: int) -> Terms:
        """The weighted losses of one step, by name."""
        raise NotImplementedError

    def optimisers(self) -> Mapping[str, torch.optim.Optimizer]:
        """One Adam over all networks."""
        return {"adam": torch.optim.Adam([p for net in self.networks.values() for p in net.parameters()],
                                         lr=self.settings.lr)}

    def finish(self, features: Sequence[Features], progress: bool, checkpoint: Path | None) -> None:
        """What comes after the networks are trained, e.g. memory banks."""

    def fit(self, features: Sequence[Features], progress: bool = True, checkpoint: str | Path | None = None) -> Self:
        """Train on normal samples.

        checkpoint  a folder: the state of the training is written there now and then, and an interrupted fit with the same
                    seed, settings and samples goes on from it, to the same bits
        Raises TrainingError without foreground pixels or when a loss is not finite (it names the term), WeightsError when
        the checkpoint is damaged or another training's, OutputError when it cannot be written.
        """
        self.usable = [i for i in range(len(features)) if len(self.pixels(features[i]))]
        self._maps: dict[int, Any] = {}  # what `image` keeps of a training image
        self.start_fit(features)
        self.make_networks()
        folder = None if checkpoint is None else Path(checkpoint)
        steps = self.n_steps(self.settings.passes(len(self.usable)), self.settings.steps)
        self.losses = self.train(steps, self.terms, self.networks, self.optimisers(), features, folder, progress)
        self.finish(features, progress, folder)
        self._maps = {}
        self.fitted = True
        return self

    def make_networks(self) -> None:
        """`networks` on the device, initialised from the seed alone, in eval mode."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            self.networks = {name: net.to(self.device).eval() for name, net in self.build(*self.widths()).items()}

    def widths(self) -> tuple[int, int]:
        """C2 and C3 of the training features."""
        return self.standardise.width("rgb"), self.standardise.width("xyz")

    def train(self, steps: int, terms: Callable[[Sequence[Features], int], Terms], networks: Mapping[str, nn.Module],
              optimisers: Mapping[str, torch.optim.Optimizer], features: Sequence[Features], folder: Path | None,
              progress: bool, label: str = "fit") -> list[dict[str, float]]:
        """`training.train` with this method's seed, device and precision; `folder` is of this training alone."""
        kept = None if folder is None else Checkpoint(folder, self.identity(features, label))
        return train(self.name, steps, lambda step: terms(features, step), networks, optimisers, seed=self.seed,
                     device=self.device, mixed_precision=self.settings.mixed_precision, checkpoint=kept, progress=progress,
                     label=label)

    def identity(self, features: Sequence[Features], label: str) -> str:
        """Hash of what decides a training: method, stage, seed, settings, training features."""
        notes = [self.name, label, self.seed, asdict(self.settings)]
        digest = hashlib.sha256(json.dumps(notes, sort_keys=True).encode())
        for f in features:
            for part in (f.rgb.tokens, f.xyz.tokens):
                digest.update(part.cpu().contiguous().numpy().tobytes())
            digest.update(np.packbits(f.foreground).tobytes())
        return digest.hexdigest()

    def n_steps(self, epochs: int, steps: int) -> int:
        """Steps of so many passes over the usable training images; `steps` when epochs is 0."""
        return epochs * -(-len(self.usable) // self.settings.batch) or steps

    def seen(self, features: Features) -> Bool[np.ndarray, "H W"]:
        """The pixels that count."""
        return features.foreground if self.settings.masked else np.ones_like(features.foreground)

    def pixels(self, features: Features) -> Int64[np.ndarray, " n"]:
        """Their flat indices: the foreground, or all of them with masked=False."""
        return np.flatnonzero(self.seen(features))

    def maps(self, features: Features) -> tuple[FeatureMap, FeatureMap]:
        """The standardised RGB and 3D maps on the device."""
        return self.standardise(features, "rgb", self.device), self.standardise(features, "xyz", self.device)

    def image(self, features: Sequence[Features], i: int) -> Any:
        """What a step takes of training image i, its `maps` unless overridden; kept on the device until the training ends."""
        if i not in self._maps:
            self._maps[i] = self.maps(features[i])
        return self._maps[i]

    def images_of(self, step: int) -> list[int]:
        """The images of a step: shuffled anew in every epoch, the last incomplete batch kept."""
        n, batch = len(self.usable), self.settings.batch
        epoch, turn = divmod(step, -(-n // batch))
        order = np.random.default_rng([self.seed, ORDER, epoch]).permutation(n)
        return [self.usable[i] for i in order[turn * batch:(turn + 1) * batch]]

    def pick(self, features: Sequence[Features], step: int) -> list[tuple[int, Int64[np.ndarray, " _"]]]:
        """(image, pixels) of a step: together about `pixels` of them, drawn with replacement; 0 takes all."""
        s, chosen = self.settings, self.images_of(step)
        rng, share = np.random.default_rng([self.seed, PICK, step]), -(-s.pixels // len(chosen))
        return [(i, rng.choice(self.pixels(features[i]), share) if s.pixels else self.pixels(features[i])) for i in chosen]

    def pairs(self, features: Sequence[Features],
              step: int) -> tuple[Float32[torch.Tensor, "n C2"], Float32[torch.Tensor, "n C3"]]:
        """F2 and F3 of a step, pooled over its images."""
        found = [[fmap.at(pixels) for fmap in self.image(features, i)] for i, pixels in self.pick(features, step)]
        F2, F3 = zip(*found, strict=True)
        return torch.cat(F2), torch.cat(F3)

    def chunks(self, features: Features) -> list[Int64[np.ndarray, " _"]]:
        """The pixels of a sample, at most CHUNK at once."""
        pixels = self.pixels(features)
        return np.split(pixels, range(CHUNK, len(pixels), CHUNK))

    def state(self) -> dict[str, torch.Tensor]:
        return {f"{name}.{k}": v for name, net in self.networks.items() for k, v in net.state_dict().items()}

    def restore(self, state: dict[str, torch.Tensor]) -> None:
        with torch.device("meta"):  # shapes without memory: settings must not ask for larger networks than the file holds
            asked = {f"{name}.{k}": v.shape for name, net in self.build(*self.widths()).items()
                     for k, v in net.state_dict().items()}
        if wrong := [name for name, shape in asked.items() if state[name].shape != shape]:
            raise ValueError(f"tensor {wrong[0]} is not as the settings have it")
        self.make_networks()
        for name, net in self.networks.items():
            net.load_state_dict({k.removeprefix(f"{name}."): v for k, v in state.items() if k.startswith(f"{name}.")})
