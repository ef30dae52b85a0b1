"""load(dataset, category, split): each of DATASETS as a list of Samples, read lazily, as stored."""

from __future__ import annotations

import inspect
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from mmadlib import paths
from mmadlib.checks import one_of
from mmadlib.data.files import Samples
from mmadlib.data.shots import Shots, chosen
from mmadlib.errors import SettingsError, unknown

DATASETS = ("rendered", "road", "mvtec3d", "eyecandies", "real_iad_d3", "polyurethane", "folder")
SPLITS = ("train", "validation", "test")
DEFAULT_ROOT = {"rendered": None, "road": paths.DATA / "road"}  # rendered finds its own


def load(dataset: str, category: str, split: str, root: str | Path | None = None, shots: Shots = None, seed: int = 0,
         data_seed: int = 0, rule: str = "auto", **options: Any) -> Samples:
    """The samples of one category and split, as names; files are read when a sample is taken.

    root       folder of the dataset, relative from where you stand; not needed for rendered (made on first use) and road
               (data/road of the workspace, after conversion)
    shots      few-shot draw of the training split (mmadlib.data.shots); None takes all. `seed` and `rule` choose the draw.
               One's own: a list of names such as "000" or "000.png", or a text file with one name a line
    data_seed  which of the rendered datasets
    options    what the reader offers: road subset; folder isolated, units, invalid, axes, intrinsics and more, see
               mmadlib.data.reading; eyecandies frame, light, label_source, crop; real_iad_d3
               view, resize

    Every entry's extra["index"] is its place in the whole split, so the draw can be recorded.
    Raises UnknownName, SettingsError (shots, seed, data_seed, missing root) or DataError (folders and files).
    """
    reader = _reader(dataset)
    one_of(f"{dataset} split", split, splits(dataset))
    if shots is not None and split != "train":
        raise SettingsError(f"shots={shots}: only the training split is drawn from; leave shots out for split {split!r}")
    arguments = {"category": category, "split": split, "root": root_of(dataset, root)}
    arguments |= _options(dataset, data_seed, options)
    entries = [replace(e, extra=e.extra | {"index": i}) for i, e in enumerate(reader.entries(**arguments))]
    return Samples(entries, reader.read).take(chosen([e.rgb for e in entries], shots, seed, rule))


def splits(dataset: str) -> tuple[str, ...]:
    """The splits of a dataset; "twins" among them where defects have twins. Raises UnknownName."""
    return getattr(_reader(dataset), "SPLITS", SPLITS)


def categories(dataset: str, root: str | Path | None = None) -> list[str]:
    """Names of the categories found under `root`. Raises UnknownName, SettingsError or DataError."""
    return list(_reader(dataset).categories(root_of(dataset, root)))


def _reader(dataset: str) -> ModuleType:
    if dataset not in DATASETS:
        raise unknown("dataset", dataset, DATASETS)
    return import_module(f"mmadlib.data.{dataset}")


def root_of(dataset: str, root: str | Path | None = None) -> Path | None:
    """Where a dataset lies: `root`, or its own place; None where the library makes it. Raises SettingsError without either."""
    if root is not None:
        return paths.here(root)
    if dataset not in DEFAULT_ROOT:
        raise SettingsError(f"dataset {dataset!r} needs root=, the folder that holds its categories")
    return DEFAULT_ROOT[dataset]


def check_reader(dataset: str, options: dict[str, Any]) -> None:
    """Raise UnknownName for an option that the reader of a dataset does not offer."""
    known = _known(dataset)
    for name in options:
        if name not in known:
            raise unknown(f"{dataset} option", name, known | set(inspect.signature(load).parameters) - {"options"})


def _known(dataset: str) -> set[str]:
    """Names of what a reader can be told besides root, category and split."""
    return set(inspect.signature(_reader(dataset).entries).parameters) - {"root", "category", "split"}


def _options(dataset: str, data_seed: int, options: dict[str, Any]) -> dict[str, Any]:
    """Keywords for the reader; a name that it does not know is an error, as is a data seed for data that has none."""
    check_reader(dataset, options)
    if "data_seed" in _known(dataset):
        return options | {"data_seed": data_seed}
    if data_seed != 0:
        raise SettingsError(f"data_seed={data_seed}: only rendered data has several data seeds; leave it out for {dataset!r}")
    return options
