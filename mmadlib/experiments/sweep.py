"""Run sweeps (grids.py) and plans (plan.py).

A run is skipped while nothing that decides it has changed (causes.py), so an interrupted sweep goes on where it stopped; the
features of a category are made once for all its runs. A run that fails is reported at the end and does not stop the others.
"""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mmadlib import paths
from mmadlib.errors import MmadError
from mmadlib.experiments.causes import Causes, check_devices, check_roots
from mmadlib.experiments.cells import Cell, adapt, narrow
from mmadlib.experiments.estimate import estimate
from mmadlib.experiments.forecast import cores, forecast
from mmadlib.experiments.grids import read_sweep
from mmadlib.experiments.identity import run_identity, runner
from mmadlib.experiments.params import read_yaml
from mmadlib.experiments.plan import read_plan
from mmadlib.experiments.record import RECORD, Record
from mmadlib.experiments.standing import Standing, standings, told
from mmadlib.progress import bar

Say = Callable[[str], None]


class SweepError(MmadError):
    """Some runs of a sweep failed; the others are done."""


def look(cells: Iterable[Cell], base: str | Path = paths.RUNS, progress: bool = False,
         ready: bool = True) -> tuple[list[Standing], Causes]:
    """How all runs stand, in the order in which they share features, and what decides them as it is now.

    Raises DataError for a root that does not exist; when they shall be `ready` to run, SettingsError for a missing device and
    WeightsError for missing weights.
    """
    ordered = sorted(cells, key=_features)
    check_roots(ordered)
    causes = Causes(progress)
    if ready:
        check_devices(ordered, causes)
    for cell in ordered:
        run_identity(cell.method, cell.dataset)  # the code as it is now, whatever is edited on the way
    return standings(ordered, base, causes), causes


def run_cells(cells: Iterable[Cell], base: str | Path = paths.RUNS, cache: str | Path | None = paths.CACHE,
              progress: bool = True, say: Say = lambda line: None) -> tuple[list[Record], list[str]]:
    """Run what is not finished; returns the records of all cells that have one now, and what went wrong with the others.

    May be stopped at any time: a run folder is complete once it has its record. `say` gets a line per run. Raises as `look`,
    before anything runs.
    """
    found, causes = look(cells, base, progress)
    say(told(found))
    return run_missing(found, causes, base, cache, progress, say)


def run_missing(found: Sequence[Standing], causes: Causes, base: str | Path = paths.RUNS,
                cache: str | Path | None = paths.CACHE, progress: bool = True,
                say: Say = lambda line: None) -> tuple[list[Record], list[str]]:
    """The second half of `run_cells`. Runs on the same features follow each other, and only their feature sets are held."""
    from mmadlib.experiments import evaluate, unlabelled  # here: an estimate needs no experiment
    from mmadlib.experiments.source import Source

    records, failed = [], []
    kind, source = "", None
    for cell, record in bar([(s.cell, s.record) for s in found], "sweep", progress):
        if record is None:
            try:
                (cell.folder(base) / RECORD).unlink(missing_ok=True)  # what is no longer valid is not to be collected either
                if _features(cell) != kind:
                    kind, source = "", None  # the old sets go before the new ones come
                    kind, source = _features(cell), Source(**cell.source(), cache=cache, progress=False)
                run = {"evaluate": evaluate.run, "unlabelled": unlabelled.run_batches}[runner(cell.method)]
                record = run(**asdict(cell), base=base, cache=cache, progress=False, source=source, causes=causes).record
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
            given: Mapping[str, str | None] | None = None, base: str | Path = paths.RUNS, estimate_only: bool = False,
            share: int = 0) -> int:
    """`mmadlib sweep`: run what is not finished of some sweeps and plans, or only say what is left.

    limits  what narrows the runs (cells.LIMITS);   given  root, device, features of every run (cells.adapt)
    share   cores that a plan will be given, for the estimate; 0: all

    Exit code 0, 1 when a run failed, 130 when interrupted. Raises SettingsError before anything runs.
    """
    cells = narrow(read_cells(files), **(limits or {}))
    cells = adapt(cells, **(given or {}))
    try:
        found, causes = look(cells, base, progress=True, ready=not estimate_only)
        left = estimate(found, base)
        print(f"{told(found)}\n{left}", flush=True)
        if estimate_only:
            for plan in read_plans(files)[:1]:
                print(forecast(plan).told(left.seconds, share or cores()))
            return 0
        records, failed = run_missing(found, causes, base, say=lambda line: print(line, flush=True))
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from here", file=sys.stderr)
        return 130
    print(f"finished: {len(records)} of {len(cells)}")
    if failed:
        print("\n".join([f"{len(failed)} failed:", *failed]), file=sys.stderr)
    return int(bool(failed))
