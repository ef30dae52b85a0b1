"""Eyecandies as delivered: 16-bit depth with its own range in every sample, six lights, labels in a mask and in metadata.

    <root>/<Class>/{train,val,test_public}/data/<NNN>_<item>

Bonfiglioli et al., ACCV 2022. Camera: focal length 711.11 px, principal point in the middle of the 512x512 picture.
test_private has no labels and is not read.
"""

from __future__ import annotations

import logging
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64

from mmadlib.data.eyecandies_scene import above_ground, camera_points, literature_axes, world_points
from mmadlib.data.files import Entry
from mmadlib.data.images import BRIGHT, MIN_POINTS, check_points, mark_invalid, read_gray16, read_mask, read_rgb
from mmadlib.data.layout import categories, sample
from mmadlib.data.listing import child, files, index, number, pair
from mmadlib.errors import DataError, SettingsError, explain, unknown
from mmadlib.sample import Sample
from mmadlib.untrusted import read_mapping, read_text

__all__ = ["categories", "entries", "read"]

FOLDERS = {"train": "train", "validation": "val", "test": "test_public"}
FRAMES = ("camera", "literature")
LABEL_SOURCES = ("mask", "metadata")
KINDS = ("bumps", "dents", "colors", "normals")

log = logging.getLogger(__name__)


def entries(root: Path, category: str, split: str, frame: str = "camera", light: int = 4, label_source: str = "mask",
            crop: bool = True) -> list[Entry]:
    """Entries of one class and split. Raises DataError, UnknownName or SettingsError.

    frame         camera (metres, z forward) | literature (world axes x, z, y times 0.1, -0.1, 0.1, as M3DM and CFM have)
    light         picture 0 all spots, 1 bottom, 2 right, 3 top, 4 left (the literature's), 5 global
    label_source  mask (bad where the mask is not empty, as the papers evaluate) | metadata; both are kept in `extra`
    crop          remove the ground and everything beyond the object, by the literature's rule, the same points in both frames
    """
    if frame not in FRAMES:
        raise unknown("eyecandies frame", frame, FRAMES)
    if label_source not in LABEL_SOURCES:
        raise unknown("eyecandies label_source", label_source, LABEL_SOURCES)
    if light not in range(6):
        raise SettingsError(f"light={light!r}: eyecandies has the pictures 0 to 5")
    base = child(Path(root), category)
    folder = child(child(base, FOLDERS[split]), "data")
    items = ["depth", "info_depth", "pose", f"image_{light}"] + (["mask", "metadata"] if split == "test" else [])
    parts = {item: _items(folder, item) for item in items}
    found, differ = [], []
    for key in pair(folder, **parts):
        extra: dict[str, Any] = {"frame": frame, "crop": crop} | {name: parts[name][key] for name in ("info_depth", "pose")}
        gt, bad = None, False
        if split == "test":
            gt = parts["mask"][key]
            extra |= _labels(gt, parts["metadata"][key])
            bad = extra[f"label_{label_source}"]
            differ += [gt.name] * (extra["label_metadata"] != extra["label_mask"])
        rgb, defect = parts[f"image_{light}"][key], "bad" if bad else "good"
        found.append(Entry(rgb, parts["depth"][key], gt, base.name, split, defect, "", "eyecandies", extra))
    if differ:
        log.warning("%s: mask (empty or not) and metadata disagree in %d samples: %s", folder, len(differ), ", ".join(differ))
    return found


def read(entry: Entry) -> Sample:
    """The sample; xyz in the entry's frame. A scene without anything above the ground is left whole, isolated False.

    extra["label_mask"], extra["label_metadata"] and extra["kinds"] (which of the four defect masks are not empty) say
    what the test files hold. Raises DataError.
    """
    extra, depth = entry.extra, read_depth(entry.xyz, entry.extra["info_depth"])
    world = world_points(depth, read_pose(extra["pose"]))
    valid = depth > 0
    check_points(entry.xyz, valid)
    keep = valid & above_ground(world) if extra["crop"] else valid
    isolated = bool(extra["crop"] and np.count_nonzero(keep) >= MIN_POINTS)
    points = literature_axes(world) if extra["frame"] == "literature" else camera_points(depth)
    xyz = mark_invalid(points.astype(np.float32), keep if isolated else valid)
    rgb = read_rgb(entry.rgb)
    mask = read_mask(entry.gt, BRIGHT, rgb.shape[:2]) if entry.gt else None
    kinds = {"kinds": _kinds(entry.gt)} if entry.gt else {}
    return sample(entry, rgb, xyz, mask, isolated, **kinds)


def read_depth(path: Path, info: Path) -> Float64[np.ndarray, "H W"]:
    """Depth in metres: code / 65535 * (max - min) + min with this sample's own bounds. Raises DataError."""
    try:
        low, high = (float(read_mapping(info)["normalization"][bound]) for bound in ("min", "max"))
    except (KeyError, TypeError, ValueError):
        low = high = np.nan
    if not np.isfinite([low, high]).all():
        raise DataError(explain(info, "lacks numbers normalization.min and normalization.max", "copy the file again"))
    return read_gray16(path).astype(np.float64) / 65535.0 * (high - low) + low


def read_pose(path: Path) -> Float64[np.ndarray, "4 4"]:
    """The camera pose. Raises DataError, also when it has no inverse."""
    try:
        pose = np.loadtxt(StringIO(read_text(path)))
    except ValueError as err:
        raise DataError(explain(path, f"is no 4x4 matrix ({err})", "copy the file again")) from None
    if pose.shape != (4, 4) or not np.isfinite(pose).all():
        raise DataError(explain(path, f"is no finite 4x4 matrix but {pose.shape}", "copy the file again"))
    if np.linalg.matrix_rank(pose) < 4:
        raise DataError(explain(path, "is a singular matrix, so no pose", "copy the file again"))
    return pose


def _items(folder: Path, item: str) -> dict[int | str, Path]:
    """Files <number>_<item> by number, without regard to case or to the number of leading zeros."""
    found = [p for p in files(folder, (".png", ".yaml", ".yml", ".txt")) if p.stem.casefold().partition("_")[2] == item]
    return index(found, key=lambda path: number(path.stem.partition("_")[0]))


def _labels(mask: Path, metadata: Path) -> dict[str, int]:
    anomalous = read_mapping(metadata).get("anomalous")
    if anomalous not in (0, 1):
        raise DataError(explain(metadata, f"says anomalous: {anomalous!r}", "0 or 1 is needed"))
    return {"label_mask": int(read_mask(mask, BRIGHT).any()), "label_metadata": int(anomalous)}


def _kinds(mask: Path) -> tuple[str, ...]:
    single = {kind: mask.with_name(mask.name.replace("mask", f"{kind}_mask")) for kind in KINDS}
    return tuple(kind for kind, path in single.items() if path.exists() and read_mask(path, BRIGHT).any())
