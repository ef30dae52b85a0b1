"""Listing folders: names match whatever their case and accents, files pair by number, nothing is left out in silence."""

from __future__ import annotations

import difflib
import os
import unicodedata
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

from mmadlib.atomic import is_temporary
from mmadlib.errors import DataError, explain

PICTURES = (".png", ".jpg", ".jpeg")
CLOUDS = (".tiff", ".tif")
INSIDE = {"rgb", "xyz", "train", "test"}  # a folder with one of these within holds samples


def folded(name: str) -> str:
    """A name as names are compared: without regard to case, letters with accents composed.

    >>> folded("PIE\u0300CE") == folded("pi\u00e8ce")
    True
    """
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", name).casefold())


def inside(folder: Path) -> list[Path]:
    """What lies in a folder. Raises DataError when it is none, or cannot be listed."""
    try:
        if not folder.is_dir():
            raise DataError(explain(folder, "is not a folder", "give the folder that holds the dataset"))
        return list(folder.iterdir())
    except OSError as err:
        fault = f"cannot be listed ({err.strerror or err})"
        raise DataError(explain(folder, fault, "check the folder and its permissions")) from None


def folders(root: Path) -> list[str]:
    """Names of the visible sub-folders, sorted. Raises DataError when `root` is not a folder, or a hidden one has samples."""
    there = [p for p in inside(root) if os.path.isdir(p)]  # Path.is_dir raises where one may not look
    for path in [p for p in there if p.name.startswith(".")]:
        with suppress(OSError):  # what a system hides may not be looked into
            if any(p.name.casefold() in INSIDE for p in path.iterdir()):
                raise _hidden(path)
    return sorted(p.name for p in there if not p.name.startswith("."))


def _hidden(path: Path) -> DataError:
    return DataError(explain(path, "is hidden, by the dot before its name, and may hold a sample",
                             "rename it or move it away"))


def child(folder: Path, *names: str) -> Path:
    """The sub-folder with one of these names, `folded`.

    Raises DataError: what was looked for and what exists, or two folders whose names do not differ, `folded`.
    """
    there = folders(folder)
    for name in names:
        same = [t for t in there if folded(t) == folded(name)]
        if len(same) > 1:
            raise DataError(explain(folder, f"has folders {' and '.join(map(ascii, same))}", "join them or rename one"))
        if same:
            return folder / same[0]
    near = difflib.get_close_matches(names[0], there, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}? " if near else ""
    raise DataError(explain(folder, f"has no folder {' or '.join(map(repr, names))}",
                            f"{hint}there are: {', '.join(there) or 'no folders'}"))


def number(name: str) -> int | str:
    """What a file is paired by: 7 for "007", otherwise the name, `folded`."""
    return int(name) if name.isdecimal() else folded(name)


def index(files: Iterable[Path], key: Callable[[Path], int | str] = lambda path: number(path.stem)) -> dict[int | str, Path]:
    """Files by their pairing key. Raises DataError when two files share one."""
    table: dict[int | str, Path] = {}
    for path in sorted(files):
        other = table.setdefault(key(path), path)
        if other != path:
            fault = f"has the same number as {other.name}"
            if unicodedata.normalize("NFC", other.name) == unicodedata.normalize("NFC", path.name):  # they look the same
                fault = f"is there twice, with its accents composed and not: {path.name!a}, {other.name!a}"
            raise DataError(explain(path, fault, "remove or rename one of the two"))
    return table


def files(folder: Path, suffixes: Iterable[str]) -> list[Path]:
    """Files of `folder` with one of these suffixes, in any case; other files are left alone.

    So are those named ._*, which macOS puts beside files, and half-written ones of ours. Raises DataError for any other hidden
    one: it may be a sample.
    """
    found = [p for p in inside(folder) if p.suffix.lower() in suffixes]
    found = [p for p in found if not p.name.startswith("._") and not is_temporary(p)]
    for path in found:
        if path.name.startswith("."):
            raise _hidden(path)
    return found


def pair(where: Path, **parts: dict[int | str, Path]) -> list[int | str]:
    """The keys that all parts share, sorted. Raises DataError naming a file that has no partner in some part."""
    every = set().union(*parts.values())
    for name, table in parts.items():
        lonely = sorted(next(t[k] for t in parts.values() if k in t) for k in every - set(table))
        if lonely:
            more = f" and {len(lonely) - 1} more" if len(lonely) > 1 else ""
            raise DataError(explain(where, f"{lonely[0].relative_to(where)}{more} has no matching {name} file",
                                    "each sample needs all its files under one number; add the missing or remove the extra"))
    if not every:
        raise DataError(explain(where, f"holds no {' or '.join(parts)} files", "check that the dataset is complete"))
    return sorted(every, key=lambda k: (isinstance(k, str), k))
