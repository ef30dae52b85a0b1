"""Real-IAD D3 as delivered: one folder of views per sample, organised clouds, photometric-stereo pictures beside them.

    <class>/train/GOOD/{rgb/<sample>/*L05*RGB*.jpg, xyz/<sample>.tiff, ps/<sample>.jpg}
    <class>/test/{GOOD|<defect>}/{rgb, xyz, ps, gt/rgb/<sample>.png}

The published loader sorts the lists apart and zips them, so one missing file shifts every pair, and overwrites X and Y by
pixel indices (Real-IAD-D3/main dataset.py). Here files pair by the sample's number, and metric X and Y are kept.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from PIL import Image

from mmadlib.data.files import Entry
from mmadlib.data.images import mark_invalid, read_mask, read_rgb, read_xyz
from mmadlib.data.layout import CLOUDS, PICTURES, categories, child, files, folders, index, number, pair, sample
from mmadlib.errors import DataError, explain
from mmadlib.sample import Sample

__all__ = ["SPLITS", "categories", "entries", "read"]

SPLITS = ("train", "test")
_VIEW = re.compile(r"(?<![A-Za-z0-9])L\d+(?![A-Za-z0-9])", re.IGNORECASE)


def entries(root: Path, category: str, split: str, view: str = "L05", resize: bool = False) -> list[Entry]:
    """Entries of one class; good first, then the defects by name. Raises DataError.

    view    which camera and light: part of the picture's name beside RGB
    resize  bring picture and mask to the cloud's grid when their sizes differ but not their shape; otherwise an error
    """
    base = child(Path(root), category)
    part = child(base, split)
    kinds = [child(part, "good").name] if split == "train" else folders(part)
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
    rgb, mask = read_rgb(entry.rgb), read_mask(entry.gt) if entry.gt else None
    if entry.extra["resize"] and rgb.shape[:2] != xyz.shape[:2]:
        rgb = _resized(entry.rgb, rgb, xyz, Image.Resampling.BOX)
        mask = None if mask is None else _resized(entry.gt, mask.astype(np.uint8), xyz, Image.Resampling.NEAREST) > 0
    return sample(entry, rgb, mark_invalid(xyz, (xyz != 0).any(-1)), mask, isolated=True)


def sample_number(name: str) -> int | str:
    """The last number of a name, its view aside: S0007, part_0007 and 0007_L05 are all 7; without one, the name."""
    digits = re.findall(r"\d+", _VIEW.sub("", name.replace("_", " ")))
    return number(digits[-1]) if digits else number(name)


def _parts(folder: Path, view: str, normal: bool) -> dict[str, dict[int | str, Path]]:
    """Files of each kind by sample number; ps only where it was delivered."""
    by_name = lambda path: sample_number(path.stem)  # noqa: E731
    parts = {"rgb": _views(child(folder, "rgb"), view), "xyz": index(files(child(folder, "xyz"), CLOUDS), by_name)}
    if any(name.casefold() == "ps" for name in folders(folder)):
        parts["ps"] = index(files(child(folder, "ps"), PICTURES), by_name)
    if not normal:
        masks = child(folder, "gt")
        if any(name.casefold() == "rgb" for name in folders(masks)):
            masks = child(masks, "rgb")
        parts["gt"] = index(files(masks, PICTURES), by_name)
    return parts


def _views(folder: Path, view: str) -> dict[int | str, Path]:
    """One picture per sample folder, or all pictures where there are no such folders.

    Raises DataError when the view is missing or there twice.
    """
    if not folders(folder):
        return index(files(folder, PICTURES), key=lambda path: sample_number(path.stem))
    chosen = []
    for name in folders(folder):
        there = files(folder / name, PICTURES)
        match = [p for p in there if view.casefold() in p.stem.casefold() and "rgb" in p.stem.casefold()]
        if len(match) != 1:
            raise DataError(explain(folder / name, f"has {len(match)} pictures named *{view}*RGB*, one is needed",
                                    f"choose another view; there are: {', '.join(sorted(p.name for p in there)) or 'none'}"))
        chosen += match
    return index(chosen, key=lambda path: sample_number(path.parent.name))


def _resized(path: Path, pixels: np.ndarray, xyz: np.ndarray, how: Image.Resampling) -> np.ndarray:
    (height, width), (rows, columns) = xyz.shape[:2], pixels.shape[:2]
    if abs(rows * width - columns * height) > 0.01 * rows * width:
        raise DataError(explain(path, f"is {columns}x{rows} and its cloud {width}x{height}, not of one shape",
                                "picture and cloud must show the same field"))
    return np.array(Image.fromarray(pixels).resize((width, height), how))
