"""Where the captures of a depth camera lie: a folder of parts, or a whole dataset of such folders.

    <parts>/rgb (color, colour, images)/000.*                    pictures
    <parts>/depth (xyz, cloud, pointcloud, pcd)/000.*            depth pictures, or organised clouds
    <parts>/gt (ground_truth, masks)/000.*                       masks, where there are any

Files of one part share their number; words such as color_ and _depth around it do not count.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mmadlib.data.arrays import DEPTH_KINDS
from mmadlib.data.convert.organised import KINDS as CLOUD_KINDS
from mmadlib.data.listing import files, folded, folders, index, number, pair
from mmadlib.data.pictures import KINDS as PICTURE_KINDS
from mmadlib.errors import DataError, explain

PICTURES = ("rgb", "color", "colour", "images", "image")
GEOMETRY = ("depth", "xyz", "cloud", "clouds", "pointcloud", "pointclouds", "pcd", "ply")
MASKS = ("gt", "ground_truth", "masks", "mask")
LEVELS = 5  # category, split, kind of defect, and the folder itself
_WORDS = "rgb|colou?r|images?|img|depth|xyz|clouds?|pointclouds?|pcd|ply|gt|masks?"
_AROUND = re.compile(rf"^(?:{_WORDS})(?:[ _.-]+(?=\w)|(?=\d))|(?<=\w)[ _.-]+(?:{_WORDS})$", re.IGNORECASE)


@dataclass(frozen=True)
class Capture:
    """The files of one part, and where it goes: a folder below DST, and the name of its files without suffix."""

    rgb: Path
    geometry: Path
    gt: Path | None
    folder: Path
    name: str


def captures(src: Path) -> list[Capture]:
    """All parts below `src`, by folder and number. Raises DataError when there is none, or one lacks a file."""
    found = [capture for folder in _part_folders(src) for capture in _captures(src, folder)]
    if not found:
        raise DataError(explain(src, f"holds no parts; there are: {', '.join(folders(src)) or 'no folders'}",
                                "put the pictures into rgb/, the depth pictures into depth/, or give the folder above them"))
    return found


def stem(path: Path) -> str:
    """The name of a part: that of its files, without the words for what they hold.

    >>> stem(Path("depth_0012.png")), stem(Path("0012-color.png")), stem(Path("bolt.png"))
    ('0012', '0012', 'bolt')
    """
    return _AROUND.sub("", path.stem) or path.stem


def _part_folders(folder: Path, level: int = 0) -> Iterator[Path]:
    names = {folded(name) for name in folders(folder)}
    if names & set(PICTURES) or names & set(GEOMETRY):
        yield folder
    elif level < LEVELS:
        for name in folders(folder):
            yield from _part_folders(folder / name, level + 1)


def _captures(src: Path, folder: Path) -> list[Capture]:
    rgb, geometry, gt = (_one(folder, *names) for names in (PICTURES, GEOMETRY, MASKS))
    if rgb is None or geometry is None:
        lacking = "pictures (rgb/)" if rgb is None else "depth pictures or clouds (depth/)"
        raise DataError(explain(folder, f"has no folder of {lacking}; there are: {', '.join(folders(folder))}", "add it"))
    tables = {"rgb": _table(rgb, PICTURE_KINDS), geometry.name: _table(geometry, (*DEPTH_KINDS, *CLOUD_KINDS))}
    keys = pair(folder, **tables)
    masks = _table(gt, PICTURE_KINDS) if gt else {}
    if extra := [path for key, path in masks.items() if key not in keys]:
        raise DataError(explain(extra[0], "is a mask without a part", "add its picture and depth, or remove it"))
    return [Capture(tables["rgb"][key], tables[geometry.name][key], masks.get(key), folder.relative_to(src),
                    stem(tables["rgb"][key])) for key in keys]


def _one(folder: Path, *names: str) -> Path | None:
    """The sub-folder with one of these names. Raises DataError when there are several."""
    there = [name for name in folders(folder) if folded(name) in names]
    if len(there) > 1:
        raise DataError(explain(folder, f"has folders {' and '.join(there)} for one thing", "keep one"))
    return folder / there[0] if there else None


def _table(folder: Path, kinds: tuple[str, ...]) -> dict[int | str, Path]:
    """Files by number. Raises DataError when there are none, or two share one."""
    found = index(files(folder, kinds), key=lambda path: number(stem(path)))
    if not found:
        raise DataError(explain(folder, "holds no files of the kinds that are read", f"they are {', '.join(kinds)}"))
    return found
