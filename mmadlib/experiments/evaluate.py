"""fit -> score -> metrics -> one record: the same path for every dataset, feature and method."""

from __future__ import annotations

import shutil
import time
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, cast

import numpy as np
import pandas as pd

from mmadlib import paths
from mmadlib.atomic import atomic
from mmadlib.checks import one_of
from mmadlib.data import DATASETS, Samples
from mmadlib.data.shots import NAMED, Shots, by_name, names_of
from mmadlib.errors import OutputError, explain
from mmadlib.experiments.breakdown import breakdown, name_of, small_defects, twin_auroc
from mmadlib.experiments.causes import Causes, made_by
from mmadlib.experiments.cells import Cell
from mmadlib.experiments.cost import model_mb, peaks, reset_peaks
from mmadlib.experiments.record import RECORD, Record, environment, write
from mmadlib.experiments.source import Chosen, Source
from mmadlib.features import FeatureSet, Truth
from mmadlib.methods import METHODS, Method, Scores
from mmadlib.methods.trained import Trained
from mmadlib.metrics.evaluate import EXTRA
from mmadlib.names import cell
from mmadlib.pinned import state
from mmadlib.prepare.grid import to_grid
from mmadlib.progress import bar


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


def timed_fit(model: Method, train: Chosen, progress: bool = True, checkpoint: Path | None = None) -> float:
    """Fit on the samples; seconds, their features composed before the clock starts. Methods that train may resume."""
    for _ in train:
        pass
    started = time.perf_counter()
    model.fit(train, progress, **({"checkpoint": checkpoint} if isinstance(model, Trained) else {}))
    return time.perf_counter() - started


def timed_scores(model: Method, features: Sequence, progress: bool = True) -> tuple[list[Scores], float]:
    """Scores of every sample and the median milliseconds of one, its features composed before the clock starts."""
    scores, seconds = [], []
    for i in bar(range(len(features)), f"{model.name}: score", progress):
        sample = features[i]
        started = time.perf_counter()
        scores.append(model.score(sample))  # arrays: a GPU has finished when they are there
        seconds.append(time.perf_counter() - started)
    return scores, 1000 * median(seconds)


def run(dataset: str = "rendered", category: str = "keyed", method: str = "cfm", *, data_seed: int = 0,
        variant: str = "default", features: str = "learned", shots: Shots = 4, seed: int = 0, rule: str = "auto",
        settings: dict | None = None, options: dict | None = None, reader: dict | None = None,
        root: str | Path | None = None, test_limit: int | None = None, device: str = "cpu",
        base: str | Path = paths.RUNS, cache: str | Path | None = paths.CACHE, progress: bool = True,
        checkpoint: bool = False, names: Sequence[str] | str = (), source: Source | None = None,
        causes: Causes | None = None) -> Outcome:
    """Draw the shots, extract, fit, score the test split, write the run folder; see `run_experiment` for the arguments.

    source: the category's features where several runs share them, made from the same arguments; causes: likewise. names: as
    a sweep gives one's own draw, beside the number of its shots.
    """
    started = time.perf_counter()
    if by_name(shots):
        names = str(shots) if isinstance(shots, Path) else shots
    count, rule = (len(names_of(names)), NAMED) if names else (cast(int | None, shots), rule)
    one_of("dataset", dataset, DATASETS)
    one_of("method", method, METHODS)
    this = Cell(dataset, category, method, variant, count, seed, data_seed, settings or {}, features, options or {},
                reader or {}, rule, None if root is None else str(root), device, test_limit,
                names=names if isinstance(names, str) else tuple(names))
    model = METHODS[method](seed=seed, device=device, **(settings or {}))  # bad settings fail before any work
    reset_peaks(model.device)
    source = source or Source(dataset, category, data_seed=data_seed, features=features, options=options, reader=reader,
                              root=root, test_limit=test_limit, device=device, cache=cache, progress=progress)
    train = source.draw(names or shots, seed, rule)
    decided = (causes or Causes(progress)).of(this)  # before anything is read: what changes later makes the run stale
    folder = claim(this.folder(base))
    kept = folder / "checkpoint"
    fit_s = timed_fit(model, source.prepare(train), progress, kept if checkpoint else None)
    scores, score_ms = timed_scores(model, source.test, progress)
    truths = [source.test.truth(i) for i in range(len(scores))]
    undefined: dict[str, dict[str, str]] = {}
    judged = partial(breakdown, scores, truths, [f.foreground for f in source.test],
                     getattr(model.settings, "image_norm", "none"), known={}, extra=EXTRA)
    metrics, by_defect = judged(undefined=undefined), judged(by="defect")
    said = [*sorted(set(undefined.get("all", {}).values())), *filter(None, [small_defects(truths)])]
    if said:
        warnings.warn(f"{dataset}/{category}: {'; '.join(said)}", stacklevel=2)
    if source.twins is not None:
        for subset, value in twin_auroc(model, *source.twins, source.samples, scores).items():
            metrics[subset]["i_auroc_twins"] = value
    described = asdict(model.settings) | {"features": source.extractor.settings, "rule": rule, "reader": reader or {}}
    record = Record(
        dataset=dataset, data_seed=data_seed, category=category, method=method, variant=variant, features=features,
        shots=count, seed=seed, metrics=metrics, undefined=undefined, by_defect=by_defect, settings=described,
        draw=train.names, device=str(model.device), n_test=len(scores), wall_s=time.perf_counter() - started, fit_s=fit_s,
        score_ms=score_ms, model_mb=model_mb(model), **peaks(model.device), causes=decided,
        provenance=environment() | {"code": decided["code"], "data": made_by(dataset) or decided["data"], "pinned": state()})
    write_run(folder, record, source.samples, truths, scores)
    shutil.rmtree(kept, ignore_errors=True)
    return Outcome(record, model, source.samples, source.test, scores, truths, folder)


def run_experiment(dataset: str = "rendered", category: str = "keyed", method: str = "cfm", **keywords: Any) -> Record:
    """One experiment from names to numbers; writes runs/<keys>/ and returns its Record.

    dataset, category, root   see mmadlib.data.load;   data_seed  which draw of the rendered data
    reader                    options of the dataset's reader, e.g. {"frame": "literature"} for Eyecandies
    method, settings          METHODS name and its settings;   variant  a label for these settings in tables
    features, options         family name (learned | descriptors | paper | random, or "rgb+xyz" names), Extractor options
    shots, seed, rule         normal training samples (None: all); the seed fixes the draw and the training. A list of names or
                              a text file of them is one's own draw: its record has the rule "named"
    test_limit                at most so many test samples, half of them normal (smoke runs)
    base, cache               where runs and feature tokens go;   device  cpu | cuda
    checkpoint                keep the state of a long training in the run's folder: the same run, started again, goes on

    Where the dataset has twins (rendered), the image AUROC of single-modality defects against their twins is measured, too.
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
    """scores.csv (a row per test sample), maps.npz (float32), and last metrics.json: a folder that has it is complete.

    Raises OutputError; then the folder has no metrics.json.
    """
    table = pd.DataFrame({"sample": [cell(name_of(e)) for e in test.entries],
                          "label": [t.label for t in truths], "defect": [cell(t.defect) for t in truths],
                          "modality": [t.modality for t in truths], "score": [s.image for s in scores]})
    try:
        (folder / RECORD).unlink(missing_ok=True)
        with atomic(folder / "scores.csv") as path:
            table.to_csv(path, index=False)
        with atomic(folder / "maps.npz") as path:
            np.savez_compressed(path, maps=np.stack([s.map for s in scores]).astype(np.float32))
        write(record, folder)
    except OSError as err:
        raise _not_writable(folder, err) from None
