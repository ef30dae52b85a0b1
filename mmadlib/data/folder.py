"""Any folder in the MVTec 3D-AD layout; numbers, sizes, invalid marks and background are read from the files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from mmadlib.data import layout
from mmadlib.data.files import Entry
from mmadlib.data.layout import categories
from mmadlib.sample import Sample

__all__ = ["categories", "entries", "read"]


def entries(root: Path, category: str, split: str, isolated: bool | None = None) -> list[Entry]:
    """Entries of one category. Raises DataError.

    isolated: whether the background is (0, 0, 0) already; None lets the rim of every cloud tell (fewer than 50 valid rim
    points). A table that is still there stays in the features unless they are extracted with isolate=True.
    """
    found = layout.entries(root, category, split, dataset="folder")
    return [replace(entry, extra={"isolated": isolated}) for entry in found]


def read(entry: Entry) -> Sample:
    """The sample as stored. Raises DataError."""
    return layout.read(entry, isolated=entry.extra["isolated"])
