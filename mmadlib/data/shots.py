"""Few-shot draws: which training samples stand for 1, 2, 4, 5, 10 or 50 shots.

Source: CFR draws once from numpy's default_rng(42) (Yuan-Honoka-Guo/CFR models/dataset.py); CPIR reports the mean of five
random trials; CFM takes the first n files (CVLAB-Unibo/crossmodal-feature-mapping issue 15). No family is nested.

One's own draw is a list of names instead of a number, or a text file with one name a line.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TypeGuard

import numpy as np

from mmadlib.checks import check_seed, whole
from mmadlib.data.listing import folded
from mmadlib.errors import SettingsError, explain, unknown
from mmadlib.paths import here, shown
from mmadlib.untrusted import read_text

Shots = int | None | str | Path | Sequence[str]  # how many, all of them, a file of names, names

RULES = ("auto", "fixed", "random", "first")
NAMED = "named"  # what the record of a run on one's own draw has for its rule
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


def chosen(files: Sequence[Path], shots: Shots, seed: int = 0, rule: str = "auto") -> list[int]:
    """Sorted indices into training samples, given by their pictures: `draw` for a number of shots or None, `named` for a list
    of names, or for a text file of them (a path). Raises as these."""
    return named(files, shots) if by_name(shots) else draw(len(files), shots, seed, rule)  # type: ignore[arg-type]


def by_name(shots: object) -> TypeGuard[str | Path | Sequence[str]]:
    """Whether shots are given by their names, or by a file of them."""
    return isinstance(shots, (str, Path, list, tuple))


def names_of(shots: str | Path | Sequence[str]) -> list[tuple[str, str]]:
    """(name, where it stands) of one's own draw: a list of names, or a text file, one name a line; blank lines and lines that
    begin with # are passed over. Raises SettingsError for a file that cannot be read or what is no name."""
    if isinstance(shots, (str, Path)):
        path = here(shots)
        lines = enumerate(read_text(path, SettingsError, remedy="write one name a line").splitlines(), 1)
        return [(line.strip(), f"{shown(path)}, line {n}") for n, line in lines if line.strip() and not line.startswith("#")]
    for name in shots:
        if not isinstance(name, str):
            raise SettingsError(f"shots={name!r}: names are text such as '000', or give the number of shots")
    return [(name, f"shots[{i}]") for i, name in enumerate(shots)]


def named(files: Sequence[Path], shots: str | Path | Sequence[str]) -> list[int]:
    """Sorted indices of the samples with these names, of their pictures with or without ending, in upper or lower case.

    Raises SettingsError, with the file and line, for an unknown, repeated or ambiguous name, or none at all.
    """
    asked = names_of(shots)
    if not asked:
        where = shown(here(shots)) if isinstance(shots, (str, Path)) else "shots"
        raise SettingsError(explain(where, "names no training sample", "write one name a line, or give the number of shots"))
    places: dict[str, list[int]] = {}
    for i, file in enumerate(files):
        for name in {folded(file.stem), folded(file.name)}:
            places.setdefault(name, []).append(i)
    found: dict[int, str] = {}
    for name, where in asked:
        same = places.get(folded(name), [])
        if len(same) != 1:
            near = difflib.get_close_matches(name, [file.stem for file in files], n=1, cutoff=0.5)
            fault = f"{len(same)} training samples are called {name!r}" if same else f"no training sample is called {name!r}"
            hint = f"did you mean {near[0]!r}?" if near and not same else f"there are: {_few([f.name for f in files])}"
            raise SettingsError(explain(where, fault, hint))
        if same[0] in found:
            raise SettingsError(explain(where, f"{name!r} was named before, at {found[same[0]]}", "name every sample once"))
        found[same[0]] = where
    return sorted(found)


def _few(names: Sequence[str], most: int = 8) -> str:
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")


def draws(n: int, shots: int | None, seeds: Iterable[int] = range(5), rule: str = "auto") -> dict[int, list[int]]:
    """The draw of every seed, to be listed; a fixed or first draw is the same for all seeds."""
    return {seed: draw(n, shots, seed, rule) for seed in seeds}
