"""The errors a user can cause, each with one sentence that names the thing, the fault and the remedy."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path

from mmadlib.names import printable


class MmadError(Exception):
    """Base of every error raised on purpose: catching it catches all of them and no programming error."""

    def __str__(self) -> str:
        """The message, whatever names it quotes; not that of KeyError, which would be a repr."""
        return printable(Exception.__str__(self), keep="\n")


class DataError(MmadError):
    """A dataset folder or file is missing, misnamed, truncated, unpaired or holds impossible values."""


class PreprocessError(MmadError):
    """A cloud cannot be preprocessed: no rim points, no plane, or processed already."""


class WeightsError(MmadError):
    """Backbone weights are missing, of the wrong kind or hash, or would need pickle."""


class CacheError(MmadError):
    """The feature cache cannot be written or read."""


class OutputError(MmadError):
    """Results or models cannot be written where they should go."""


class TrainingError(MmadError):
    """Training cannot start or go on: nothing to train on, or a loss is not finite."""


class MissingModality(MmadError):
    """A method needs colour or 3D, and a sample has none."""


class MetricUndefined(MmadError, ValueError):
    """A metric has no value on this input, e.g. AUROC with one class only."""


class SettingsError(MmadError, ValueError):
    """A setting or parameter has the wrong type or an impossible value."""


class UnknownName(SettingsError, KeyError):
    """A dataset, method, feature or parameter name that does not exist."""


def unknown(kind: str, name: object, options: Iterable[str]) -> UnknownName:
    """The error for a misspelt name: says what exists and suggests the nearest.

    >>> str(unknown("method", "cfn", ["cfm", "cpir"]))
    "unknown method 'cfn': did you mean 'cfm'? There are: cfm, cpir"
    """
    options = sorted(options)
    near = difflib.get_close_matches(str(name), options, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return UnknownName(f"unknown {kind} {str(name)!r}: {hint}There are: {', '.join(options)}")


def explain(path: str | Path, fault: str, remedy: str) -> str:
    """The message all file errors share.

    >>> explain("a.png", "is truncated", "copy it again")
    'a.png: is truncated; copy it again'
    """
    return f"{printable(str(path))}: {fault}; {remedy}"
