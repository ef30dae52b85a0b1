"""Run sweeps (grids.py) and plans (plan.py).

Runs whose record has the same settings and was made by the same
code are skipped, so an interrupted sweep goes on where it stopped; the features of a category are made once for all its
runs. A run that fails is reported at the end and does not stop the others.
"""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from mmadlib import paths
from mmadlib.errors import DataError, MmadError
from mmadlib.experiments.cells import Cell, narrow
from mmadlib.experiments.forecast import cores, forecast
from mmadlib.experiments.grids import read_sweep
from mmadlib.experiments.identity import run_identity
from mmadlib.experiments.params import read_yaml
from mmadlib.experiments.plan import read_plan
from mmadlib.experiments.record import KEYS, Record, find_records, plain, read
from mmadlib.experiments.results import read_runs
from mmadlib.progress import bar

ASSUMED = 30.0  # seconds of a run of a method that never ran on this dataset and these features: what the default may take


class SweepError(MmadError):
    """Some runs of a sweep failed; the others are done."""


class Estimate(NamedTuple):
    """What is left of a sweep: runs, those finished, seconds on one core for the rest, methods whose time is only assumed."""

    cells: int
    finished: int
    seconds: float
    assumed: list[str]

    def __str__(self) -> str:
        missing = self.cells - self.finished
        guess = f"; {ASSUMED:.0f} s a run assumed for {', '.join(self.assumed)}" if self.assumed else ""
        return (f"{self.cells} runs, {self.finished} finished, {missing} to do: {self.seconds / 3600:.2f} hours on one core, "
                f"{self.seconds / 3600 / cores():.2f} on {cores()}{guess}")


def finished(cell: Cell, base: str | Path = paths.RUNS) -> Record | None:
    """The record of the cell when its settings and code are today's, else None."""
    try:
        record = read(cell.folder(base) / "metrics.json")
    except DataError:
        return None
    settings, expected = (json.dumps(plain(s), sort_keys=True, default=str) for s in (record.settings, cell.expected()))
    same = settings == expected and record.provenance.get("code") == run_identity(cell.method, cell.dataset)
    return record if same else None


def past_runs(base: str | Path = paths.RUNS, results: str | Path = paths.RESULTS) -> pd.DataFrame:
    """KEYS and wall_s of every run in results/runs.csv and of those at hand."""
    rows = pd.concat([read_runs(results), pd.DataFrame([r.run_row() for r in find_records(base)], dtype=object)])
    rows = rows.reindex(columns=[*KEYS, "wall_s"]).assign(wall_s=pd.to_numeric(rows["wall_s"], errors="coerce"))
    return rows.assign(n=pd.to_numeric(rows["shots"].replace("full", 1000))).dropna(subset=["wall_s"])


def estimate(cells: Sequence[Cell], base: str | Path = paths.RUNS, results: str | Path = paths.RESULTS) -> Estimate:
    """Time for the runs that are not finished: the fastest of past runs of the same method on the same dataset and features,
    those of the same variant if there are any, with the nearest number of shots; ASSUMED where there are none."""
    past, missing = past_runs(base, results), [c for c in cells if finished(c, base) is None]
    seconds, assumed = 0.0, set()
    for cell in missing:
        like = past[(past["method"] == cell.method) & (past["dataset"] == cell.dataset) & (past["features"] == cell.features)]
        same = like[like["variant"] == cell.variant]
        like = like if same.empty else same
        if like.empty:
            assumed.add(cell.method)
            seconds += ASSUMED
            continue
        distance = np.abs(np.log(like["n"].astype(float) / (cell.shots or 1000)))
        seconds += like.loc[(distance == distance.min()).to_numpy(), "wall_s"].min()  # others may have been on a busy machine
    return Estimate(len(cells), len(cells) - len(missing), seconds, sorted(assumed))


def run_cells(cells: Iterable[Cell], base: str | Path = paths.RUNS, cache: str | Path | None = paths.CACHE,
              progress: bool = True, say: Callable[[str], None] = lambda line: None) -> tuple[list[Record], list[str]]:
    """Run what is not finished; returns the records of all cells that have one now, and what went wrong with the others.

    Runs on the same features come one after the other, and only their feature sets are held. May be stopped at any time: a
    run folder is complete once it has its record. `say` gets a line per run.
    """
    from mmadlib.experiments.evaluate import run  # here: an estimate needs no experiment
    from mmadlib.experiments.source import Source

    records, failed = [], []
    kind, source = "", None
    ordered = sorted(cells, key=_features)
    for cell in ordered:
        run_identity(cell.method, cell.dataset)  # the code as it is now, whatever is edited on the way
    for cell in bar(ordered, "sweep", progress):
        if (record := finished(cell, base)) is None:
            try:
                if _features(cell) != kind:
                    kind, source = "", None  # the old sets go before the new ones come
                    kind, source = _features(cell), Source(**cell.source(), cache=cache, progress=False)
                record = run(**asdict(cell), base=base, cache=cache, progress=False, source=source).record
            except Exception as err:  # whatever goes wrong with one run, the others are worth having
                failed.append(f"{cell}: {_reason(err)}")
                say(f"failed: {failed[-1]}")
                continue
            say(f"{cell}: I-AUROC {record.metrics['all']['i_auroc']:.3f}, {record.wall_s:.1f} s")
        records.append(record)
    return records, failed


def _features(cell: Cell) -> str:
    """Equal for cells that share their features."""
    return json.dumps(cell.source(), sort_keys=True, default=str)


def _reason(err: Exception) -> str:
    """A user's mistake in one sentence, anything else with its traceback."""
    return str(err) if isinstance(err, MmadError) else "".join(traceback.format_exception(err)).rstrip()


def run_sweep(sweep: str | Path | Mapping[str, Any], *, methods: Sequence[str] | None = None,
              categories: Sequence[str] | None = None, shots: Sequence[int] | None = None,
              data_seeds: Sequence[int] | None = None, base: str | Path = paths.RUNS,
              cache: str | Path | None = paths.CACHE, progress: bool = True) -> list[Record]:
    """The records of a sweep, narrowed to the given values (shots 0: all); only what is not finished is run.

    sweep: a file below workflow/params/ or the same as a mapping. Raises SettingsError before anything runs, SweepError
    at the end when a run failed.
    """
    cells = narrow(read_sweep(sweep), methods=methods, categories=categories, shots=shots, data_seeds=data_seeds)
    records, failed = run_cells(cells, base, cache, progress)
    if failed:
        raise SweepError(f"{len(failed)} of {len(cells)} runs failed\n" + "\n".join(failed))
    return records


def read_plans(files: Sequence[str | Path]) -> list[dict[str, Any]]:
    """Those of some files that are plans. Raises SettingsError."""
    found = [read_yaml(Path(file)) for file in files if Path(file).is_file()]
    return [content for content in found if "sweeps" in content]


def read_cells(files: Sequence[str | Path]) -> list[Cell]:
    """The runs of sweeps and plans. Raises SettingsError."""
    cells = []
    for file in files:
        plans = read_plans([file])
        cells += read_plan(plans[0]) if plans else read_sweep(file)
    return cells


def command(files: Sequence[str | Path], limits: Mapping[str, Sequence | None] | None = None,
            given: Mapping[str, Any] | None = None, base: str | Path = paths.RUNS, estimate_only: bool = False,
            share: int = 0) -> int:
    """`mmadlib sweep`: run what is not finished of some sweeps and plans, or only say what is left.

    limits  what narrows the runs (cells.LIMITS);   given  fields of every run, root and device
    share   cores that a plan will be given, for the estimate; 0: all

    Exit code 0, 1 when a run failed, 130 when interrupted. Raises SettingsError before anything runs.
    """
    cells = narrow(read_cells(files), **(limits or {}))
    cells = [replace(cell, **(given or {})) for cell in cells]
    left = estimate(cells, base)
    print(left, flush=True)
    if estimate_only:
        for plan in read_plans(files)[:1]:
            print(forecast(plan).told(left.seconds, share or cores()))
        return 0
    try:
        records, failed = run_cells(cells, base, say=lambda line: print(line, flush=True))
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from here", file=sys.stderr)
        return 130
    print(f"{len(records)} of {len(cells)} runs are finished")
    if failed:
        print("\n".join([f"{len(failed)} failed:", *failed]), file=sys.stderr)
    return int(bool(failed))
