"""Held-out scores: every good part is scored by a model that has not seen it.

Training scores say nothing of new parts (a bank of neighbours knows its own by heart), so the good parts are left out in
turns: one at a time for methods that fit in a second or two, where there are at most ONE_BY_ONE parts, in FOLDS_QUICK groups
beyond; in FOLDS_TRAINED groups for methods that train networks. Features are made once, fits see some of them.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mmadlib.checks import whole
from mmadlib.errors import SettingsError
from mmadlib.features import Features
from mmadlib.methods import METHODS, Method, Scores
from mmadlib.methods.trained import Trained
from mmadlib.progress import bar
from mmadlib.workers import pool

ONE_BY_ONE, FOLDS_QUICK, FOLDS_TRAINED = 20, 10, 5
FOLDING = 11  # stream of random numbers: which parts are left out together


def folds_of(method: str, parts: int, folds: int | None = None) -> int:
    """How many groups are left out in turns. Raises SettingsError for fewer than 2 or more than there are parts."""
    if folds is None:
        trained = issubclass(METHODS[method], Trained)
        return min(parts, FOLDS_TRAINED) if trained else parts if parts <= ONE_BY_ONE else FOLDS_QUICK
    if whole("folds", folds, 2) > parts:
        raise SettingsError(f"folds={folds}: there are {parts} good parts; give at most as many folds")
    return folds


def groups(parts: int, folds: int, seed: int = 0) -> list[list[int]]:
    """The places of the parts in so many groups of nearly equal size, drawn at random.

    >>> sorted(sum(groups(5, 2), []))
    [0, 1, 2, 3, 4]
    """
    order = np.random.default_rng([seed, FOLDING]).permutation(parts)
    return [sorted(group.tolist()) for group in np.array_split(order, folds)]


def workers() -> int:
    """Processes that may be started without asking: as many as there are cores in a notebook; one in a script, which every
    new process would run again if it does not guard itself by `if __name__ == "__main__"`."""
    return os.cpu_count() or 1 if getattr(sys.modules["__main__"], "__file__", None) is None else 1


def fitted(method: str, seed: int, device: str, settings: Mapping[str, Any], features: Sequence[Features],
           apart: Sequence[int], progress: bool = False) -> tuple[Method, list[Scores]]:
    """A model of all features but those apart, and its scores of these."""
    model = METHODS[method](seed=seed, device=device, **settings)
    left = set(apart)
    model.fit([f for i, f in enumerate(features) if i not in left], progress)
    return model, [model.score(features[i]) for i in apart]


def held_out(method: str, features: Sequence[Features], *, folds: int | None = None, seed: int = 0, device: str = "cpu",
             settings: Mapping[str, Any] | None = None, jobs: int = 1, progress: bool = True) -> tuple[Method, list[Scores]]:
    """The model of all parts, and for every part the scores of a model without it, in order.

    folds    groups that are left out in turns; None: as `folds_of` has it; 0: none, the list is empty
    jobs     processes, where the method trains networks on the CPU; the same numbers however many there are
    Raises SettingsError for impossible folds, TrainingError and others as the method does on fewer parts than there are.
    """
    folds = folds if folds == 0 else folds_of(method, len(features), folds)
    apart = [*groups(len(features), folds, seed), []] if folds else [[]]
    label = f"{method}: held-out fits" if folds else f"{method}: fit"
    given = (method, seed, device, dict(settings or {}))
    if jobs > 1 and folds and issubclass(METHODS[method], Trained) and device == "cpu":
        with pool(min(jobs, folds)) as processes:
            started = [processes.submit(_scored, *given, list(features), some) for some in apart[:-1]]
            model = fitted(*given, features, [], progress)[0]  # here, meanwhile: not every model can be sent between processes
            found = [task.result() for task in bar(started, label, progress)]
    else:
        alone = len(apart) == 1
        tasks = [fitted(*given, features, some, progress and alone) for some in bar(apart, label, progress and not alone)]
        model, found = tasks[-1][0], [scored for _, scored in tasks[:-1]]
    scores = {i: score for some, those in zip(apart[:-1], found, strict=True) for i, score in zip(some, those, strict=True)}
    return model, [scores[i] for i in sorted(scores)]


def _scored(*given: Any) -> list[Scores]:
    """What a process sends back: the scores alone."""
    return fitted(*given)[1]
