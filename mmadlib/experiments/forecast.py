"""How long a plan takes: seconds of its jobs as they were measured once, scaled to this machine by a probe of its speed.

workflow/times.csv holds the measured seconds, one core a job, and those of the probe on the same machine; workflow/times.py
writes it from what the scheduler noted. A job is named as the file below runs/done/ that says it is done.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy.ndimage import gaussian_filter

from mmadlib.experiments.plan import read_jobs
from mmadlib.paths import RUNS, WORKFLOW

TIMES = WORKFLOW / "times.csv"
PROBE = "probe"
SHARE = 0.85  # of the cores that is busy on average: the last jobs wait for each other


class Forecast(NamedTuple):
    """Jobs of a plan, those whose file says they are done, seconds of the others on one core of this machine, how many of them
    were never measured, and the time that this machine takes for what took 1 when the times were measured."""

    jobs: int
    done: int
    seconds: float
    unknown: int
    slower: float

    def __str__(self) -> str:
        minutes = self.seconds / 60 / SHARE / cores()
        more = f", and {self.unknown} that were never measured" if self.unknown else ""
        return (f"{self.jobs} jobs, {self.done} done: about {minutes:.0f} minutes on {cores()} cores{more} "
                f"(this machine takes {self.slower:.1f} times as long as the one that measured)")


def cores() -> int:
    """The cores that this process may use: a container may have fewer than the machine."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def probe(tries: int = 3) -> float:
    """Seconds of a fixed piece of work of the kinds that runs are made of, the least of some tries; half a second or so."""
    x, best = np.random.default_rng(0).standard_normal((768, 768), np.float32), np.inf
    for _ in range(tries):
        started = time.perf_counter()
        for _ in range(6):
            np.sort((x @ x).ravel())
            gaussian_filter(x, 4)
        sum(i * i for i in range(500_000))  # the share of plain Python
        best = min(best, time.perf_counter() - started)
    return best


def jobs_of(plan: Mapping[str, Any]) -> list[str]:
    """The jobs that workflow/Snakefile makes of a plan. Raises SettingsError."""
    looks = [(name, category, each["data_seed"]) for name, each in plan["each"].items() for category in each["categories"]]
    sweeps = read_jobs(plan)
    drawn = {(job.cells[0].category, seed) for job in sweeps for seed in job.rendered} | {(c, seed) for _, c, seed in looks}
    return [*plan["once"], *(f"render_{category}_data{seed}" for category, seed in sorted(drawn)),
            *(f"{name}_{category}" for name, category, _ in looks), *(f"sweeps/{job.mark}" for job in sweeps),
            "80_collect", *plan["after"]]


def measured(path: Path = TIMES) -> dict[str, float]:
    """job -> seconds, the probe among them; empty without the file."""
    if not path.is_file():
        return {}
    table = pd.read_csv(path)
    return dict(zip(table["job"], table["seconds"].astype(float), strict=True))


def forecast(plan: Mapping[str, Any], runs: Path = RUNS, times: Path = TIMES) -> Forecast:
    """What is left of a plan and how long it takes here; `done` believes the files, whatever was edited since."""
    jobs, known = jobs_of(plan), measured(times)
    left = [job for job in jobs if not (runs / "done" / job).is_file()]
    slower = probe() / known[PROBE] if PROBE in known else 1.0
    return Forecast(len(jobs), len(jobs) - len(left), slower * sum(known.get(job, 0.0) for job in left),
                    sum(job not in known for job in left), slower)
