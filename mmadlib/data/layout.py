"""The MVTec 3D-AD folder layout, shared by mvtec3d, folder, road and rendered: strict pairing by number, tolerant names.

    <root>/<category>/{train,validation}/good/{rgb/000.png, xyz/000.tiff}
    <root>/<category>/test/{good,<defect>}/{rgb/000.png, xyz/000.tiff, gt/000.png}
    <root>/<category>/defects.csv      optional, columns defect and modality

Folder and file names match in upper and lower case. Listing order is never used; a file without its partner is an error.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool

from mmadlib.data.files import Entry
from mmadlib.data.images import check_points, read_mask, read_rgb, read_xyz
from mmadlib.data.texts import read_table
from mmadlib.errors import DataError, explain
from mmadlib.sample import MODALITIES, Sample

PICTURES = (".png", ".jpg", ".jpeg")
CLOUDS = (".tiff", ".tif")
MASK_VALUES = {"mvtec3d": (0, *range(250, 256))}  # documented levels, 253 to 255 are defect kinds; others hold 0 and 255
SPLITS = {"train": ("train",), "validation": ("validation", "val"), "test": ("test",)}

# a cloud whose rim holds fewer valid points has lost its background already (protocol of the published preprocessing)
RIM_WIDTH, RIM_POINTS = 10, 50
MANIFESTS = "preprocess"  # folder beside rgb and xyz that mmadlib.prepare.dataset leaves


def folders(root: Path) -> list[str]:
    """Names of the visible sub-folders, sorted. Raises DataError when `root` is not a folder."""
    if not root.is_dir():
        raise DataError(explain(root, "is not a folder", "give the folder that holds the dataset"))
    return sorted(p.name for p in root.iterdir() if p.is_dir() and not p.name.startswith("."))


def child(folder: Path, *names: str) -> Path:
    """The sub-folder with one of these names in any case.

    Raises DataError: what was looked for and what exists, or two folders whose names differ by case only.
    """
    there = folders(folder)
    for name in names:
        same = [t for t in there if t.casefold() == name.casefold()]
        if len(same) > 1:
            raise DataError(explain(folder, f"has folders {' and '.join(map(repr, same))}", "join them or rename one"))
        if same:
            return folder / same[0]
    near = difflib.get_close_matches(names[0], there, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}? " if near else ""
    raise DataError(explain(folder, f"has no folder {' or '.join(map(repr, names))}",
                            f"{hint}there are: {', '.join(there) or 'no folders'}"))


def number(name: str) -> int | str:
    """What a file is paired by: 7 for "007", otherwise the name without regard to case."""
    return int(name) if name.isdecimal() else name.casefold()


def index(files: Iterable[Path], key: Callable[[Path], int | str] = lambda path: number(path.stem)) -> dict[int | str, Path]:
    """Files by their pairing key. Raises DataError when two files share one."""
    table: dict[int | str, Path] = {}
    for path in sorted(files):
        other = table.setdefault(key(path), path)
        if other != path:
            raise DataError(explain(path, f"has the same number as {other.name}", "remove or rename one of the two"))
    return table


def files(folder: Path, suffixes: Iterable[str]) -> list[Path]:
    """Visible files of `folder` with one of these suffixes, in any case; other files are left alone."""
    return [p for p in folder.iterdir() if p.suffix.lower() in suffixes and not p.name.startswith(".")]


def pair(where: Path, **parts: dict[int | str, Path]) -> list[int | str]:
    """The keys that all parts share, sorted. Raises DataError naming a file that has no partner in some part."""
    every = set().union(*parts.values())
    for name, table in parts.items():
        lonely = sorted(next(t[k] for t in parts.values() if k in t) for k in every - set(table))
        if lonely:
            more = f" and {len(lonely) - 1} more" if len(lonely) > 1 else ""
            raise DataError(explain(where, f"{lonely[0].relative_to(where)}{more} has no matching {name} file",
                                    "each sample needs all its files under one number; add the missing or remove the extra"))
    if not every:
        raise DataError(explain(where, f"holds no {' or '.join(parts)} files", "check that the dataset is complete"))
    return sorted(every, key=lambda k: (isinstance(k, str), k))


def modalities(category: Path) -> dict[str, str]:
    """Which modality shows each defect kind, from defects.csv; empty without one. Raises DataError on a faulty table."""
    table = category / "defects.csv"
    if not table.is_file():
        return {}
    label: dict[str, str] = {}
    for row in read_table(table, "defect", "modality"):
        defect, modality = row["defect"], row["modality"]
        if not defect or modality not in MODALITIES:
            raise DataError(explain(table, f"row {row} lacks a defect or a known modality",
                                    f"modality is one of {', '.join(MODALITIES)}"))
        if label.setdefault(defect, modality) != modality:
            raise DataError(explain(table, f"gives {defect} two modalities, {label[defect]} and {modality}",
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
            found.append(Entry(rgb, xyz, gt, base.name, split, defect, label.get(defect, "") if gt else "", dataset))
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
    mask = read_mask(entry.gt, MASK_VALUES.get(entry.dataset, (0, 255))) if entry.gt else None
    return sample(entry, read_rgb(entry.rgb), xyz, mask, isolated)


def sample(entry: Entry, rgb: np.ndarray, xyz: np.ndarray, mask: np.ndarray | None, isolated: bool,
           **extra: Any) -> Sample:
    """A Sample that carries what its entry knows. Raises DataError when sizes differ."""
    if mask is None:
        mask = np.zeros(rgb.shape[:2], bool)
    elif mask.shape != rgb.shape[:2]:
        raise DataError(explain(entry.gt or entry.rgb, f"sizes differ, mask {mask.shape} and picture {rgb.shape[:2]}",
                                "mask and picture must share one pixel grid"))
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
