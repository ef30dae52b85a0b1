"""How long the runs that are left of a sweep take, from how long such runs took."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from mmadlib import paths
from mmadlib.experiments.forecast import cores
from mmadlib.experiments.record import KEYS, find_records
from mmadlib.experiments.results import read_runs
from mmadlib.experiments.standing import Standing

ASSUMED = 30.0  # seconds of a run of a method that never ran on this dataset and these features: what the default may take


class Estimate(NamedTuple):
    """What is left of a sweep: runs to do, seconds for them on one core, methods whose time is only assumed."""

    missing: int
    seconds: float
    assumed: list[str]

    def __str__(self) -> str:
        guess = f"; {ASSUMED:.0f} s a run assumed for {', '.join(self.assumed)}" if self.assumed else ""
        return (f"{self.missing} to do: {self.seconds / 3600:.2f} hours on one core, "
                f"{self.seconds / 3600 / cores():.2f} on {cores()}{guess}")


def past_runs(base: str | Path = paths.RUNS, results: str | Path = paths.RESULTS) -> pd.DataFrame:
    """KEYS and wall_s of every run in results/runs.csv, own ones among them, and of those at hand."""
    rows = pd.concat([read_runs(results, own=True), pd.DataFrame([r.run_row() for r in find_records(base)], dtype=object)])
    rows = rows.reindex(columns=[*KEYS, "wall_s"]).assign(wall_s=pd.to_numeric(rows["wall_s"], errors="coerce"))
    return rows.assign(n=pd.to_numeric(rows["shots"].replace("full", 1000))).dropna(subset=["wall_s"])


def estimate(found: Sequence[Standing], base: str | Path = paths.RUNS, results: str | Path = paths.RESULTS) -> Estimate:
    """Time for the runs that are not finished: the fastest of past runs of the same method on the same dataset and features,
    those of the same variant if there are any, with the nearest number of shots; ASSUMED where there are none."""
    past, missing = past_runs(base, results), [s.cell for s in found if s.record is None]
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
    return Estimate(len(missing), seconds, sorted(assumed))
