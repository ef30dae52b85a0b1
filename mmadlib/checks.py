"""Checks of settings that many functions share. Each raises SettingsError that names the setting."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from numbers import Integral
from typing import TYPE_CHECKING, Any, get_args, get_type_hints

from mmadlib.errors import SettingsError, unknown

if TYPE_CHECKING:
    import torch


def typed(cls: type, given: dict[str, Any], kind: str) -> Any:
    """The dataclass `cls` from keywords, each of the type that `cls` declares; a whole number does for a float.

    Raises UnknownName or SettingsError; `kind` is what the message calls a keyword.
    """
    declared = get_type_hints(cls)
    for name, value in given.items():
        if name not in declared:
            raise unknown(kind, name, declared)
        want = get_args(declared[name]) or (declared[name],)  # of "bool | None" its parts
        fits = bool in want if isinstance(value, bool) else isinstance(value, (*want, int) if float in want else want)
        if not fits:
            raise SettingsError(f"{kind} {name}={value!r}: expected {want[0].__name__}, got {type(value).__name__}")
    return cls(**given)


def whole(name: str, value: int, least: int = 0) -> int:
    """`value` as a plain int. Raises SettingsError unless it is a whole number of at least `least`."""
    if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
        raise SettingsError(f"{name}={value!r}: a whole number from {least} on is needed")
    return int(value)


def check_seed(seed: int, name: str = "seed") -> int:
    """The seed as a plain int. Raises SettingsError unless it is a whole number from 0 on.

    >>> check_seed(3)
    3
    """
    return whole(name, seed)


def one_of(kind: str, name: Any, options: Iterable[str]) -> None:
    """UnknownName unless `name` is one of the options."""
    if name not in list(options):
        raise unknown(kind, name, options)


def check_fields(settings: Any, *, least: Mapping[str, int] | None = None, choices: Mapping[str, Iterable[str]] | None = None,
                 positive: Iterable[str] = (), not_negative: Iterable[str] = (), shares: Iterable[str] = ()) -> None:
    """Refuse impossible values in a dataclass of settings: UnknownName for a name, SettingsError for a number.

    least     field -> smallest whole number;   choices  field -> the names it may be
    positive, not_negative   fields that are finite and above 0, or not below it;   shares   above 0 and at most 1
    """
    for name, bound in (least or {}).items():
        whole(f"setting {name}", getattr(settings, name), bound)
    for name, options in (choices or {}).items():
        one_of(name, getattr(settings, name), options)
    for names, fits, words in ((positive, lambda x: 0 < x < math.inf, "finite and above 0"),
                               (not_negative, lambda x: 0 <= x < math.inf, "finite and not negative"),
                               (shares, lambda x: 0 < x <= 1, "above 0 and at most 1")):
        for name in names:
            if not fits(value := getattr(settings, name)):
                raise SettingsError(f"setting {name}={value!r}: must be {words}")


def check_device(name: str | torch.device) -> torch.device:
    """The torch device, once it has held a number."""
    import torch  # here, because readers check their seeds without it

    try:
        torch.zeros(1, device=torch.device(name)).item()
    except (RuntimeError, AssertionError, TypeError):  # the last two: torch without CUDA, no name at all
        raise SettingsError(f"device={str(name)!r} cannot be used on this machine; give 'cpu', or 'cuda' where a GPU and "
                            "a torch that knows it are installed") from None
    return torch.device(name)
