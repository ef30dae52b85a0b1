"""What decides the numbers of a run, cause by cause, each as a short digest: a run is finished while none of them changes.

code       the modules that decide it (identity.py)
settings   of the method and of the features, few-shot rule, options of the reader
weights    of pretrained backbones: the bytes of their files
data       the content of the samples that it used: training draw, test samples, twins
pinned     instruction set and threads of all libraries (mmadlib.pinned)
root       where the data lie, if the user said so;   test_limit   how many test samples were asked for
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any

from mmadlib import paths
from mmadlib.data import Samples, content_keys, load, root_of, splits
from mmadlib.data.contents import CONTENTS
from mmadlib.data.rendered_plan import VERSION
from mmadlib.data.shots import chosen
from mmadlib.errors import DataError, WeightsError, explain
from mmadlib.experiments.breakdown import twins_of
from mmadlib.experiments.cells import Cell
from mmadlib.experiments.identity import run_identity, runner
from mmadlib.experiments.source import limit_test
from mmadlib.paths import here, shown
from mmadlib.pinned import state

UNTRAINED = ("none", "descriptors", "random")  # features without weights
CAUSES = ("code", "settings", "weights", "data", "pinned", "root", "test_limit")


def short(content: Any) -> str:
    """16 hex digits of what JSON can write."""
    text = json.dumps(content, sort_keys=True, default=str)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def made_by(dataset: str) -> str:
    """What the samples of a dataset come from where the library makes them; "" where they are files of the user."""
    return f"renderer {VERSION}" if dataset == "rendered" else ""


def usual(causes: Mapping[str, str], name: str) -> bool:
    """Whether the root was not given, or the test set not limited; so it was, too, in records from before causes."""
    return causes.get(name, short(None)) == short(None)


@cache
def _packaged(network: str) -> str:
    """Digest of the weights of a network as its package has them; "" for a network without one, or that is not installed."""
    from mmadlib.features.networks import NAMES
    from mmadlib.features.packages import PACKAGES, installed

    if (full := NAMES.get(network, network)) not in PACKAGES:
        return ""
    try:
        return CONTENTS.digest(installed(full))
    except WeightsError:
        return ""


def shipped(features: Mapping[str, Any]) -> dict[str, str]:
    """side -> digest of its weights, of features by name that come from installed packages alone; empty where they do not,
    and for features without a network. A file that stands in for a package is not looked for."""
    from mmadlib.features.front_ends import NORMALS

    named = {side: str(features.get(side, "none")) for side in ("rgb", "xyz")}
    found = {side: _packaged(name.removeprefix(NORMALS)) for side, name in named.items() if name not in UNTRAINED}
    return found if all(found.values()) else {}


class Causes:
    """Causes of runs by `of`. Data of a category and weights are read once: make one anew to see the disk as it is now."""

    def __init__(self, progress: bool = False) -> None:
        self.progress = progress
        self._samples: dict[str, Samples] = {}
        self._keys: dict[str, list[str]] = {}
        self._weights: dict[str, dict[str, str]] = {}

    def of(self, cell: Cell) -> dict[str, str]:
        """cause -> digest. Raises DataError for data that cannot be listed or read, WeightsError for missing weights."""
        return {"code": run_identity(cell.method, cell.dataset), "settings": short(cell.expected()),
                "weights": short(self.weights(cell)), "data": self.data(cell), "pinned": short(state()),
                "root": short(cell.root and str(here(cell.root))), "test_limit": short(cell.test_limit)}

    def weights(self, cell: Cell) -> dict[str, str]:
        """side -> digest of the weights of a run, looked for once. Raises WeightsError."""
        from mmadlib.features import family, weights_of
        from mmadlib.features.options import check_options

        which = short([cell.features, cell.options])
        if which not in self._weights:
            (rgb, xyz), options = family(cell.features), check_options(cell.options)
            plain = options.rgb_weights is None and not any(paths.WEIGHTS.glob("*"))
            packaged = shipped({"rgb": rgb, "xyz": xyz}) if plain else {}  # known without loading timm, which takes seconds
            self._weights[which] = packaged or weights_of(rgb, xyz, options)
        return self._weights[which]

    def data(self, cell: Cell) -> str:
        """Digest of the content of all samples that a run uses, in their order. Raises DataError."""
        test = limit_test(self._split(cell, "test"), cell.test_limit)
        if runner(cell.method) == "unlabelled":
            return short([[e.rgb.stem for e in test.entries] + self._contents(test)])
        train = self._split(cell, "train")
        drawn = chosen([e.rgb for e in train.entries], cell.names or cell.shots, cell.seed, cell.rule)
        used = [train.take(drawn), test]
        if "twins" in splits(cell.dataset):
            used.append(twins_of(test, self._split(cell, "twins")))
        return short([[e.rgb.stem for e in samples.entries] + self._contents(samples) for samples in used])

    def _split(self, cell: Cell, split: str) -> Samples:
        where = short([cell.dataset, cell.category, split, cell.root, cell.data_seed, cell.reader])
        if where not in self._samples:
            self._samples[where] = load(cell.dataset, cell.category, split, root=cell.root, data_seed=cell.data_seed,
                                        **cell.reader)
        return self._samples[where]

    def _contents(self, samples: Samples) -> list[str]:
        which = short([[e.rgb, e.gt, sorted(e.extra.items(), key=str)] for e in samples.entries])
        if which not in self._keys:
            self._keys[which] = content_keys(samples.entries, self.progress)
        return self._keys[which]


def check_roots(cells: Iterable[Cell]) -> None:
    """Raise DataError for a root that does not exist, SettingsError where one is needed and not given: whether or not the
    runs are finished; rendered data make theirs."""
    for dataset, root in dict.fromkeys((cell.dataset, cell.root) for cell in cells if not made_by(cell.dataset)):
        place = root_of(dataset, root)
        if place is not None and not place.is_dir():
            raise DataError(explain(shown(place), "is not a folder", "give the folder that holds the dataset's categories"))


def check_devices(cells: Sequence[Cell], causes: Causes) -> None:
    """Raise SettingsError for a device that this machine lacks, WeightsError for weights that are not there: once, before
    anything starts."""
    from mmadlib.checks import check_device

    for device in sorted({cell.device for cell in cells}):
        check_device(device)
    for cell in cells:
        causes.weights(cell)
