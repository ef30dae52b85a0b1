"""One's own parts in the MVTec 3D-AD layout, as people have it; sizes, invalid marks and background are read from the files.

    <root>/<category>/{train,validation}/good/{rgb/000.png, xyz/000.tiff}
    <root>/<category>/test/{good,<defect>}/{rgb/000.png, xyz/000.tiff, gt/000.png}

Good parts lie in a folder good, ok, or normal, however it is spelt (OK, Good); train/ may hold their rgb/ and xyz/ itself, and
a category that has only good parts may lack train/. Masks are optional: a part of test/ without one, outside of the folder
of good parts, is unlabelled (label -1: scored, in no metric). Pictures and clouds may be of the kinds in data.pictures and
data.arrays; what else people have is declared by the fields of data.reading.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

from mmadlib.data import layout
from mmadlib.data.files import Entry
from mmadlib.data.kinds import check_masks, holds_parts, triples
from mmadlib.data.listing import child, folded, folders
from mmadlib.data.own import extra_of, placed, read
from mmadlib.data.unlabelled import UNLABELLED, Unlabelled
from mmadlib.errors import DataError, explain

__all__ = ["categories", "entries", "read"]

GOOD = ("good", "ok", "normal")  # folders of good parts, in any case


def entries(root: Path, category: str, split: str, isolated: bool | None = None, units: str | None = None,
            invalid: Any = None, axes: str | None = None, intrinsics: str | Path | None = None,
            depth_scale: float | None = None, orientation: str = "auto", resample: bool = False,
            masks: str = "auto", mask_rule: str = "nearest") -> list[Entry]:
    """Entries of one category: good first, then the other folders by name, each in order of its numbers.

    isolated, units, ...: see data.reading.Reading. A table that is still there stays in the features unless they are extracted
    with isolate=True. Warns of a folder in which some parts have a mask and some have not. Raises DataError, SettingsError.
    """
    options = {"isolated": isolated, "units": units, "invalid": invalid, "axes": axes, "intrinsics": intrinsics,
               "depth_scale": depth_scale, "orientation": orientation, "resample": resample, "masks": masks,
               "mask_rule": mask_rule}
    base = child(Path(root), category)
    reading = placed(options, base, Path(root))
    label = layout.modalities(base)
    found: list[Entry] = []
    for folder, defect in _kinds(base, split):
        parts = triples(folder, reading, masks=defect != "good")
        without = [rgb for rgb, _, gt in parts if gt is None]
        if defect != "good" and 0 < len(without) < len(parts):
            warnings.warn(explain(folder, f"{len(without)} of {len(parts)} parts have no mask and count as unlabelled, "
                                          f"{without[0].name} first", "add their masks"), stacklevel=2)
        for rgb, xyz, gt in parts:
            kind = Entry if gt or defect == "good" else Unlabelled
            modality = label.get(folded(defect), "") if gt else ""
            found.append(kind(rgb, xyz, gt, base.name, split, defect, modality, "folder", extra_of(reading)))
    return found


def _kinds(base: Path, split: str) -> list[tuple[Path, str]]:
    """Folders of parts of a split and what they are called: good first, then the defects by name."""
    there = {folded(name) for name in folders(base)}
    names = layout.SPLITS.get(split, (split,))
    if split == "train" and "train" not in there and there & set(GOOD):
        return [(_good(base), "good")]
    if split == "test" and "test" not in there and (there & set(GOOD) or there == {"train"}):
        raise DataError(explain(base, "holds good parts only, nothing to test", "add test/, or give other parts to "
                                                                               "mmadlib.inspection (mmadlib predict)"))
    part = child(base, *names)
    if holds_parts(part):
        return [(part, UNLABELLED if split not in ("train", "validation", "val") else "good")]
    if split in ("train", "validation", "val"):
        return [(_good(part), "good")]
    check_masks(base)
    kinds = folders(part)
    if not kinds:
        raise DataError(explain(part, "holds no folders", "good and one folder per defect are needed"))
    good = [(_good(part), "good")] if {folded(name) for name in kinds} & set(GOOD) else []
    return good + [(child(part, name), name) for name in kinds if folded(name) not in GOOD]


def _good(part: Path) -> Path:
    """The folder of the good parts. Raises DataError when there is none, or several."""
    named = [name for name in folders(part) if folded(name) in GOOD]
    if len(named) > 1:
        raise DataError(explain(part, f"has folders {' and '.join(map(ascii, named))}", "join them or rename one"))
    return child(part, *(named or GOOD))


def categories(root: Path) -> list[str]:
    """Folders of `root` that hold a train folder, or a folder of good parts, sorted. Raises DataError when there is none."""
    root = Path(root)
    found = []
    for name in folders(root):
        within = folders(root / name)
        if any(folded(n) == "train" or (folded(n) in GOOD and holds_parts(root / name / n)) for n in within):
            found.append(name)
    return found or layout.categories(root)
