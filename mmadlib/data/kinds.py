"""Which files of a folder of parts are read, and a clear word on those that are not.

    <folder>/rgb/000.*    pictures (data.pictures)
    <folder>/xyz/000.*    clouds, or depth with intrinsics (data.arrays); depth/ in its place may hold depth, too
    <folder>/gt/000.*     masks, where there are any
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from mmadlib.data import arrays, pictures
from mmadlib.data.clouds import depth_without_camera
from mmadlib.data.listing import child, files, folded, folders, index, inside, number, pair
from mmadlib.data.reading import Reading
from mmadlib.errors import DataError, explain

BESIDE = {".db", ".ini", ".txt", ".md", ".json", ".yaml", ".yml", ".csv", ".log", ".xml"}  # never a picture or a cloud
READ = {
    "rgb": (pictures.KINDS, "pictures are", "store the pictures in one of these"),
    "xyz": (arrays.KINDS, "clouds are", arrays.CONVERT),
    "gt": (pictures.KINDS, "masks are", "store the masks in one of these: 0 normal, 255 defect"),
}
OTHERWISE = ("mask", "masks", "ground_truth", "groundtruth", "label", "labels", "annotation", "annotations")  # than gt
Table = dict[int | str, Path]


def triples(folder: Path, reading: Reading, masks: bool = False) -> list[tuple[Path, Path, Path | None]]:
    """(rgb, xyz, gt) of the parts of a folder, in the order of their numbers; gt None for a part without a mask.

    masks: whether masks are looked for. Raises DataError for a folder or partner that is missing, also for a mask without a
    part, for masks under another name, and for kinds of files that are not read.
    """
    there = {folded(name) for name in folders(folder)}
    deep = "depth" if "xyz" not in there and "depth" in there else "xyz"
    parts = {"rgb": _table(child(folder, "rgb"), "rgb", reading), deep: _table(child(folder, deep), "xyz", reading)}
    keys = pair(folder, **parts)
    if masks and "gt" not in there:
        check_masks(folder)
    gt = _table(child(folder, "gt"), "gt", reading) if masks and "gt" in there else {}
    if extra := [path for key, path in sorted(gt.items(), key=str) if key not in parts["rgb"]]:
        raise DataError(explain(folder, f"{extra[0].relative_to(folder)} has no matching rgb file",
                                "each mask needs its part under the same number; add the missing or remove the extra"))
    return [(parts["rgb"][key], parts[deep][key], gt.get(key)) for key in keys]


def check_masks(folder: Path) -> None:
    """Raise DataError where masks seem to lie in a folder of another name: without a word they would not be read."""
    for name in folders(folder):
        if folded(name) in OTHERWISE:
            raise DataError(explain(folder / name, "may hold masks, which are looked for in gt/ beside rgb/ and xyz/",
                                    "rename it to gt, move it there, or move it away"))


def holds_parts(folder: Path) -> bool:
    """Whether a folder has pictures and clouds, or depth, in folders of their own."""
    there = {folded(name) for name in folders(folder)}
    return "rgb" in there and bool(there & {"xyz", "depth"})


def _table(folder: Path, what: str, reading: Reading) -> Table:
    """Files of one kind by their number. Raises DataError naming a file that may be a sample and is not read."""
    kinds, are, remedy = READ[what]
    if what == "xyz":
        kinds = arrays.DEPTH_KINDS if reading.intrinsics is not None else kinds
    found = index(files(folder, kinds))
    for path in _unread(folder, kinds):
        if number(path.stem) not in found:
            if what == "xyz" and path.suffix.lower() == ".png":
                raise depth_without_camera(path)
            raise DataError(explain(path, f"is of a kind that is not read ({path.suffix}); {are} {', '.join(kinds)}", remedy))
    return found


def _unread(folder: Path, kinds: Iterable[str]) -> list[Path]:
    found = (p for p in inside(folder) if p.suffix and p.suffix.lower() not in {*kinds, *BESIDE} and p.is_file())
    return sorted(p for p in found if not p.name.startswith("."))
