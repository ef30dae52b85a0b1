"""What a cosine makes of standardised features: image AUROC of methods under several standardisations, on data seed 0.

`python benchmarks/standardising.py [method ...]` adds what is missing to results/choices/anchor.csv (80 minutes on one core).
What is no setting of the library lives here only: the mean kept (divided by the deviation alone); the Euclidean distance in
place of the cosine, in losses and maps (CFR still searches its memory by cosine); and, with k = 1, a foreground without its
outermost pixels, or with the holes of the scan filled.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any, Self
from unittest.mock import patch

from mmadlib.pinned import pin

pin()  # before anything loads numpy
# ruff: noqa: E402

import pandas as pd
import torch
from scipy.ndimage import binary_erosion, binary_fill_holes

from mmadlib.atomic import atomic
from mmadlib.experiments.source import Source
from mmadlib.features import Features
from mmadlib.methods import METHODS
from mmadlib.methods.standardise import Standardiser
from mmadlib.metrics import image_auroc
from mmadlib.paths import RESULTS

FILE = RESULTS / "choices" / "anchor.csv"
KEYS = ["features", "category", "method", "setting", "subset"]
CATEGORIES = ("keyed", "free", "shape", "organic", "plain")
KINDS = ("k 0", "k 0.5", "k 1", "k 2", "mean kept", "euclidean", "rims left out", "holes filled")
ALONE = {"descriptors": KINDS[:6]}  # the foreground was looked at with learned features only
NOT_FOR = {"pirn": ("euclidean", "rims left out", "holes filled")}  # its losses and maps are others
RIM = 4  # pixels
SHOTS = 4


class MeanKept(Standardiser):
    """Divided by the deviation; the mean stays."""

    def fit(self, features: Sequence[Features]) -> Self:
        super().fit(features)
        self.mean = {side: torch.zeros_like(mean) for side, mean in self.mean.items()}
        return self


def squared(predicted: torch.Tensor, observed: torch.Tensor) -> torch.Tensor:
    """In place of cosine_loss."""
    return ((predicted.float() - observed.float()) ** 2).mean()


def distance(predicted: torch.Tensor, observed: torch.Tensor) -> torch.Tensor:
    """In place of prediction_error."""
    return (predicted - observed).norm(dim=-1) / observed.shape[-1] ** 0.5


def changed(features: Features, kind: str) -> Features:
    """With the foreground that a kind asks for."""
    silhouette = binary_fill_holes(features.foreground)
    if kind == "rims left out":
        return replace(features, foreground=features.foreground & binary_erosion(silhouette, iterations=RIM))
    return replace(features, foreground=silhouette) if kind == "holes filled" else features


def measure(source: Source, name: str, kind: str) -> Iterator[tuple[str, float]]:
    """Image AUROC of a method, over all defects and over those of each modality."""
    k = float(kind[2:]) if kind.startswith("k ") else 0.0 if kind in ("mean kept", "euclidean") else 1.0
    settings: dict[str, Any] = {} if name == "nearest" else {"anchor": k}
    model = METHODS[name](**settings)
    if kind == "mean kept":
        model.standardise = MeanKept()
    with ExitStack() as patched:
        if kind == "euclidean":
            for module in [m for n, m in sys.modules.items() if n.startswith("mmadlib.methods.")]:
                for old, new in {"cosine_loss": squared, "prediction_error": distance}.items():
                    if hasattr(module, old):
                        patched.enter_context(patch.object(module, old, new))
        model.fit([changed(f, kind) for f in source.prepare(source.draw(SHOTS, 0, "auto"))], progress=False)
        images = [model.score(changed(f, kind)).image for f in source.test]
    truths = [source.test.truth(i) for i in range(len(images))]
    for subset in ("all", "rgb", "xyz", "both", "relation"):
        kept = [i for i, t in enumerate(truths) if not t.label or subset in ("all", t.modality)]
        if any(truths[i].label for i in kept):
            yield subset, image_auroc([images[i] for i in kept], [truths[i].label for i in kept])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("methods", nargs="*", default=["cfm", "cpir", "cfr", "cmdr_iad", "pirn"])
    parser.add_argument("--features", nargs="*", default=["learned", "descriptors"])
    parser.add_argument("--kinds", nargs="*", default=KINDS)
    parser.add_argument("--categories", nargs="*", default=CATEGORIES)
    parser.add_argument("--into", type=Path, default=FILE)
    asked = parser.parse_args()
    found = pd.read_csv(asked.into) if asked.into.is_file() else pd.DataFrame(columns=[*KEYS, "i_auroc"])
    for features, category in product(asked.features, asked.categories):
        here = found[(found.features == features) & (found.category == category)]
        there = set(here[KEYS[2:4]].itertuples(index=False, name=None))
        wanted = [(method, kind) for method, kind in product(asked.methods, asked.kinds)
                  if kind in ALONE.get(features, KINDS) and kind not in NOT_FOR.get(method, ())]
        missing = [pair for pair in wanted if pair not in there]
        source = Source("rendered", category, data_seed=0, features=features, progress=False) if missing else None
        for method, kind in missing:
            values = dict(measure(source, method, kind))
            print(features, category, method, kind, {k: round(v, 3) for k, v in values.items()}, flush=True)
            rows = [(features, category, method, kind, subset, round(value, 4)) for subset, value in values.items()]
            found = pd.concat([found, pd.DataFrame(rows, columns=found.columns)]).sort_values(KEYS)
            asked.into.parent.mkdir(parents=True, exist_ok=True)
            with atomic(asked.into) as path:
                found.to_csv(path, index=False, lineterminator="\n")


if __name__ == "__main__":
    main()
