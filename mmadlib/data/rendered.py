"""The rendered dataset: a plan of samples, each rendered when it is first read, in the MVTec 3D-AD layout.

    <root>/<category>/{train,validation}/good/{rgb/000.png, xyz/000.tiff}
    <root>/<category>/test/{good,<defect>}/{rgb/000.png, xyz/000.tiff, gt/000.png}
    <root>/<category>/twins/good/...              the parts of test/stain and test/dent without their defect
    <root>/<category>/{defects.csv, calibration/camera_parameters.json}

`mmadlib render` renders everything in parallel; what is there already is kept.
"""

from __future__ import annotations

import csv
import json
import multiprocessing
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import tifffile
from PIL import Image

from mmadlib.atomic import atomic
from mmadlib.checks import check_seed
from mmadlib.data import layout
from mmadlib.data.files import Entry
from mmadlib.data.rendered_plan import CATEGORIES, MODALITY, SPLITS, VERSION, Plan, plan
from mmadlib.data.texts import read_mapping
from mmadlib.errors import DataError, explain
from mmadlib.paths import rendered_root, shown
from mmadlib.progress import bar
from mmadlib.sample import Sample


def categories(root: str | Path | None = None) -> list[str]:
    """Names of the categories; they need not be rendered yet."""
    return list(CATEGORIES)


def entries(category: str, split: str, data_seed: int = 0, root: str | Path | None = None) -> list[Entry]:
    """Entries of one split, from the plan: nothing is rendered or looked up on disk before `read`.

    root: folder of the dataset, default data/rendered/data<seed>. Raises UnknownName, SettingsError (data seed).
    """
    data_seed = check_seed(data_seed, "data_seed")
    base = Path(root or rendered_root(data_seed)) / category
    return [_entry(base, category, p, data_seed) for p in plan(category, split)]


def _entry(base: Path, category: str, p: Plan, data_seed: int) -> Entry:
    folder, name = base / p.split / p.folder, f"{p.index:03d}"
    gt = folder / "gt" / f"{name}.png" if p.split in ("test", "twins") else None
    return Entry(folder / "rgb" / f"{name}.png", folder / "xyz" / f"{name}.tiff", gt, category, p.split, p.folder,
                 MODALITY.get(p.folder, "none"), "rendered", {"data_seed": data_seed, "plan": p, "twin_of": p.partner})


def read(entry: Entry) -> Sample:
    """The sample, rendered first where a file of it is missing. Raises DataError (folder not writable, faulty file)."""
    make(entry)
    return layout.read(entry, isolated=False)


def make(entry: Entry) -> bool:
    """Render and write the files of one entry unless they are there; True if it rendered.

    Two processes may do it at once: both write the same bytes under a name of their own and rename.
    """
    paths = [p for p in (entry.rgb, entry.xyz, entry.gt) if p is not None]
    base = entry.rgb.parents[3]
    with _writing(base):
        describe(base, entry.category, entry.extra["data_seed"])
        if all(p.is_file() for p in paths):
            return False
        _write(entry)
    return True


@contextmanager
def _writing(base: Path) -> Iterator[None]:
    """Turn a failure to write into one DataError."""
    try:
        yield
    except OSError as err:
        raise DataError(explain(shown(base), f"cannot be written ({err.strerror or err})",
                                "make room or give root= a folder that you may write to")) from None


def _write(entry: Entry) -> None:
    from mmadlib.render import take  # a rendered dataset is read without loading the ray caster

    p, seed = entry.extra["plan"], entry.extra["data_seed"]
    shot = take((seed, entry.category, *p.key), entry.category, p.key[1], p.strength)
    with atomic(entry.xyz) as path:
        tifffile.imwrite(path, shot.xyz, compression="zlib", compressionargs={"level": 3}, photometric="minisblack",
                         metadata=None, software=False)
    if entry.gt is not None:
        with atomic(entry.gt) as path:
            Image.fromarray(shot.mask.astype(np.uint8) * 255).save(path)
    with atomic(entry.rgb) as path:
        Image.fromarray(shot.rgb).save(path, compress_level=3)  # noise: more effort gains a tenth and costs most of the time


def describe(base: Path, category: str, data_seed: int) -> None:
    """Write the calibration and defects.csv of a category folder, once.

    Raises DataError when the folder was rendered by another version of the renderer or from another seed, or its note
    is damaged.
    """
    calibration, made_by = base / "calibration" / "camera_parameters.json", {"renderer": VERSION, "data_seed": data_seed}
    if calibration.is_file():
        found = read_mapping(calibration, json.loads, "delete the category's folder, it is rendered again")
        if {k: found.get(k) for k in made_by} != made_by:
            raise DataError(explain(shown(base), "holds samples of another data seed or renderer version",
                                    "delete the folder or give another root"))
        return
    from mmadlib.render.sensor import camera_parameters

    with atomic(base / "defects.csv") as path, path.open("w", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(["split", "defect", "index", "modality", "twin", "strength", "data_seed"])
        twin = {t.key: t.path for t in plan(category, "twins")}
        rows.writerows([p.split, p.folder, f"{p.index:03d}", MODALITY[p.folder], twin.get(p.key, ""), p.strength, data_seed]
                       for p in plan(category, "test") if p.folder != "good")
    with atomic(calibration) as path:
        path.write_text(json.dumps(camera_parameters() | made_by, indent=1) + "\n")


def render(category: str, data_seed: int = 0, jobs: int = 2, root: str | Path | None = None, progress: bool = True) -> int:
    """Render all samples of a category that are missing, `jobs` at a time; returns how many."""
    todo = [e for split in SPLITS for e in entries(category, split, data_seed, root)]
    base = todo[0].rgb.parents[3]
    with _writing(base):
        describe(base, category, data_seed)  # a wrong folder fails before any process starts
    if jobs <= 1:
        return sum(make(e) for e in bar(todo, f"render {category}", progress))
    # spawn: a forked child would inherit the ray caster's threads in an unknown state
    with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        waiting = [pool.submit(make, e) for e in todo]
        return sum(done.result() for done in bar(as_completed(waiting), f"render {category}", progress, total=len(todo)))


def command(categories: Sequence[str] | None = None, data_seed: int = 0, jobs: int = 2, root: str | Path | None = None) -> int:
    """`mmadlib render`: render categories of one data seed, all of them by default. Raises as `render`."""
    for category in categories or CATEGORIES:
        count = render(category, data_seed, jobs, root)
        folder = Path(root or rendered_root(data_seed)) / category
        print(f"{category}: rendered {count} samples into {shown(folder)}", flush=True)
    return 0
