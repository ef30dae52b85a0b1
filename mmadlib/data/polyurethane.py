"""Cutting edges of polyurethane parts from a laser profilometer, 3D only (CMDR-IAD, arXiv 2603.03939).

    <root>/{train,test}.npy           floating point (n, 9216, 3) or (n, 4096, 3): chunks of consecutive points, each axis
                                      of each chunk scaled to [-1, 1], so coordinates have no unit
    <root>/{train,test}_gtmask.npy    0 or 1 (n, 9216 or 4096)
    <root>/test_label.npy             0 or 1 (n,)

Written by mmadlib.data.convert.polyurethane or by the official script (ECGAI-Research/CMDR-IAD polyurethane_experiments).

Labels are PSEUDO-labels, the outliers of an isolation forest on the same points: a score says how far a method agrees with
that forest, not with people. With 28 anomalous chunks of 235, an image AUROC of .93 has a standard error of .034 (Hanley and
McNeil, Radiology 1982). Normal chunks may hold single outliers, so their masks are not empty.
"""

from __future__ import annotations

import os
from math import isqrt
from pathlib import Path

import numpy as np

from mmadlib.data.files import Entry
from mmadlib.errors import DataError, explain, unknown
from mmadlib.sample import Sample
from mmadlib.untrusted import regular

__all__ = ["categories", "entries", "read"]

SPLITS = ("train", "test")
CATEGORY = "cutting_edges"
POINTS = (9216, 4096)  # of a chunk: a grid of 96 x 96 or 64 x 64, row-major
CHUNKS = 100_000  # of a file: 11 GB of coordinates, and a name in the list for each; CMDR-IAD has some hundreds
_CONVERT = "give the folder of the .npy files; mmadlib convert polyurethane makes them from the scans"


def categories(root: Path) -> list[str]:
    """The one category. Raises DataError when `root` holds no training chunks."""
    if not os.path.exists(Path(root) / "train.npy"):
        raise DataError(explain(root, "holds no train.npy", _CONVERT))
    return [CATEGORY]


def entries(root: Path, category: str, split: str) -> list[Entry]:
    """An entry for every chunk, at <file>.npy/<row>; the points themselves are not read. Raises DataError, UnknownName."""
    root = Path(root)
    if category not in categories(root):
        raise unknown("polyurethane category", category, [CATEGORY])
    points, masks = root / f"{split}.npy", root / f"{split}_gtmask.npy"
    shape = _chunks(points).shape
    _check_length(masks, open_array(masks), shape[:2])
    labels = _labels(root / "test_label.npy", shape[0]) if split == "test" else np.zeros(shape[0], int)
    found = []
    for row, bad in enumerate(labels):
        place = points / f"{row:05d}"
        found.append(Entry(place, place, masks / place.name, CATEGORY, split, "outlier" if bad else "good",
                           "xyz" if bad else "", "polyurethane", {"row": row}))
    return found


def read(entry: Entry) -> Sample:
    """A chunk as an organised cloud, float32 (96, 96, 3) or (64, 64, 3) in file order; every point is valid.

    There is no colour: rgb is black and missing="rgb". Raises DataError.
    """
    assert entry.gt is not None  # entries() gives every chunk a mask
    row, source = entry.extra["row"], entry.xyz.parent
    xyz = np.array(_chunks(source)[row], dtype=np.float32)
    if not np.isfinite(xyz).all():
        raise DataError(explain(entry.xyz, "holds NaN or infinite points", "convert the scans again, or leave the chunk out"))
    grid = (isqrt(len(xyz)),) * 2
    flags = np.array(open_array(entry.gt.parent)[row])
    if not np.isin(flags, (0, 1)).all():
        raise DataError(explain(entry.gt, "is a mask with other values than 0 and 1", "convert the scans again"))
    return Sample(np.zeros((*grid, 3), np.uint8), xyz.reshape(*grid, 3), np.ones(grid, bool), flags.reshape(grid) == 1,
                  label=entry.label, defect=entry.defect, category=entry.category, split=entry.split, path=entry.xyz,
                  modality=entry.modality, isolated=True, dataset=entry.dataset, missing="rgb", extra=entry.extra)


def open_array(path: Path) -> np.ndarray:
    """The array of a .npy file, its rows read when taken. Raises DataError when it is missing or truncated."""
    if not os.path.exists(path):
        raise DataError(explain(path, "does not exist", _CONVERT))
    regular(path)
    try:
        return np.lib.format.open_memmap(path, mode="r")
    except (OSError, ValueError, EOFError, OverflowError, MemoryError, RecursionError) as err:  # of strange headers
        raise DataError(explain(path, f"is truncated or no .npy array ({' '.join(str(err).split())})",
                                "copy or convert it again")) from None


def _chunks(path: Path) -> np.ndarray:
    array = open_array(path)
    if array.ndim != 3 or array.shape[1] not in POINTS or array.shape[2] != 3:
        raise DataError(explain(path, f"has shape {array.shape}", "chunks are (n, 9216, 3) or (n, 4096, 3)"))
    if len(array) > CHUNKS:
        raise DataError(explain(path, f"has {len(array)} chunks, more than {CHUNKS}", "leave some out"))
    if array.dtype.kind != "f":
        raise DataError(explain(path, f"holds {array.dtype} values", "coordinates must be floating point"))
    return array


def _labels(path: Path, count: int) -> np.ndarray:
    labels = open_array(path)
    _check_length(path, labels, (count,))
    if not np.isin(labels, (0, 1)).all():
        raise DataError(explain(path, "holds other labels than 0 and 1", "convert the scans again"))
    return np.array(labels)


def _check_length(path: Path, array: np.ndarray, expected: tuple[int, ...]) -> None:
    if array.shape != expected:
        raise DataError(explain(path, f"has shape {array.shape}, the chunks ask for {expected}",
                                "keep the files of one conversion together"))
