"""Checks of settings that many functions share."""

from __future__ import annotations

from numbers import Integral

from mmadlib.errors import SettingsError


def check_seed(seed: int, name: str = "seed") -> int:
    """The seed as a plain int. Raises SettingsError unless it is a whole number from 0 on.

    >>> check_seed(3)
    3
    """
    if isinstance(seed, bool) or not isinstance(seed, Integral) or seed < 0:
        raise SettingsError(f"{name}={seed!r}: a whole number from 0 on is needed")
    return int(seed)
