"""Preprocess a whole dataset, offline: from a folder in the MVTec 3D-AD layout to a new folder in the same layout.

    <dst>/preprocessing.json                                     how this folder was made
    <dst>/<category>/<split>/<kind>/{rgb, xyz, gt}/...           square, background points (0, 0, 0)
    <dst>/<category>/<split>/<kind>/preprocess/000.json          manifest: plane, kept share, margins, hashes; written last

Samples with a manifest are left alone, so an interrupted run resumes and a second run does nothing. The source is only read.
The published scripts write clouds in place and let the loader pad picture and mask by their own border; here that padding is
done at once, or picture and cloud would differ in size. As in CFM, pictures keep their background. One's own folders may hold
any kind of file that data.folder reads; what is written is TIFF in metres and PNG where it was not as they are.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from concurrent.futures import as_completed
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import tifffile
from PIL import Image

from mmadlib.atomic import atomic
from mmadlib.checks import check_seed
from mmadlib.data import layout
from mmadlib.data.files import Entry
from mmadlib.data.images import read_pixels
from mmadlib.data.listing import folders
from mmadlib.data.pictures import as_stored
from mmadlib.data.reading import reading_of
from mmadlib.errors import PreprocessError, SettingsError, explain, unknown
from mmadlib.paths import real
from mmadlib.prepare.constants import Constants, constants_from
from mmadlib.prepare.grid import square_margins
from mmadlib.prepare.isolate import find_object
from mmadlib.prepare.stored import entries_of, read, targets
from mmadlib.progress import bar
from mmadlib.untrusted import read_mapping
from mmadlib.workers import pool

DATASETS = ("mvtec3d", "rendered", "folder")  # the others bring their own background rule
PADS = ("published", "square")


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the bytes of the new folder."""

    dataset: str
    pad: str
    seed: int
    constants: Constants
    reader: dict = field(default_factory=dict)

    @property
    def noted(self) -> dict:
        """Its fields, the options of the reader only where there are any."""
        return {name: value for name, value in asdict(self).items() if value or name != "reader"}


def padded_side(height: int, width: int, pad: str) -> int:
    """Side of the padded square: "published" rounds each side up to a multiple of 100 first, "square" takes the longer one.

    >>> padded_side(480, 640, "published"), padded_side(480, 640, "square")
    (700, 640)
    """
    return max(-(-height // 100) * 100, -(-width // 100) * 100) if pad == "published" else max(height, width)


def preprocess_dataset(src: str | Path, dst: str | Path, dataset: str = "mvtec3d", pad: str | None = None, seed: int = 0,
                       jobs: int = 2, progress: bool = True, reader: dict | None = None, **constants: float) -> Path:
    """Isolate and square all samples of `src` into the new folder `dst`; returns `dst`.

    dataset    mvtec3d | rendered | folder: all in the MVTec 3D-AD layout
    pad        published (the rule of the official scripts; default for mvtec3d) | square (longer side; default otherwise)
    seed       of every plane fit;   constants  fields of constants.Constants
    jobs       processes;   reader   how the files of `folder` are read, {"units": "mm"}: fields of data.reading.Reading

    Raises SettingsError, DataError (faulty source, a cloud that no split holds), PreprocessError (input processed already, a
    `dst` that holds something else or was made by other settings, no space): finished samples stay, nothing half written does.
    """
    if dataset not in DATASETS:
        raise unknown("dataset to preprocess", dataset, DATASETS)
    pad = pad or ("published" if dataset == "mvtec3d" else "square")
    if pad not in PADS:
        raise unknown("padding rule", pad, PADS)
    src, dst = real(src), real(dst)
    if reader and dataset != "folder":
        raise SettingsError(f"reader={reader}: only files of dataset 'folder' are read in more than one way")
    reading_of(reader or {})
    recipe = Recipe(dataset, pad, check_seed(seed), constants_from(constants), reader or {})
    entries = entries_of(src, dataset, recipe.reader)
    try:
        _claim(src, dst, recipe)
        _copy_category_files(src, dst)
        todo = [e for e in entries if not _manifest(e, src, dst).is_file()]
        _run(todo, partial(_preprocess, src=src, dst=dst, recipe=recipe), jobs, progress)
    except OSError as err:
        raise PreprocessError(explain(dst, f"cannot be written ({err.strerror or err})", "check space and permissions, then "
                                      "run again: finished samples are kept")) from None
    return dst


def _run(todo: list[Entry], work: Callable[[Entry], None], jobs: int, progress: bool) -> None:
    """work(entry) for all of `todo`, `jobs` at a time; the first error cancels what has not begun."""
    if jobs <= 1 or len(todo) < 2:
        for entry in bar(todo, "preprocess", progress):
            work(entry)
        return
    with pool(jobs) as workers:
        futures = [workers.submit(work, entry) for entry in todo]
        try:
            for future in bar(as_completed(futures), "preprocess", progress, total=len(futures)):
                future.result()
        except BaseException:
            workers.shutdown(cancel_futures=True)
            raise


def _claim(src: Path, dst: Path, recipe: Recipe) -> None:
    """Make `dst` ours by a note of the settings; refuse a folder that is not ours."""
    if dst == src or dst.is_relative_to(src) or src.is_relative_to(dst):
        raise SettingsError(f"{dst}: lies in the source or holds it; preprocessing never writes there, give a new folder")
    note = dst / "preprocessing.json"
    if note.is_file():
        if read_mapping(note, remedy="delete the folder, it is made again") != recipe.noted:
            raise PreprocessError(explain(dst, "was made with other settings, see preprocessing.json", "give a new folder"))
        return
    if dst.is_dir() and any(dst.iterdir()):
        raise PreprocessError(explain(dst, "holds other files", "give a new or empty folder"))
    with atomic(note) as temporary:
        temporary.write_text(json.dumps(recipe.noted, indent=1) + "\n")


def _copy_category_files(src: Path, dst: Path) -> None:
    """Copy what belongs to whole categories: defects.csv, calibration/."""
    for category in folders(src):
        for path in [*(src / category).glob("*"), *(src / category).glob("calibration/*")]:
            target = dst / path.relative_to(src)
            if path.is_file() and not target.is_file():
                with atomic(target) as temporary:
                    shutil.copyfile(path, temporary)


def _manifest(entry: Entry, src: Path, dst: Path) -> Path:
    kind = dst / entry.xyz.parent.parent.relative_to(src)
    return kind / layout.MANIFESTS / f"{entry.xyz.stem}.json"


def _preprocess(entry: Entry, src: Path, dst: Path, recipe: Recipe) -> None:
    """Write one sample's files, then its manifest."""
    sample = read(entry, recipe.dataset)
    found = find_object(sample, recipe.seed, recipe.constants)
    side = padded_side(*sample.size, recipe.pad)
    margins = square_margins(*sample.size, side)
    made = targets(entry, src, dst)
    cloud = np.pad(np.where(found.keep[..., None], sample.xyz, np.float32(0)), (*margins, (0, 0)))
    with atomic(made["xyz"]) as temporary:
        tifffile.imwrite(temporary, cloud, photometric="rgb")
    for name, pixels in (("rgb", sample.rgb), ("gt", sample.mask.astype(np.uint8) * 255)):
        if (picture := getattr(entry, name)) is None:
            continue
        if recipe.dataset == "folder" and (name == "rgb" or entry.label > 0) and not as_stored(picture, pixels):
            made[name] = _square_pixels(pixels, made[name], margins)
        else:
            made[name] = _square_picture(picture, made[name], margins)
    manifest = recipe.noted | {
        "plane": found.plane.tolist(), "kept_share": float(found.keep.sum() / sample.valid.sum()),
        "size": list(sample.size), "side": side, "margins": margins,
        "source_sha256": {name: _sha256(getattr(entry, name)) for name in made},
        "sha256": {name: _sha256(path) for name, path in made.items()}}
    with atomic(_manifest(entry, src, dst)) as temporary:
        temporary.write_text(json.dumps(manifest, indent=1) + "\n")


def _square_picture(source: Path, target: Path, margins: tuple[tuple[int, int], tuple[int, int]]) -> Path:
    """Pad a picture or mask by its own border; without margins it is copied byte by byte. Returns the file written."""
    if not np.any(margins):
        with atomic(target) as temporary:
            shutil.copyfile(source, temporary)
        return target
    return _square_pixels(read_pixels(source), target, margins)


def _square_pixels(pixels: np.ndarray, target: Path, margins: tuple[tuple[int, int], tuple[int, int]]) -> Path:
    """Write pixels, padded by their own border, as a PNG; returns the file written."""
    target = target.with_suffix(".png")
    with atomic(target) as temporary:
        Image.fromarray(np.pad(pixels, (*margins, (0, 0))[: pixels.ndim], mode="edge")).save(temporary)
    return target


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
