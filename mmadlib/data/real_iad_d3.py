"""Real-IAD D3 as delivered: one folder of views per sample, organised clouds, photometric-stereo pictures beside them.

    <class>/train/GOOD/{rgb/<sample>/*L05*RGB*.jpg, xyz/<sample>.tiff, ps/<sample>.jpg}
    <class>/test/{GOOD|<defect>}/{rgb, xyz, ps, gt/rgb/<sample>.png}

The published loader sorts the lists apart and zips them, so one missing file shifts every pair, and overwrites X and Y by
pixel indices (Real-IAD-D3/main dataset.py). Here files pair by the sample's name or number, and metric X and Y are kept.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from PIL import Image

from mmadlib.data.files import Entry
from mmadlib.data.images import BRIGHT, mark_invalid, read_mask, read_rgb, read_xyz
from mmadlib.data.layout import categories, sample
from mmadlib.data.listing import CLOUDS, PICTURES, child, files, folded, folders, index, number, pair
from mmadlib.errors import DataError, explain
from mmadlib.sample import Sample

__all__ = ["SPLITS", "categories", "entries", "read"]

SPLITS = ("train", "test")
_NO_SAMPLE = re.compile(r"l\d+|\d+d|rgb|xyz|ps|gt|mask")  # words of a name that do not tell samples apart


def entries(root: Path, category: str, split: str, view: str = "L05", resize: bool = False) -> list[Entry]:
    """Entries of one class; good first, then the defects by name. Raises DataError.

    view    which camera and light: part of the picture's name beside RGB
    resize  bring picture and mask to the cloud's grid when their sizes differ but not their shape; otherwise an error
    """
    base = child(Path(root), category)
    part = child(base, split)
    kinds = [child(part, kind).name for kind in (["good"] if split == "train" else folders(part))]
    found = []
    for kind in sorted(kinds, key=lambda k: (k.casefold() != "good", k)):
        defect = "good" if kind.casefold() == "good" else kind
        parts = _parts(part / kind, view, normal=defect == "good")
        for key in pair(part / kind, **parts):
            extra = {"resize": resize} | ({"ps": parts["ps"][key]} if "ps" in parts else {})
            gt = parts["gt"][key] if "gt" in parts else None
            found.append(Entry(parts["rgb"][key], parts["xyz"][key], gt, base.name, split, defect, "", "real_iad_d3", extra))
    return found


def read(entry: Entry) -> Sample:
    """The sample; a point with NaN (in Z, as delivered) is invalid, every other one valid. Coordinates as stored.

    Raises DataError.
    """
    xyz = read_xyz(entry.xyz)
    rgb = read_rgb(entry.rgb)
    mask = read_mask(entry.gt, BRIGHT, rgb.shape[:2]) if entry.gt else None
    if entry.extra["resize"] and rgb.shape[:2] != xyz.shape[:2]:
        rgb = _resized(entry.rgb, rgb, xyz, Image.Resampling.BOX)
        if entry.gt and mask is not None:
            mask = _resized(entry.gt, mask.astype(np.uint8), xyz, Image.Resampling.NEAREST) > 0
    return sample(entry, rgb, mark_invalid(xyz, (xyz != 0).any(-1)), mask, isolated=True)


def sample_stem(name: str) -> int | str:
    """What a name says of its sample, without the view, "3D" and what the file holds: s0001 for S0001_L05_RGB or S0001_3D."""
    words = [word for word in re.split(r"[\W_]+", folded(name)) if word and not _NO_SAMPLE.fullmatch(word)]
    return number("_".join(words) or name)


def sample_number(name: str) -> int | str:
    """The last number of three or more digits in the sample's stem, else the last one, else the stem: 7 for part3_0007_L05."""
    stem = str(sample_stem(name))
    digits = re.findall(r"\d{3,}", stem) or re.findall(r"\d+", stem)
    return number(digits[-1]) if digits else stem


def _parts(folder: Path, view: str, normal: bool) -> dict[str, dict[int | str, Path]]:
    """Files of each kind by sample, by stem where all kinds share some and by number otherwise; ps only where delivered."""
    names = {"rgb": _views(child(folder, "rgb"), view), "xyz": _named(child(folder, "xyz"), CLOUDS)}
    if any(name.casefold() == "ps" for name in folders(folder)):
        names["ps"] = _named(child(folder, "ps"), PICTURES)
    if not normal:
        masks = child(folder, "gt")
        nested = any(name.casefold() == "rgb" for name in folders(masks))
        names["gt"] = _named(child(masks, "rgb") if nested else masks, PICTURES)
    stems = [set(map(sample_stem, table.values())) for table in names.values()]
    key = sample_stem if set.intersection(*stems) else sample_number
    name_of = {path: name for table in names.values() for path, name in table.items()}
    return {kind: index(table, lambda path: key(name_of[path])) for kind, table in names.items()}


def _named(folder: Path, suffixes: tuple[str, ...]) -> dict[Path, str]:
    return {path: path.stem for path in files(folder, suffixes)}


def _views(folder: Path, view: str) -> dict[Path, str]:
    """One picture per sample folder, by the folder's name, or all pictures by their own where there are no such folders.

    Raises DataError when the view is missing or there twice.
    """
    chosen = {}
    for name in folders(folder):
        there = files(folder / name, PICTURES)
        match = [p for p in there if folded(view) in folded(p.stem) and "rgb" in folded(p.stem)]
        if len(match) != 1:
            raise DataError(explain(folder / name, f"has {len(match)} pictures named *{view}*RGB*, one is needed",
                                    f"choose another view; there are: {', '.join(sorted(p.name for p in there)) or 'none'}"))
        chosen[match[0]] = name
    return chosen or _named(folder, PICTURES)


def _resized(path: Path, pixels: np.ndarray, xyz: np.ndarray, how: Image.Resampling) -> np.ndarray:
    (height, width), (rows, columns) = xyz.shape[:2], pixels.shape[:2]
    if abs(rows * width - columns * height) > 0.01 * rows * width:
        raise DataError(explain(path, f"is {columns}x{rows} and its cloud {width}x{height}, not of one shape",
                                "picture and cloud must show the same field"))
    return np.array(Image.fromarray(pixels).resize((width, height), how))
