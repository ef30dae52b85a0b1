"""CFM: crossmodal feature mapping (Costanzino et al., CVPR 2024, arXiv 2312.04521).

On normal parts, G predicts the 3D feature of a pixel from its RGB feature and M predicts the RGB feature from the 3D one.
On a test part the two prediction errors are multiplied: a pixel is anomalous where neither modality explains the other.

Symbols: F2 (n, C2) RGB features, F3 (n, C3) 3D features of n foreground pixels, G: F2 -> F3, M: F3 -> F2, e2, e3 errors.
Facts: the paper's abstract; CVLAB-Unibo/crossmodal-feature-mapping models/feature_transfer_nets.py, cfm_training.py,
cfm_inference.py. The defaults train in seconds on descriptors; workflow/params/ holds the published settings.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from mmadlib.checks import one_of, whole
from mmadlib.errors import SettingsError, TrainingError
from mmadlib.features.field import FeatureMap, Features, blend
from mmadlib.methods.base import Method, Scores
from mmadlib.progress import bar
from mmadlib.scoring import SMOOTHINGS, normalise, smooth

HIDDEN_LAYERS = {"mlp2": 0, "mlp3": 1, "mlp7": 5}  # hidden-to-hidden layers; mlp3 is CFM's, mlp7 its "big", mlp2 CPIR's MLP
AGGREGATES = ("product", "sum", "max", "rgb", "xyz")
IMAGE_NORMS = ("cfm", "none")
CHUNK = 8192  # pixels scored at once


@dataclass(frozen=True)
class Settings:
    mapper: str = "mlp3"  # mlp2 | mlp3 | mlp7
    hidden: int = 128  # width h of the hidden layers; 0: (C2 + C3) // 2 as published
    steps: int = 400  # optimiser steps when epochs is 0
    epochs: int = 0  # passes over the training images; published: 250 (MVTec 3D-AD), 50 in the scripts
    batch: int = 4  # images per step
    pixels: int = 512  # foreground pixels per step; 0: all of them, as published
    lr: float = 1e-3
    masked: bool = True  # leave out pixels without 3D features, in training and scoring
    aggregate: str = "product"  # product | sum | max | rgb | xyz
    smooth: str = "box_cfm"  # see mmadlib.scoring
    image_norm: str = "cfm"  # cfm: image score max(A / sqrt(mean A)); none: max(A)

    def __post_init__(self) -> None:
        for name, least in {"batch": 1, "steps": 1, "epochs": 0, "pixels": 0, "hidden": 0}.items():
            whole(f"cfm setting {name}", getattr(self, name), least)
        if not 0 < self.lr < float("inf"):
            raise SettingsError(f"cfm setting lr={self.lr}: must be finite and above 0")
        for name, options in {"mapper": HIDDEN_LAYERS, "aggregate": AGGREGATES, "smooth": SMOOTHINGS,
                              "image_norm": IMAGE_NORMS}.items():
            one_of(name, getattr(self, name), options)


class Mapper(nn.Module):
    """MLP from one modality's features to the other's: linear layers with exact GELU between, no norm, no dropout."""

    def __init__(self, c_in: int, c_out: int, hidden: int, kind: str = "mlp3") -> None:
        super().__init__()
        one_of("mapper", kind, HIDDEN_LAYERS)
        self.input = nn.Linear(c_in, hidden)
        self.projection = nn.ModuleList(nn.Linear(hidden, hidden) for _ in range(HIDDEN_LAYERS[kind]))
        self.output = nn.Linear(hidden, c_out)

    def after_input(self, x: torch.Tensor) -> torch.Tensor:
        """The layers behind the first linear one."""
        x = F.gelu(x)
        for layer in self.projection:
            x = F.gelu(layer(x))
        return self.output(x)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(n, c_in) -> (n, c_out)."""
        return self.after_input(self.input(x))

    def at(self, fmap: FeatureMap, pixels: np.ndarray) -> torch.Tensor:
        """The same at pixels of a map, (n, c_out): the first layer commutes with the interpolation, so it runs on tokens."""
        projected = fmap.tokens @ self.input.weight.T
        return self.after_input(blend(fmap.interp[pixels], projected) + self.input.bias)


def mapping_losses(G: Mapper, M: Mapper, F2: torch.Tensor, F3: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """1 - mean cos(G(F2), F3) and 1 - mean cos(M(F3), F2) over the given pixels; each in [0, 2]."""
    to_xyz = 1 - F.cosine_similarity(G(F2), F3, dim=-1, eps=1e-6).mean()
    to_rgb = 1 - F.cosine_similarity(M(F3), F2, dim=-1, eps=1e-6).mean()
    return to_xyz, to_rgb


def train_step(G: Mapper, M: Mapper, optimiser: torch.optim.Optimizer,
               F2: torch.Tensor, F3: torch.Tensor) -> tuple[float, float]:
    """One update of both networks on pixels F2 (n, C2), F3 (n, C3); returns the two losses before it.

    Raises TrainingError, naming the term, when a loss is not finite.
    """
    losses = mapping_losses(G, M, F2, F3)
    for name, loss in zip(("RGB to 3D", "3D to RGB"), losses, strict=True):
        if not torch.isfinite(loss):
            raise TrainingError(f"cfm: the {name} loss became {loss.item()}; check the features for NaN or lower lr")
    optimiser.zero_grad()
    sum(losses).backward()
    optimiser.step()
    return losses[0].item(), losses[1].item()


def prediction_error(predicted: torch.Tensor, observed: torch.Tensor) -> torch.Tensor:
    """e = || p/|p| - f/|f| ||_2 per pixel, (n,), in [0, 2].

    The difference of unit vectors, not sqrt(2 - 2 cos), which is wrong by up to 5e-4 near zero in float32.
    """
    return (F.normalize(predicted, dim=-1) - F.normalize(observed, dim=-1)).norm(dim=-1)


def aggregate(e2: np.ndarray, e3: np.ndarray, rule: str) -> np.ndarray:
    """Combine the error maps of RGB (e2) and 3D (e3): product as published, the others for ablations."""
    rules = {"product": lambda: e2 * e3, "sum": lambda: e2 + e3, "max": lambda: np.maximum(e2, e3),
             "rgb": lambda: e2, "xyz": lambda: e3}
    one_of("aggregate", rule, rules)
    return rules[rule]()


def image_score(smoothed: np.ndarray, image_norm: str) -> float:
    """max(A / sqrt(mean(A[A != 0]))) for "cfm", max(A) for "none"; 0 for an all-zero map."""
    one_of("image_norm", image_norm, IMAGE_NORMS)
    return float((normalise(smoothed, "image") if image_norm == "cfm" else smoothed).max())


class CFM(Method):
    """Two mappers and the product of their errors. parts: "rgb" (e2) and "xyz" (e3)."""

    name = "cfm"
    Settings = Settings
    settings: Settings

    def build(self, c2: int, c3: int) -> None:
        """Networks for feature widths C2, C3, initialised from the seed alone."""
        s = self.settings
        hidden = s.hidden or (c2 + c3) // 2
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            self.G, self.M = Mapper(c2, c3, hidden, s.mapper), Mapper(c3, c2, hidden, s.mapper)
        self.G.to(self.device), self.M.to(self.device)

    def pixels(self, features: Features) -> np.ndarray:
        return features.pixels if self.settings.masked else np.arange(features.foreground.size)

    def batches(self, features: Sequence[Features]) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Endless (F2, F3) batches: shuffled images, the last incomplete batch kept, pixels pooled over the images."""
        s, rng = self.settings, np.random.default_rng(self.seed)
        while True:
            order = rng.permutation(len(features))
            for start in range(0, len(order), s.batch):
                chosen = [features[i] for i in order[start:start + s.batch]]
                chosen = [f for f in chosen if len(self.pixels(f))]
                share = -(-s.pixels // max(len(chosen), 1))
                picks = [rng.choice(self.pixels(f), share) if s.pixels else self.pixels(f) for f in chosen]
                if chosen:
                    yield tuple(torch.cat([self.standardise(f, side, self.device).at(p)
                                           for f, p in zip(chosen, picks, strict=True)]) for side in ("rgb", "xyz"))

    def fit(self, features: Sequence[Features], progress: bool = True) -> CFM:
        """Train G and M on normal samples. Raises TrainingError without foreground pixels or on a non-finite loss."""
        s = self.settings
        self.start_fit(features)
        self.build(features[0].rgb.channels, features[0].xyz.channels)
        optimiser = torch.optim.Adam([*self.G.parameters(), *self.M.parameters()], lr=s.lr)
        steps = s.epochs * -(-len(features) // s.batch) or s.steps
        self.losses = []
        with bar(range(steps), f"{self.name}: fit", progress) as steps_bar:
            for _, (F2, F3) in zip(steps_bar, self.batches(features), strict=False):
                self.losses.append(train_step(self.G, self.M, optimiser, F2, F3))
                steps_bar.set_postfix(loss=f"{sum(self.losses[-1]):.3f}", refresh=False)
        self.fitted = True
        return self

    @torch.no_grad()
    def score(self, features: Features) -> Scores:
        """Anomaly map, image score and the two error maps of one sample."""
        self.check_fitted()
        rgb, xyz = (self.standardise(features, side, self.device) for side in ("rgb", "xyz"))
        e2, e3 = np.zeros((2, features.foreground.size), np.float32)
        pixels = self.pixels(features)
        for some in np.split(pixels, range(CHUNK, len(pixels), CHUNK)):
            e3[some] = prediction_error(self.G.at(rgb, some), xyz.at(some)).cpu().numpy()
            e2[some] = prediction_error(self.M.at(xyz, some), rgb.at(some)).cpu().numpy()
        e2, e3 = e2.reshape(features.size), e3.reshape(features.size)
        smoothed = smooth(aggregate(e2, e3, self.settings.aggregate), self.settings.smooth)
        return Scores(smoothed, image_score(smoothed, self.settings.image_norm), {"rgb": e2, "xyz": e3})

    def state(self) -> dict[str, torch.Tensor]:
        return {f"{net}.{k}": v for net in ("G", "M") for k, v in getattr(self, net).state_dict().items()}

    def restore(self, state: dict[str, torch.Tensor]) -> None:
        self.build(state["G.input.weight"].shape[1], state["M.input.weight"].shape[1])
        for net in ("G", "M"):
            getattr(self, net).load_state_dict({k[2:]: v for k, v in state.items() if k.startswith(f"{net}.")})
