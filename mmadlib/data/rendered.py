"""The rendered dataset: a plan of samples, each rendered when it is first read, in the MVTec 3D-AD layout.

    <root>/<category>/{train,validation}/good/{rgb/000.png, xyz/000.tiff}
    <root>/<category>/test/{good,<defect>}/{rgb/000.png, xyz/000.tiff, gt/000.png}
    <root>/<category>/twins/good/...              the parts of test/stain and test/dent without their defect
    <root>/<category>/<split>/<kind>/made/000.json      the recipe of a sample and the digests of its files, written last
    <root>/<category>/{defects.csv, calibration/camera_parameters.json}

`mmadlib render` renders everything in parallel; what is there already is kept, what is damaged or of another recipe is made
again. So a sample is what its recipe says, and its recipe stands for its content (data.contents).
"""

from __future__ import annotations

import csv
import json
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import as_completed
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import tifffile
from PIL import Image

from mmadlib.atomic import atomic
from mmadlib.checks import check_seed
from mmadlib.data import layout
from mmadlib.data.contents import CONTENTS
from mmadlib.data.files import Entry
from mmadlib.data.rendered_plan import CATEGORIES, MODALITY, SPLITS, VERSION, Plan, plan
from mmadlib.digest import digest_of
from mmadlib.errors import DataError, explain
from mmadlib.paths import rendered_root, shown
from mmadlib.progress import bar
from mmadlib.sample import Sample
from mmadlib.untrusted import read_mapping
from mmadlib.workers import pool


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
    extra = {"data_seed": data_seed, "plan": p, "twin_of": p.partner, "recipe": recipe(category, data_seed, p)}
    return Entry(folder / "rgb" / f"{name}.png", folder / "xyz" / f"{name}.tiff", gt, category, p.split, p.folder,
                 MODALITY.get(p.folder, "none"), "rendered", extra)


def recipe(category: str, data_seed: int, p: Plan) -> str:
    """All that decides the pixels and points of a sample: the renderer's version and code, and what it is drawn from."""
    return f"renderer {renderer()}, data seed {data_seed}, {category}, {' '.join(map(str, p.key))}, strength {p.strength}"


def renderer() -> str:
    """Version and code of the renderer."""
    return f"{VERSION} {digest_of('render/*.py', 'data/rendered.py', 'data/rendered_plan.py')}"


def read(entry: Entry) -> Sample:
    """The sample, rendered first where it is not there as its recipe says. Raises DataError (folder not writable)."""
    make(entry)
    return layout.read(entry, isolated=False)


def make(entry: Entry) -> bool:
    """Render and write the files of one entry unless they are there and whole; True if it rendered.

    Two processes may do it at once: both write the same bytes under a name of their own and rename.
    """
    base = entry.rgb.parents[3]
    with _writing(base):
        describe(base, entry.category, entry.extra["data_seed"])
        noted, state = _noted(entry), _state(entry)
        if noted == state:
            return False
        if noted.get("recipe") == state["recipe"] and any(noted[name] != state[name] for name in noted.keys() & state.keys()):
            warnings.warn(f"{shown(entry.rgb)}: the sample is not as it was rendered and is made again", stacklevel=2)
        _write(entry)
        with atomic(_note(entry)) as path:
            path.write_text(json.dumps(_state(entry), indent=1) + "\n")
    return True


def _note(entry: Entry) -> Path:
    return entry.rgb.parent.parent / "made" / f"{entry.rgb.stem}.json"


def _state(entry: Entry) -> dict[str, str]:
    """The recipe of a sample and the digests of those of its files that can be read, as they are now."""
    state = {"recipe": entry.extra["recipe"]}
    for name, path in entry.files.items():
        with suppress(DataError):
            state |= {name: CONTENTS.digest(path)} if path else {}
    return state


def _noted(entry: Entry) -> dict[str, str]:
    """`_state` as it was when the sample was written; empty if it never was."""
    try:
        return read_mapping(_note(entry))
    except DataError:
        return {}


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
    """Write the calibration and defects.csv of a category folder, once for every version of the renderer.

    Raises DataError when the folder was rendered from another seed.
    """
    calibration, made_by = base / "calibration" / "camera_parameters.json", {"renderer": VERSION, "data_seed": data_seed}
    if calibration.is_file():
        try:
            found = read_mapping(calibration)
        except DataError:
            found = {}  # damaged: made again
        if found.get("data_seed", data_seed) != data_seed:
            raise DataError(explain(shown(base), f"holds samples of data seed {found['data_seed']}",
                                    "delete the folder or give another root"))
        if {k: found.get(k) for k in made_by} == made_by:
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
    with pool(jobs) as workers:
        waiting = [workers.submit(make, e) for e in todo]
        return sum(done.result() for done in bar(as_completed(waiting), f"render {category}", progress, total=len(todo)))


def command(categories: Sequence[str] | None = None, data_seed: int = 0, jobs: int = 2, root: str | Path | None = None) -> int:
    """`mmadlib render`: render categories of one data seed, all of them by default. Raises as `render`."""
    for category in categories or CATEGORIES:
        count = render(category, data_seed, jobs, root)
        folder = Path(root or rendered_root(data_seed)) / category
        print(f"{category}: rendered {count} samples into {shown(folder)}", flush=True)
    return 0
