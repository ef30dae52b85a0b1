"""The MVTec 3D-AD folder layout, shared by mvtec3d, folder, road and rendered: strict pairing by number, tolerant names.

    <root>/<category>/{train,validation}/good/{rgb/000.png, xyz/000.tiff}
    <root>/<category>/test/{good,<defect>}/{rgb/000.png, xyz/000.tiff, gt/000.png}
    <root>/<category>/defects.csv      optional, columns defect and modality

Folder and file names match in upper and lower case, and with accents composed or not. Listing order is never used; a file
without its partner is an error, as is a hidden one that could be a sample.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool

from mmadlib.data.files import Entry
from mmadlib.data.images import check_points, read_mask, read_rgb, read_xyz
from mmadlib.data.listing import CLOUDS, PICTURES, child, files, folded, folders, index, pair
from mmadlib.data.texts import read_table
from mmadlib.errors import DataError, explain
from mmadlib.sample import MODALITIES, Sample

MASK_VALUES = {"mvtec3d": (0, *range(250, 256))}  # documented levels, 253 to 255 are defect kinds; others hold 0 and 255
SPLITS = {"train": ("train",), "validation": ("validation", "val"), "test": ("test",)}

# a cloud whose rim holds fewer valid points has lost its background already (protocol of the published preprocessing)
RIM_WIDTH, RIM_POINTS = 10, 50
MANIFESTS = "preprocess"  # folder beside rgb and xyz that mmadlib.prepare.dataset leaves


def modalities(category: Path) -> dict[str, str]:
    """Which modality shows each defect kind (`folded`), from defects.csv; empty without. DataError when it is faulty."""
    table = category / "defects.csv"
    if not table.exists():
        return {}
    label: dict[str, str] = {}
    for row in read_table(table, "defect", "modality"):
        defect, modality = row["defect"], row["modality"]
        if not defect or modality not in MODALITIES:
            raise DataError(explain(table, f"row {row} lacks a defect or a known modality",
                                    f"modality is one of {', '.join(MODALITIES)}"))
        if (known := label.setdefault(folded(defect), modality)) != modality:
            raise DataError(explain(table, f"gives {defect} two modalities, {known} and {modality}",
                                    "keep one modality per defect kind"))
    return label


def entries(root: Path, category: str, split: str, dataset: str = "mvtec3d") -> list[Entry]:
    """Entries of one category and split: good first, then the defects by name, each in order of its numbers.

    Train and validation hold normal samples only; another folder beside good there is ignored. Raises DataError.
    """
    base = child(Path(root), category)
    part = child(base, *SPLITS.get(split, (split,)))
    label = modalities(base)
    kinds = ["good"] if split in ("train", "validation") else folders(part)
    if not kinds:
        raise DataError(explain(part, "holds no folders", "good and one folder per defect are needed"))
    found = []
    for folder in sorted((child(part, kind) for kind in kinds), key=lambda p: (p.name.casefold() != "good", p.name)):
        defect = "good" if folder.name.casefold() == "good" else folder.name
        for rgb, xyz, gt in _triples(folder, defect):
            found.append(Entry(rgb, xyz, gt, base.name, split, defect, label.get(folded(defect), "") if gt else "", dataset))
    return found


def _triples(folder: Path, defect: str) -> list[tuple[Path, Path, Path | None]]:
    """(rgb, xyz, gt) of one folder; the all-zero masks of good samples are not read."""
    parts = {"rgb": index(files(child(folder, "rgb"), PICTURES)), "xyz": index(files(child(folder, "xyz"), CLOUDS))}
    if defect != "good":
        parts["gt"] = index(files(child(folder, "gt"), PICTURES))
    keys = pair(folder, **parts)
    return [(parts["rgb"][k], parts["xyz"][k], parts["gt"][k] if "gt" in parts else None) for k in keys]


def rim_points(valid: Bool[np.ndarray, "H W"], width: int = RIM_WIDTH) -> int:
    """Valid points in the first and last `width` rows and columns, corners counted once."""
    inner = valid[width:-width, width:-width]
    return int(np.count_nonzero(valid) - np.count_nonzero(inner))


def read(entry: Entry, isolated: bool | None = None) -> Sample:
    """The sample as stored; points with any zero coordinate are invalid and become (0, 0, 0).

    isolated None: told by a manifest of our own preprocessing, or by the rim of the cloud (RIM_POINTS). Raises DataError.
    """
    xyz = read_xyz(entry.xyz)
    valid = (xyz != 0).all(-1)
    xyz[~valid] = 0
    check_points(entry.xyz, valid)
    if isolated is None:
        isolated = (entry.xyz.parent.parent / MANIFESTS).is_dir() or rim_points(valid) < RIM_POINTS
    rgb = read_rgb(entry.rgb)
    mask = read_mask(entry.gt, MASK_VALUES.get(entry.dataset, (0, 255)), rgb.shape[:2]) if entry.gt else None
    return sample(entry, rgb, xyz, mask, isolated)


def sample(entry: Entry, rgb: np.ndarray, xyz: np.ndarray, mask: np.ndarray | None, isolated: bool,
           **extra: Any) -> Sample:
    """A Sample that carries what its entry knows, the mask all False for None. Raises DataError when sizes differ."""
    mask = np.zeros(rgb.shape[:2], bool) if mask is None else mask
    return Sample(rgb, xyz, mask=mask, label=entry.label, defect=entry.defect, category=entry.category, split=entry.split,
                  path=entry.rgb, modality=entry.modality, isolated=isolated, dataset=entry.dataset, extra=entry.extra | extra)


def categories(root: Path) -> list[str]:
    """Folders of `root` that hold a train folder, sorted. Raises DataError when there is none."""
    root = Path(root)
    found = [name for name in folders(root) if any(t.casefold() == "train" for t in folders(root / name))]
    if not found:
        raise DataError(explain(root, "holds no category, a folder with a train folder in it",
                                f"give the folder above them; there are: {', '.join(folders(root)) or 'no folders'}"))
    return found
