"""fit -> score -> metrics -> one record: the same path for every dataset, feature and method."""

from __future__ import annotations

import resource
import time
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from mmadlib import paths
from mmadlib.atomic import atomic
from mmadlib.breakdown import breakdown, name_of, twin_auroc, twins_of
from mmadlib.data import Samples, load
from mmadlib.errors import OutputError, SettingsError, explain, unknown
from mmadlib.features import Extractor, FeatureSet, Truth, extract_all, family
from mmadlib.loading import to_grid
from mmadlib.methods import METHODS, Method, Scores
from mmadlib.progress import bar
from mmadlib.record import Record, write


@dataclass(frozen=True, eq=False)
class Outcome:
    """One finished run with everything a notebook may want to look at; position i is the i-th test sample."""

    record: Record
    method: Method
    test: Samples
    features: FeatureSet
    scores: list[Scores]
    truths: list[Truth]
    folder: Path

    def row(self, i: int) -> dict:
        """Sample i on the grid of its map, as plots.show_samples takes it: rgb, xyz, mask, object, map and title."""
        grid, seen = to_grid(self.test[i], self.features[i].size[0]), self.features[i]
        return {"rgb": grid.rgb, "xyz": seen.cloud, "mask": grid.mask, "object": seen.foreground, "map": self.scores[i].map,
                "title": self.truths[i].defect}


def limit_test(test: Samples, limit: int | None) -> Samples:
    """At most `limit` test samples, half of them normal, the rest from every kind of defect in turn; None keeps all.

    Raises SettingsError below 2, where no image metric exists.
    """
    if limit is not None and (not isinstance(limit, int) or limit < 2):
        raise SettingsError(f"test_limit={limit!r}: at least 2 test samples, or None for all")
    if limit is None or limit >= len(test):
        return test
    kinds: dict[str, list[int]] = {}
    for i, entry in enumerate(test.entries):
        kinds.setdefault(entry.defect, []).append(i)
    # normal samples get as many places as all defects together, or the AUROC would hang on one or two of them
    normal = kinds.pop("good", [])[: limit - limit // 2 if kinds else limit]
    turns = [members[turn] for turn in range(max(map(len, kinds.values()), default=0))
             for members in kinds.values() if turn < len(members)]
    return test.take(sorted([*normal, *turns[: limit - len(normal)]]))


def score_all(method: Method, features: Sequence, progress: bool = True) -> list[Scores]:
    """Score every sample of a sequence."""
    return [method.score(features[i]) for i in bar(range(len(features)), f"{method.name}: score", progress)]


def run(dataset: str = "rendered", category: str = "keyed", method: str = "cfm", *, data_seed: int = 0,
        variant: str = "default", features: str = "descriptors", shots: int | None = 4, seed: int = 0, rule: str = "auto",
        settings: dict | None = None, options: dict | None = None, reader: dict | None = None,
        root: str | Path | None = None, test_limit: int | None = None, twins: bool = False, device: str = "cpu",
        base: str | Path = paths.RUNS, cache: str | Path | None = paths.CACHE, progress: bool = True) -> Outcome:
    """Draw the shots, extract, fit, score the test split, write the run folder; see `run_experiment` for the arguments."""
    started = time.perf_counter()
    if method not in METHODS:
        raise unknown("method", method, METHODS)
    model = METHODS[method](seed=seed, device=device, **(settings or {}))  # bad settings fail before any work
    extractor = Extractor(*family(features), device=device, **(options or {}))
    take = partial(load, dataset, category, root=root, data_seed=data_seed, **(reader or {}))
    train, test = take("train", shots=shots, seed=seed, rule=rule), limit_test(take("test"), test_limit)
    folder = claim(paths.run_dir(dataset, data_seed, category, method, variant, features, shots, seed, base))
    model.fit(extract_all(train, extractor, cache, progress), progress)
    tested = extract_all(test, extractor, cache, progress)
    scores, truths = score_all(model, tested, progress), [tested.truth(i) for i in range(len(tested))]
    foregrounds = [tested[i].foreground for i in range(len(tested))]
    undefined: dict[str, dict[str, str]] = {}
    judged = partial(breakdown, scores, truths, foregrounds, getattr(model.settings, "image_norm", "none"))
    metrics, by_defect = judged(undefined=undefined), judged(by="defect")
    if undefined:
        warnings.warn(f"{dataset}/{category}: {'; '.join(sorted(set(undefined.get('all', {}).values())))}", stacklevel=2)
    if twins:
        paired = twins_of(test, take("twins"))
        for subset, value in twin_auroc(model, extract_all(paired, extractor, cache, progress), test, scores).items():
            metrics[subset]["i_auroc_twins"] = value
    record = Record(
        dataset=dataset, data_seed=data_seed, category=category, method=method, variant=variant, features=features,
        shots=shots, seed=seed, metrics=metrics, undefined=undefined, by_defect=by_defect,
        settings=asdict(model.settings) | {"features": extractor.settings, "rule": rule, "reader": reader or {}},
        draw=[e.rgb.stem for e in train.entries], device=str(model.device), wall_s=time.perf_counter() - started,
        peak_mb=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, n_test=len(test))
    write_run(folder, record, test, truths, scores)
    return Outcome(record, model, test, tested, scores, truths, folder)


def run_experiment(dataset: str = "rendered", category: str = "keyed", method: str = "cfm", **keywords) -> Record:
    """One experiment from names to numbers; writes runs/<keys>/ and returns its Record.

    dataset, category, root   see mmadlib.data.load;   data_seed  which draw of the rendered data
    reader                    options of the dataset's reader, e.g. {"frame": "literature"} for Eyecandies
    method, settings          METHODS name and its settings;   variant  a label for these settings in tables
    features, options         family name (descriptors | paper | random, or "rgb+xyz" names) and Extractor options
    shots, seed, rule         normal training samples (None: all); the seed fixes the draw and the training
    test_limit                at most so many test samples, half of them normal (smoke runs)
    twins                     also measure image AUROC of single-modality defects against their twins (rendered)
    base, cache               where runs and feature tokens go;   device  cpu | cuda

    A metric without a value, e.g. on a category without defects, is left out of the tables; a warning and
    Record.undefined say why. Raises UnknownName, SettingsError, WeightsError or OutputError before any work; DataError,
    PreprocessError, CacheError or TrainingError on the way, without a record.
    """
    return run(dataset, category, method, **keywords).record


def claim(folder: Path) -> Path:
    """The run folder, made if need be. Raises OutputError when it cannot be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as err:
        raise _not_writable(folder, err) from None
    return folder


def _not_writable(folder: Path, err: OSError) -> OutputError:
    return OutputError(explain(paths.shown(folder), f"cannot be written ({err.strerror or err})",
                               "free some space or give base= a folder that you may write to"))


def write_run(folder: Path, record: Record, test: Samples, truths: Sequence[Truth], scores: Sequence[Scores]) -> None:
    """scores.csv (a row per test sample), maps.npz (float16), and last metrics.json: a folder that has it is complete.

    Raises OutputError; then the folder has no metrics.json.
    """
    table = pd.DataFrame({"sample": [name_of(e) for e in test.entries],
                          "label": [t.label for t in truths], "defect": [t.defect for t in truths],
                          "modality": [t.modality for t in truths], "score": [s.image for s in scores]})
    try:
        (folder / "metrics.json").unlink(missing_ok=True)
        with atomic(folder / "scores.csv") as path:
            table.to_csv(path, index=False)
        with atomic(folder / "maps.npz") as path:
            np.savez_compressed(path, maps=np.stack([s.map for s in scores]).astype(np.float16))
        write(record, folder)
    except OSError as err:
        raise _not_writable(folder, err) from None
