"""Few-shot draws: which training samples stand for 1, 2, 4, 5, 10 or 50 shots.

Source: CFR draws once from numpy's default_rng(42) (Yuan-Honoka-Guo/CFR models/dataset.py); CPIR reports the mean of five
random trials; CFM takes the first n files (CVLAB-Unibo/crossmodal-feature-mapping issue 15). No family is nested.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from mmadlib.checks import check_seed, whole
from mmadlib.errors import SettingsError, unknown

RULES = ("auto", "fixed", "random", "first")
FIXED_SEED = 42
FIXED_SHOTS = (1, 2, 4)


def draw(n: int, shots: int | None, seed: int = 0, rule: str = "auto") -> list[int]:
    """Sorted indices into n training samples in file order; shots None takes all of them.

    rule: fixed (CFR: seed 42 whatever `seed` says) | random (by `seed`) | first (CFM) | auto (fixed for 1, 2 and 4 shots,
    random otherwise). Raises SettingsError on an unknown rule or a seed or number of shots that cannot be (shots: 1 to n).

    >>> draw(244, 4), draw(244, 2, rule="first")
    ([21, 107, 159, 187], [0, 1])
    """
    if rule not in RULES:
        raise unknown("few-shot rule", rule, RULES)
    seed = check_seed(seed)
    if shots is None:
        return list(range(n))
    if whole("shots", shots, 1) > n:
        raise SettingsError(f"shots={shots}: there are only {n} training samples; ask for {n} or fewer, or None for all")
    if rule == "first":
        return list(range(shots))
    fixed = rule == "fixed" or (rule == "auto" and shots in FIXED_SHOTS)
    picked = np.random.default_rng(FIXED_SEED if fixed else seed).choice(n, shots, replace=False)
    return sorted(picked.tolist())


def draws(n: int, shots: int | None, seeds: Iterable[int] = range(5), rule: str = "auto") -> dict[int, list[int]]:
    """The draw of every seed, to be listed; a fixed or first draw is the same for all seeds."""
    return {seed: draw(n, shots, seed, rule) for seed in seeds}
