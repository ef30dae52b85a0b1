"""How long a plan takes: seconds that its notebooks, rendering and runs took once, scaled to this machine by a probe.

workflow/times.csv holds the seconds of notebooks and of rendering on one core, and those of the probe on the same machine;
workflow/times.py writes it from what the scheduler noted. Those of runs stand in results/runs.csv (sweep.estimate). A job is
named as the file below runs/done/ that says it is done.
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
from threadpoolctl import threadpool_limits

from mmadlib.experiments.plan import read_jobs
from mmadlib.paths import RUNS, WORKFLOW

TIMES = WORKFLOW / "times.csv"
PROBE = "probe"
SHARE = 0.85  # of the cores that is busy on average: the last jobs wait for each other


class Forecast(NamedTuple):
    """Notebooks and categories to render, how many of them are done, seconds for the others on one core of this machine, those
    that were never measured, and the time that this machine takes for what took 1 when they were."""

    jobs: int
    done: int
    seconds: float
    unknown: tuple[str, ...]
    slower: float

    def told(self, runs: float, cores: int) -> str:
        """The whole plan in a line; `runs`: seconds of its runs on one core of the machine that measured."""
        minutes = (self.seconds + self.slower * runs) / 60 / SHARE / cores
        more = f"; never measured: {', '.join(self.unknown)}" if self.unknown else ""
        return (f"with {self.jobs} notebooks and renderings, {self.done} of them done: about {minutes:.0f} minutes on {cores} "
                f"cores (this machine takes {self.slower:.1f} times as long as the one that measured){more}")


def cores() -> int:
    """The cores that this process may use: a container may have fewer than the machine."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def probe(tries: int = 3) -> float:
    """Seconds of a fixed piece of work of the kinds that runs are made of, on one core: the least of some tries."""
    x, best = np.random.default_rng(0).standard_normal((768, 768), np.float32), np.inf
    with threadpool_limits(1):
        for _ in range(tries):
            started = time.perf_counter()
            for _ in range(6):
                np.sort((x @ x).ravel())
                gaussian_filter(x, 4)
            sum(i * i for i in range(500_000))  # the share of plain Python
            best = min(best, time.perf_counter() - started)
    return best


def jobs_of(plan: Mapping[str, Any]) -> list[str]:
    """The jobs besides sweeps that workflow/Snakefile makes of a plan. Raises SettingsError."""
    looks = [(name, category, each["data_seed"]) for name, each in (plan.get("each") or {}).items()
             for category in each["categories"]]
    drawn = {(job.cells[0].category, seed) for job in read_jobs(plan) for seed in job.rendered}
    drawn |= {(category, seed) for _, category, seed in looks}
    return [*(plan.get("once") or {}), *(f"render_{category}_data{seed}" for category, seed in sorted(drawn)),
            *(f"{name}_{category}" for name, category, _ in looks), "80_collect", *(plan.get("after") or {})]


def measured(path: Path = TIMES) -> dict[str, float]:
    """job -> seconds, the probe among them; empty without the file."""
    if not path.is_file():
        return {}
    table = pd.read_csv(path)
    return dict(zip(table["job"], table["seconds"].astype(float), strict=True))


def forecast(plan: Mapping[str, Any], runs: Path = RUNS, times: Path = TIMES) -> Forecast:
    """What is left of a plan besides its sweeps; `done` believes the files, whatever was edited since.

    A category's rendering takes as long as the same one of another draw.
    """
    known = measured(times)
    known |= {f"{job.partition('_data')[0]}_data": seconds for job, seconds in known.items() if job.startswith("render_")}

    def seconds(job: str) -> float | None:
        return known.get(job, known.get(f"{job.partition('_data')[0]}_data"))

    jobs = jobs_of(plan)
    left = [job for job in jobs if not (runs / "done" / job).is_file()]
    slower = probe() / known[PROBE] if PROBE in known else 1.0
    return Forecast(len(jobs), len(jobs) - len(left), slower * sum(seconds(job) or 0 for job in left),
                    tuple(job for job in left if seconds(job) is None), slower)
