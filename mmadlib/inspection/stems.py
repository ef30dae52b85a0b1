"""File names for parts: readable, safe on every file system, no two alike."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

LONGEST = 120  # bytes in UTF-8, which leaves room for a number and a suffix below the 255 of file systems
RESERVED = frozenset({"con", "prn", "aux", "nul", *(f"{kind}{i}" for kind in ("com", "lpt") for i in range(1, 10))})


def stems(names: Iterable[str]) -> list[str]:
    """One file name without suffix for each name, in order.

    Letters and digits of any script stay, all else becomes an underscore. No two are equal, not even where a file system
    does not tell capitals apart or accents written in two ways; names that Windows keeps for devices are given an underscore.

    >>> stems(["Träger 1", "träger/1", "<b>", "=1+1", "con"])
    ['Träger_1', 'träger_1-2', 'b', '1_1', 'con_']
    """
    taken: set[str] = set()
    return [_unique(_safe(name), taken) for name in names]


def _safe(name: str) -> str:
    kept = "".join(c if c.isalnum() or c in "-_." else "_" for c in unicodedata.normalize("NFC", name))
    stem = kept.encode()[:LONGEST].decode(errors="ignore").strip("._-") or "part"
    return f"{stem}_" if stem.partition(".")[0].lower() in RESERVED else stem


def _unique(stem: str, taken: set[str]) -> str:
    """The stem, or with the first number that is free; `taken` learns it."""
    found, number = stem, 1
    while (key := unicodedata.normalize("NFKC", found).casefold()) in taken:
        number += 1
        found = f"{stem}-{number}"
    taken.add(key)
    return found
