"""Road tiles with potholes, real stereo scans in the MVTec 3D-AD layout as written by mmadlib.data.convert.road.

Clouds are pseudo-metric: height is a robust score of the transformed disparity. The road fills the frame, so there is no
background to remove.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from mmadlib.data import layout
from mmadlib.data.files import Entry
from mmadlib.data.layout import categories
from mmadlib.data.texts import read_table
from mmadlib.errors import DataError, explain, unknown
from mmadlib.sample import Sample

__all__ = ["categories", "entries", "read"]

SUBSETS = ("all", "authors")
LEFT_OUT = (6, 7, 8, 13, 14, 15, 21, 22, 23, 37, 38, 39)  # frames of dataset2 that the authors do not evaluate


def entries(root: Path, category: str, split: str, subset: str = "all") -> list[Entry]:
    """Entries of the converted tiles, split train | test; extra["frame"] names the stereo frame.

    subset: all | authors (without the frames of dataset2 that the authors left out of their evaluation).
    Raises DataError or UnknownName.
    """
    if subset not in SUBSETS:
        raise unknown("road subset", subset, SUBSETS)
    if not Path(root).is_dir():
        raise DataError(explain(root, "holds no converted road data",
                                "clone github.com/ruirangerfan/stereo_pothole_datasets; mmadlib convert road CLONE data/road"))
    found = layout.entries(root, category, split, dataset="road")
    frame = _frames(layout.child(Path(root), category) / "tiles.csv")
    found = [replace(e, extra={"frame": frame.get((e.split, e.defect, e.rgb.stem), "")}) for e in found]
    left_out = {f"dataset2/{n:02d}" for n in LEFT_OUT} if subset == "authors" else set()
    return [e for e in found if e.extra["frame"] not in left_out]


def _frames(table: Path) -> dict[tuple[str, str, str], str]:
    """(split, defect, number) -> stereo frame, e.g. dataset1/07."""
    if not table.exists():
        raise DataError(explain(table, "is missing", "convert the road data again into a new folder"))
    rows = read_table(table, "split", "defect", "number", "frame")
    return {(row["split"], row["defect"], row["number"]): row["frame"] for row in rows}


def read(entry: Entry) -> Sample:
    """The tile as stored. Raises DataError."""
    return layout.read(entry, isolated=True)
