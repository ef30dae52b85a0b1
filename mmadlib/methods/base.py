"""What every method shares: settings by name, standardised descriptors, saving without pickle."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from jaxtyping import Float32
from safetensors import SafetensorError
from safetensors.torch import load_file
from safetensors.torch import save as to_bytes

from mmadlib.atomic import atomic
from mmadlib.checks import check_device, check_seed, typed
from mmadlib.errors import MissingModality, OutputError, SettingsError, TrainingError, WeightsError, explain
from mmadlib.features.field import FeatureMap, Features
from mmadlib.paths import here, shown


@dataclass(frozen=True)
class Scores:
    """Result of scoring one sample.

    map    smoothed, not normalised: higher is more anomalous
    image  image-level score by the method's own rule
    parts  named intermediate maps, before aggregation and smoothing
    """

    map: Float32[np.ndarray, "H W"]
    image: float
    parts: dict[str, Float32[np.ndarray, "H W"]] = field(default_factory=dict)


SIDES = {"rgb": "RGB", "xyz": "3D"}
HAND_MADE = ("descriptors", "random")  # front ends whose raw values differ in scale from channel to channel


class Standardiser:
    """Mean and deviation of the training foreground, applied to tokens.

    Exact on tokens because interpolation weights sum to one. Descriptors are stored raw and standardised here, so that
    no test sample and no other category enters the statistics; backbone features are left as they are. All methods take
    their features from here, so this is where one that needs a missing modality learns of it (MissingModality).
    """

    def __init__(self) -> None:
        self.mean: dict[str, Float32[torch.Tensor, " C"]] = {}
        self.std: dict[str, Float32[torch.Tensor, " C"]] = {}

    def fit(self, features: Sequence[Features]) -> Self:
        """Mean and deviation of each side over the foreground of all samples that have it; 0 and 1 for backbones."""
        for side in ("rgb", "xyz"):
            first = next((f for f in features if f.missing != side), features[0])
            width, meta = getattr(first, side).channels, first.meta
            (mean, squares), n = torch.zeros(2, width, dtype=torch.float64), 0
            if meta.get(side, meta.get("family")) in HAND_MADE:
                for f in (f for f in features if f.missing != side):
                    values = getattr(f, side).at(f.pixels).double()
                    mean, squares, n = mean + values.sum(0), squares + (values**2).sum(0), n + len(values)
                mean, squares = mean / n, squares / n
                # a constant channel (e.g. the chroma of a grey part) must not turn round-off into a feature
                spread = (squares - mean**2).clamp_min(0).sqrt()
                self.std[side] = torch.where(spread > 1e-6 * squares.sqrt(), spread, 1.0).float()
            else:
                self.std[side] = torch.ones(width)
            self.mean[side] = mean.float()
        return self

    def __call__(self, features: Features, side: str, device: torch.device | str = "cpu") -> FeatureMap:
        if features.missing == side:
            raise MissingModality(_lacks(side))
        fmap: FeatureMap = getattr(features, side)
        if fmap.channels != len(self.mean[side]):
            raise SettingsError(f"{side} features have {fmap.channels} channels, the model was fitted on "
                                f"{len(self.mean[side])}; use the features that it was trained with")
        return fmap.with_tokens(((fmap.tokens - self.mean[side]) / self.std[side]).to(device))

    def state(self) -> dict[str, torch.Tensor]:
        return {f"standardise.{kind}.{side}": getattr(self, kind)[side] for kind in ("mean", "std") for side in ("rgb", "xyz")}

    def restore(self, state: dict[str, torch.Tensor]) -> None:
        for kind in ("mean", "std"):
            setattr(self, kind, {side: state[f"standardise.{kind}.{side}"] for side in ("rgb", "xyz")})


def _lacks(side: str) -> str:
    other = SIDES["xyz" if side == "rgb" else "rgb"]
    return (f"a sample has no {SIDES[side]} features (modality {side} is missing); use a method or setting that needs "
            f"{other} only")


class Method:
    """Base of the method classes: fit(features) -> self, score(features) -> Scores, save, load.

    A subclass names itself, declares SETTINGS (a dataclass whose defaults suit descriptors and which refuses impossible
    values) and VARIANTS (name -> settings: rows of its paper's tables, which a sweep may name), and implements `fit`, `score`,
    `state` (tensors to save) and `restore`. Making one with an unknown setting, a wrong value, seed or device raises
    SettingsError.
    """

    name: ClassVar[str]
    SETTINGS: ClassVar[type]
    VARIANTS: ClassVar[dict[str, dict[str, Any]]] = {"default": {}}

    def __init__(self, seed: int = 0, device: str | torch.device = "cpu", **settings: Any) -> None:
        self.seed, self.device = check_seed(seed), check_device(device)
        self.settings = typed(self.SETTINGS, settings, f"{self.name} setting")
        self.standardise = Standardiser()
        self.fitted = False

    def fit(self, features: Sequence[Features], progress: bool = True) -> Self:
        """Learn from normal samples; returns self. Raises TrainingError or MissingModality where they cannot be used."""
        raise NotImplementedError

    def score(self, features: Features) -> Scores:
        """Judge one sample on its own (H, W). Raises TrainingError before fit or load, MissingModality where the sample
        lacks what the method needs, SettingsError for features of other widths than in training."""
        raise NotImplementedError

    def state(self) -> dict[str, torch.Tensor]:
        """What `save` writes besides the settings and the standardiser, by name."""
        raise NotImplementedError

    def restore(self, state: dict[str, torch.Tensor]) -> None:
        """Take up what `state` gave; names of others are in it, too."""
        raise NotImplementedError

    @property
    def needs(self) -> tuple[str, ...]:
        """The modalities that every training sample must have under these settings."""
        return ("rgb", "xyz")

    def start_fit(self, features: Sequence[Features]) -> None:
        """Refuse a training set that is empty, not finite or without a modality that the method needs, then learn the
        descriptor statistics. Raises TrainingError or MissingModality."""
        if len(features) == 0:
            raise TrainingError(f"{self.name}: no training samples; give at least one normal sample")
        if not any(f.foreground.any() for f in features):
            raise TrainingError(f"{self.name}: no training sample has foreground pixels; check the preprocessing")
        for side, modality in SIDES.items():
            if side in self.needs and any(f.missing == side for f in features):
                raise MissingModality(f"{self.name}: {_lacks(side)}")
            if not all(getattr(f, side).tokens.isfinite().all() for f in features):
                raise TrainingError(f"{self.name}: {modality} features are not finite; check the training samples")
        self.standardise.fit(features)

    def check_fitted(self) -> None:
        if not self.fitted:
            raise TrainingError(f"{self.name}: fit() or load() comes before score()")

    def save(self, path: str | Path) -> Path:
        """Write `path`/model.safetensors and `path`/settings.json; no pickle anywhere. Raises OutputError."""
        self.check_fitted()
        path = here(path)
        tensors = {k: v.detach().cpu().contiguous() for k, v in (self.standardise.state() | self.state()).items()}
        description = {"method": self.name, "seed": self.seed, "settings": asdict(self.settings)}
        content = {"model.safetensors": to_bytes(tensors), "settings.json": f"{json.dumps(description, indent=1)}\n".encode()}
        try:
            for name, data in content.items():
                with atomic(path / name) as temporary:
                    temporary.write_bytes(data)
        except OSError as err:
            raise OutputError(explain(shown(path), f"cannot be written ({err.strerror or err})",
                                      "free some space or give another folder")) from None
        return path

    @classmethod
    def load(cls, path: str | Path, device: str | torch.device = "cpu") -> Self:
        """Read what `save` wrote. Raises WeightsError on a missing, damaged or another method's model."""
        path, device = here(path), check_device(device)
        if not (path / "settings.json").is_file() or not (path / "model.safetensors").is_file():
            raise WeightsError(explain(shown(path), "holds no settings.json with model.safetensors",
                                       "give a folder written by save()"))
        try:
            description = json.loads((path / "settings.json").read_text())
            if description["method"] != cls.name:
                raise WeightsError(explain(shown(path), f"holds a {description['method']} model, not {cls.name}",
                                           f"load it with METHODS[{description['method']!r}]"))
            method = cls(seed=description["seed"], device=device, **description["settings"])
            state = load_file(path / "model.safetensors")
            method.standardise.restore(state)
            method.restore(state)
        except (OSError, ValueError, LookupError, TypeError, RuntimeError, SafetensorError) as err:
            raise WeightsError(explain(shown(path), f"holds no whole {cls.name} model ({type(err).__name__})",
                                       "fit and save it again")) from None
        method.fitted = True
        return method
