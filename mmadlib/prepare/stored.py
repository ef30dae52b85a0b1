"""What a dataset folder holds to be preprocessed: every split there is, and no cloud left out in silence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from mmadlib.data import arrays, folder, layout
from mmadlib.data.files import Entry
from mmadlib.data.listing import folded, folders
from mmadlib.errors import DataError, explain
from mmadlib.sample import Sample

SPLITS = ("train", "validation", "val", "test", "twins")


def entries_of(src: Path, dataset: str, reader: Mapping[str, Any]) -> list[Entry]:
    """All entries of a dataset, good masks included where they are stored.

    Raises DataError for a cloud that belongs to none of them: it would be missing in what is made.
    """
    own = dataset == "folder"
    found = [e for category in (folder if own else layout).categories(src) for e in _of_category(src, category, own, reader)]
    known = {e.xyz for e in found}
    for path in sorted(src.rglob("*")):
        kinds = {"xyz": arrays.KINDS, "depth": arrays.DEPTH_KINDS}.get(folded(path.parent.name), ())
        cloud = path.suffix.lower() in kinds and not path.name.startswith(".")
        if cloud and path not in known and path.is_file():
            raise DataError(explain(path, "belongs to no part that is read", f"splits are {', '.join(SPLITS)}, good parts of "
                                    "train lie in good; rename its folder, or move it away"))
    return [_with_good_mask(e) for e in found]


def _of_category(src: Path, category: str, own: bool, reader: Mapping[str, Any]) -> list[Entry]:
    there = {folded(name) for name in folders(src / category)}
    splits = [split for split in SPLITS if split in there]
    if not own:
        return [e for split in splits for e in layout.entries(src, category, split)]
    if "train" not in there:  # good parts only, without a split
        splits = ["train", *splits]
    return [e for split in splits for e in folder.entries(src, category, split, **reader)]


def _with_good_mask(entry: Entry) -> Entry:
    """The entry with the mask that readers leave alone, because the part is good."""
    if entry.gt is not None or entry.label < 0:
        return entry
    kind = entry.rgb.parent.parent
    masks = [kind / name / f"{entry.rgb.stem}.png" for name in folders(kind) if folded(name) == "gt"]
    return replace(entry, gt=next((mask for mask in masks if mask.exists()), None))


def read(entry: Entry, dataset: str) -> Sample:
    """The sample of an entry; the mask of one's own good part is not looked at. Raises DataError."""
    if dataset != "folder":
        return layout.read(entry)
    return folder.read(entry if entry.label > 0 else replace(entry, gt=None))


def targets(entry: Entry, src: Path, dst: Path) -> dict[str, Path]:
    """Where cloud, picture and mask of an entry go: the same place; a cloud made of depth/ goes to xyz/, as a TIFF."""
    made = {name: dst / file.relative_to(src) for name, file in (("xyz", entry.xyz), ("rgb", entry.rgb), ("gt", entry.gt))
            if file is not None}
    cloud = made["xyz"]
    if folded(cloud.parent.name) == "depth":
        cloud = cloud.parent.with_name("xyz") / cloud.name
    made["xyz"] = cloud if cloud.suffix.lower() in (".tif", ".tiff") else cloud.with_suffix(".tiff")
    return made
