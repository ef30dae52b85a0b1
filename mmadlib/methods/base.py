"""What every method shares: settings by name, standardised descriptors, saving without pickle."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from mmadlib.errors import SettingsError, TrainingError, WeightsError, explain, unknown
from mmadlib.features.field import FeatureMap, Features


@dataclass(frozen=True)
class Scores:
    """Result of scoring one sample.

    map    float32 (H, W), smoothed, not normalised: higher is more anomalous
    image  image-level score by the method's own rule
    parts  named intermediate maps (H, W) float32, before aggregation and smoothing
    """

    map: np.ndarray
    image: float
    parts: dict[str, np.ndarray] = field(default_factory=dict)


def check_settings(cls: type, given: dict[str, Any], owner: str) -> Any:
    """Build the settings dataclass `cls` from keywords; unknown names and wrong types get one clear error."""
    defaults = cls()
    known = {f.name: getattr(defaults, f.name) for f in fields(cls)}
    for name, value in given.items():
        if name not in known:
            raise unknown(f"{owner} setting", name, known)
        want = type(known[name])
        fits = value is None or known[name] is None or isinstance(value, want) or (want is float and isinstance(value, int))
        if not fits or (isinstance(value, bool) and want in (int, float)):
            raise SettingsError(f"{owner} setting {name}={value!r}: expected {want.__name__}, got {type(value).__name__}")
    return cls(**given)


HAND_MADE = ("descriptors", "random")  # front ends whose raw values differ in scale from channel to channel


class Standardiser:
    """Mean and deviation of the training foreground, applied to tokens.

    Exact on tokens because interpolation weights sum to one. Descriptors are stored raw and standardised here, so that
    no test sample and no other category enters the statistics; backbone features are left as they are.
    """

    def __init__(self) -> None:
        self.mean: dict[str, torch.Tensor] = {}
        self.std: dict[str, torch.Tensor] = {}

    def fit(self, features: Sequence[Features]) -> Standardiser:
        for side in ("rgb", "xyz"):
            width, meta = getattr(features[0], side).channels, features[0].meta
            (mean, squares), n = torch.zeros(2, width, dtype=torch.float64), 0
            if meta.get(side, meta.get("family")) in HAND_MADE:
                for f in features:
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


class Method:
    """Base of the method classes: fit(features) -> self, score(features) -> Scores, save, load.

    A subclass names itself, declares `Settings` (a dataclass whose defaults suit descriptors) and implements `fit`,
    `score`, `state` (tensors to save) and `restore`.
    """

    name: ClassVar[str]
    Settings: ClassVar[type]

    def __init__(self, seed: int = 0, device: str = "cpu", **settings: Any) -> None:
        self.seed, self.device = int(seed), torch.device(device)
        self.settings = check_settings(self.Settings, settings, self.name)
        self.standardise = Standardiser()
        self.fitted = False

    def fit(self, features: Sequence[Features], progress: bool = True) -> Method:
        raise NotImplementedError

    def score(self, features: Features) -> Scores:
        raise NotImplementedError

    def state(self) -> dict[str, torch.Tensor]:
        raise NotImplementedError

    def restore(self, state: dict[str, torch.Tensor]) -> None:
        raise NotImplementedError

    def start_fit(self, features: Sequence[Features]) -> None:
        """Refuse an empty training set, then learn the descriptor statistics."""
        if len(features) == 0:
            raise TrainingError(f"{self.name}: no training samples; give at least one normal sample")
        if not any(f.foreground.any() for f in features):
            raise TrainingError(f"{self.name}: no training sample has foreground pixels; check the preprocessing")
        self.standardise.fit(features)

    def check_fitted(self) -> None:
        if not self.fitted:
            raise TrainingError(f"{self.name}: fit() or load() comes before score()")

    def save(self, path: str | Path) -> Path:
        """Write `path`/model.safetensors and `path`/settings.json; no pickle anywhere."""
        self.check_fitted()
        path = Path(path)
        path.mkdir(parents=True, exist_ok=True)
        tensors = {k: v.detach().cpu().contiguous() for k, v in (self.standardise.state() | self.state()).items()}
        save_file(tensors, path / "model.safetensors")
        description = {"method": self.name, "seed": self.seed, "settings": asdict(self.settings)}
        (path / "settings.json").write_text(json.dumps(description, indent=1) + "\n")
        return path

    @classmethod
    def load(cls, path: str | Path, device: str = "cpu") -> Method:
        """Read what `save` wrote. Raises WeightsError on another method's folder or a missing file."""
        path = Path(path)
        if not (path / "settings.json").is_file() or not (path / "model.safetensors").is_file():
            raise WeightsError(explain(path, "holds no settings.json with model.safetensors",
                                       "give a folder written by save()"))
        description = json.loads((path / "settings.json").read_text())
        if description["method"] != cls.name:
            raise WeightsError(explain(path, f"holds a {description['method']} model, not {cls.name}",
                                       f"load it with METHODS[{description['method']!r}]"))
        method = cls(seed=description["seed"], device=device, **description["settings"])
        state = load_file(path / "model.safetensors")
        method.standardise.restore(state)
        method.restore(state)
        method.fitted = True
        return method
