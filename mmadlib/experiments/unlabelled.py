"""Batches of unlabelled parts -> scores -> metrics -> one record: the path of methods that are given no good part.

Such a method judges the parts of a batch by each other (methods.BATCH_METHODS), so the test samples themselves are cut into
batches, whose truths only the metrics see. Every sample is judged once, in its batch; the metrics are those of all samples
together, as of any other method, so that a threshold has to hold for all batches.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

import numpy as np

from mmadlib import paths
from mmadlib.checks import one_of, whole
from mmadlib.data import DATASETS
from mmadlib.experiments.breakdown import breakdown, small_defects
from mmadlib.experiments.causes import Causes, made_by
from mmadlib.experiments.cells import Cell
from mmadlib.experiments.cost import model_mb, peaks, reset_peaks
from mmadlib.experiments.evaluate import Outcome, claim, write_run
from mmadlib.experiments.record import Record, environment
from mmadlib.experiments.source import Source
from mmadlib.features import Features
from mmadlib.methods import BATCH_METHODS, MuSc, Scores
from mmadlib.metrics.evaluate import EXTRA
from mmadlib.pinned import state
from mmadlib.progress import bar

BATCHES = 9  # stream of random numbers: which samples make a batch


def batches(n: int, size: int | None, seed: int = 0) -> list[list[int]]:
    """n places in as few batches of at most `size` as there can be, nearly equal, drawn at random; None: all in one batch.

    Raises SettingsError for a size below 1.
    """
    order = np.random.default_rng([seed, BATCHES]).permutation(n)
    count = 1 if size is None else -(-n // whole("shots", size, 1))
    return [sorted(part.tolist()) for part in np.array_split(order, max(1, count))]


def judged(model: MuSc, features: Sequence[Features], cut: Sequence[Sequence[int]],
           progress: bool = True) -> tuple[list[Scores], float]:
    """Scores of all samples, each of its batch, and milliseconds a sample, features composed before the clock starts."""
    found: dict[int, Scores] = {}
    seconds = 0.0
    for batch in bar(cut, f"{model.name}: batches", progress and len(cut) > 1):
        parts = [features[i] for i in batch]
        started = time.perf_counter()
        found |= dict(zip(batch, model.score_batch(parts, progress and len(cut) == 1), strict=True))
        seconds += time.perf_counter() - started
    return [found[i] for i in range(len(features))], 1000 * seconds / len(features)


def run_batches(dataset: str = "rendered", category: str = "keyed", method: str = "musc", *, data_seed: int = 0,
                variant: str = "default", features: str = "learned", shots: int | None = None, seed: int = 0,
                rule: str = "auto", settings: dict | None = None, options: dict | None = None, reader: dict | None = None,
                root: str | Path | None = None, test_limit: int | None = None, device: str = "cpu",
                base: str | Path = paths.RUNS, cache: str | Path | None = paths.CACHE, progress: bool = True,
                checkpoint: bool = False, names: Sequence[str] | str = (), source: Source | None = None,
                causes: Causes | None = None) -> Outcome:
    """Cut the test split into batches, judge each, write the run folder; arguments and errors as of evaluate.run_experiment.

    shots   parts of a batch, None: the whole test split; `seed` draws them. `rule` and `checkpoint` have no meaning here. The
            method of the outcome is that of the last batch. Record.draw names the samples batch by batch
    """
    started = time.perf_counter()
    if names or shots is not None:
        shots = whole("shots", names or shots, 1)  # type: ignore[arg-type]  # names are refused: batches are no draw
    one_of("dataset", dataset, DATASETS)
    one_of("method", method, BATCH_METHODS)
    this = Cell(dataset, category, method, variant, shots, seed, data_seed, settings or {}, features, options or {},
                reader or {}, rule, None if root is None else str(root), device, test_limit)
    model = BATCH_METHODS[method](seed=seed, device=device, **(settings or {}))
    reset_peaks(model.device)
    source = source or Source(dataset, category, data_seed=data_seed, features=features, options=options, reader=reader,
                              root=root, test_limit=test_limit, device=device, cache=cache, progress=progress)
    decided = (causes or Causes(progress)).of(this)
    folder = claim(this.folder(base))
    cut = batches(len(source.samples), shots, seed)
    scores, score_ms = judged(model, source.test, cut, progress)
    truths = [source.test.truth(i) for i in range(len(scores))]
    undefined: dict[str, dict[str, str]] = {}
    measured = partial(breakdown, scores, truths, [f.foreground for f in source.test], known={}, extra=EXTRA)
    metrics, by_defect = measured(undefined=undefined), measured(by="defect")
    said = [*sorted(set(undefined.get("all", {}).values())), *filter(None, [small_defects(truths)])]
    if said:
        warnings.warn(f"{dataset}/{category}: {'; '.join(said)}", stacklevel=2)
    described = asdict(model.settings) | {"features": source.extractor.settings, "rule": rule, "reader": reader or {}}
    record = Record(
        dataset=dataset, data_seed=data_seed, category=category, method=method, variant=variant, features=features,
        shots=shots, seed=seed, metrics=metrics, undefined=undefined, by_defect=by_defect, settings=described,
        draw=[source.samples.entries[i].rgb.stem for batch in cut for i in batch], device=str(model.device),
        n_test=len(scores), wall_s=time.perf_counter() - started, fit_s=0.0, score_ms=score_ms, model_mb=model_mb(model),
        **peaks(model.device), causes=decided,
        provenance=environment() | {"code": decided["code"], "data": made_by(dataset) or decided["data"], "pinned": state()})
    write_run(folder, record, source.samples, truths, scores)
    return Outcome(record, model, source.samples, source.test, scores, truths, folder)
