"""What every method shares: settings by name, a training set that can be used, extraction, saving without pickle."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from jaxtyping import Float32

from mmadlib.checks import check_device, check_seed, typed
from mmadlib.errors import MissingModality, SettingsError, TrainingError
from mmadlib.features.extraction import checked, difference
from mmadlib.features.extractor import Extractor
from mmadlib.features.field import Features
from mmadlib.methods.saving import odd_tensor, read_model, whole, write_model
from mmadlib.methods.standardise import SIDES, Standardiser, lacks
from mmadlib.sample import Sample


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


class Method:
    """Base of the method classes: fit(features) -> self, score(features) -> Scores, extract(sample) -> Features, save, load.

    A subclass names itself, declares SETTINGS (a dataclass whose defaults train in seconds on features of a small network, and
    which refuses impossible values) and VARIANTS (name -> settings: rows of its paper's tables, which a sweep may name), and
    implements `fit`, `score`, `state` (tensors to save) and `restore`. Making one with an unknown setting, a wrong value, seed
    or device raises SettingsError.
    """

    name: ClassVar[str]
    SETTINGS: ClassVar[type]
    VARIANTS: ClassVar[dict[str, dict[str, Any]]] = {"default": {}}

    def __init__(self, seed: int = 0, device: str | torch.device = "cpu", **settings: Any) -> None:
        self.seed, self.device = check_seed(seed), check_device(device)
        self.settings = typed(self.SETTINGS, settings, f"{self.name} setting")
        self.standardise = Standardiser(getattr(self.settings, "anchor", 0.0))
        self._extractor: Extractor | None = None
        self.fitted = False

    def fit(self, features: Sequence[Features], progress: bool = True) -> Self:
        """Learn from normal samples; returns self. Raises TrainingError or MissingModality where they cannot be used."""
        raise NotImplementedError

    def score(self, features: Features) -> Scores:
        """Judge one sample on its own (H, W). Raises TrainingError before fit or load, MissingModality where the sample
        lacks what the method needs, SettingsError for features made otherwise, or of other widths, than in training."""
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
        """Refuse a training set that is empty, not finite, of several makings or without a modality that the method needs,
        then learn the statistics of what is standardised. Raises TrainingError, SettingsError or MissingModality."""
        if len(features) == 0:
            raise TrainingError(f"{self.name}: no training samples; give at least one normal sample")
        if not any(f.foreground.any() for f in features):
            raise TrainingError(f"{self.name}: no training sample has foreground pixels; check the preprocessing")
        made = features[0].extraction
        for i, f in enumerate(features):
            for side, modality in SIDES.items():
                if side in self.needs and f.missing == side:
                    raise MissingModality(f"{self.name}: {lacks(side)}")
                if not getattr(f, side).tokens.isfinite().all():
                    raise TrainingError(f"{self.name}: {modality} features are not finite; check the training samples")
            if found := difference(made, f.extraction):
                raise SettingsError(f"{self.name}: training samples were made differently, the first with {found[0]}, number "
                                    f"{i + 1} with {found[1]}; {found[2]}")
            if made and made["isolate"] is None:
                made = f.extraction  # one without a cloud had no background to lose
        self.standardise.extraction, self._extractor = made, None
        self.standardise.fit(features)

    def check_fitted(self) -> None:
        if not self.fitted:
            raise TrainingError(f"{self.name}: fit() or load() comes before score()")

    def extractor(self, **places: Any) -> Extractor:
        """An extractor that makes features as those of the training were made, on the device of the method.

        places: device, and rgb_weights or xyz_weights where the files lie elsewhere now. Raises TrainingError before fit or
        load, SettingsError after a fit on features made by hand, WeightsError where weights are missing or not the same.
        """
        self.check_fitted()
        if self.standardise.extraction is None:
            raise SettingsError(f"{self.name}: the training features were made by hand; make those of new samples likewise")
        return Extractor.like(self.standardise.extraction, **{"device": str(self.device)} | places)

    def extract(self, sample: Sample) -> Features:
        """The features of a sample as the model wants them; loads the backbones once. Errors: see `extractor`, Extractor."""
        self._extractor = self._extractor or self.extractor()
        return self._extractor(sample)

    def save(self, path: str | Path) -> Path:
        """Write `path`/model.safetensors and `path`/settings.json; no pickle anywhere. Raises OutputError, and TrainingError
        where there is nothing to save: before fit, or not a number."""
        self.check_fitted()
        tensors = {k: v.detach().cpu().contiguous() for k, v in (self.standardise.state() | self.state()).items()}
        if odd := odd_tensor(tensors):
            raise TrainingError(f"{self.name}: {odd} of the fitted model; check the training samples and fit again")
        return write_model(path, {"method": self.name, "seed": self.seed, "settings": asdict(self.settings),
                                  "extraction": self.standardise.extraction}, tensors)

    @classmethod
    def load(cls, path: str | Path, device: str | torch.device = "cpu") -> Self:
        """Read what `save` wrote. Raises WeightsError on a missing, damaged, altered, older or another method's model; warns
        of one that another version of mmadlib saved."""
        device = check_device(device)
        about, state = read_model(path, cls.name)
        with whole(path, cls.name):
            method = cls(seed=about["seed"], device=device, **about["settings"])
            method.standardise.restore(state)
            method.standardise.extraction = checked(about["extraction"])
            method.restore(state)
        method.fitted = True
        return method
