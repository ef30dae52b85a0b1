"""Plans: which sweeps are run together, and the jobs that the scheduler makes of them.

A plan (workflow/config.yaml, workflow/plans/) has a list `sweeps` of entries with `params`, a sweep below workflow/params/,
and lists that narrow it: methods, categories, shots (0: all), data_seeds. `once`, `each` and `after` in it name notebooks, see
workflow/Snakefile.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmadlib.errors import SettingsError
from mmadlib.experiments.cells import LIMITS, Cell, narrow
from mmadlib.experiments.grids import PARAMS, read_sweep


def read_plan(plan: Mapping[str, Any]) -> list[Cell]:
    """All runs of a plan's `sweeps`, each once. Raises SettingsError."""
    return list({cell.folder(): cell for job in reversed(read_jobs(plan)) for cell in job.cells}.values())


@dataclass(frozen=True)
class Job:
    """What the scheduler runs at once: one method on one category, for an entry of a plan."""

    params: str  # the sweep, below workflow/params/
    cells: tuple[Cell, ...]
    limits: Mapping[str, Sequence]
    after: tuple[str, ...] = ()  # marks of the earlier jobs that share a run with this one, which it then finds finished

    @property
    def mark(self) -> str:
        """notebook/sweep/method/category, the name of the file that says it is done."""
        return f"{self.params.removesuffix('.yaml')}/{self.cells[0].method}/{self.cells[0].category}"

    @property
    def rendered(self) -> list[int]:
        """The data seeds to be rendered first."""
        return sorted({c.data_seed for c in self.cells if c.dataset == "rendered"})

    @property
    def arguments(self) -> list[str]:
        """Of `mmadlib sweep`."""
        options = {"method": [self.cells[0].method], "category": [self.cells[0].category]} | {
            LIMITS[name].replace("_", "-"): self.limits[name] for name in ("shots", "data_seeds") if name in self.limits}
        return [self.params, *(word for name, values in options.items() for word in (f"--{name}", *map(str, values)))]


def read_jobs(plan: Mapping[str, Any]) -> list[Job]:
    """The jobs of a plan, in its order.

    Raises SettingsError, also where two entries narrow one sweep to the same method and category, or give one run's keys
    two meanings.
    """
    jobs: dict[str, Job] = {}
    first: dict[Path, tuple[Job, Cell]] = {}
    for entry in plan["sweeps"]:
        if not isinstance(entry, Mapping) or "params" not in entry:
            raise SettingsError(f"sweeps: {entry!r}: expected an entry such as 'params: 41_few_shot_1_2_4/rendered.yaml'")
        limits = {name: value for name, value in entry.items() if name != "params"}
        parts: dict[tuple[str, str], list[Cell]] = {}
        for cell in narrow(read_sweep(PARAMS / entry["params"]), **limits):
            parts.setdefault((cell.method, cell.category), []).append(cell)
        for cells in parts.values():
            shared = {first[c.folder()][0].mark: None for c in cells if _seen(c, first, entry["params"])}
            job = Job(entry["params"], tuple(cells), limits, tuple(shared))
            if jobs.setdefault(job.mark, job) is not job:
                raise SettingsError(f"{job.mark} comes twice in the plan; list a sweep once")
            for cell in cells:
                first.setdefault(cell.folder(), (job, cell))
    return list(jobs.values())


def _seen(cell: Cell, first: Mapping[Path, tuple[Job, Cell]], params: str) -> bool:
    """Whether an earlier job has this run. Raises SettingsError when it has another one under the same keys."""
    _, other = first.get(cell.folder(), (None, cell))
    if other is cell:
        return False
    if other.expected() != cell.expected():
        raise SettingsError(f"{params}: {cell} is another run in another sweep; rename its variant")
    return True
