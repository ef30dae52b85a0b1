"""Plans: which sweeps are run together, and the jobs that the scheduler makes of them.

A plan (workflow/config.yaml, workflow/plans/) has a list `sweeps` of entries with `params`, a sweep below workflow/params/ or
anywhere, and lists that narrow it: methods, categories, shots (0: all), data_seeds. `once`, `each` and `after` in it name
notebooks, see workflow/Snakefile. A job is one method on one category; with `job: category` all methods on one, where runs
are so short that a process and its features would take longer. `folder: choices` says that its rows go to results/choices/
(belonging.py). What else stands beside them narrows or moves the whole plan (`asked`), as in

    snakemake --configfile workflow/plans/mvtec3d.yaml --config root=<dataset> categories=bagel,rope features=descriptors
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mmadlib.checks import one_of
from mmadlib.errors import SettingsError, unknown
from mmadlib.experiments.cells import LIMITS, Cell, adapt, narrow
from mmadlib.experiments.grids import PARAMS, read_sweep
from mmadlib.paths import here

JOBS = ("method", "category")  # what a job is one of
GIVEN = ("root", "device", "features")  # of every run, in place of what the sweeps say
KEYS = ("once", "each", "after", "sweeps", "job", "folder", *LIMITS, *GIVEN, "into")


def read_plan(plan: Mapping[str, Any]) -> list[Cell]:
    """All runs of a plan's `sweeps`, each once. Raises SettingsError."""
    return list({cell.keys: cell for job in reversed(read_jobs(plan)) for cell in job.cells}.values())


@dataclass(frozen=True)
class Job:
    """What the scheduler runs at once: one method on one category, or all methods on it, for an entry of a plan."""

    params: str  # the sweep, below workflow/params/ or a path
    cells: tuple[Cell, ...]
    limits: Mapping[str, Sequence]
    after: tuple[str, ...] = ()  # marks of the earlier jobs that share a run with this one, which it then finds finished
    given: Mapping[str, str] = field(default_factory=dict)  # root, device, features of all runs
    by: str = "method"  # one of JOBS

    @property
    def mark(self) -> str:
        """notebook/sweep/method/category, the name of the file that says it is done; method "all" for all methods."""
        return f"{_place(self.params)}/{'all' if self.by == 'category' else self.cells[0].method}/{self.cells[0].category}"

    @property
    def methods(self) -> list[str]:
        """The methods of its runs, in the order of the sweep."""
        return list(dict.fromkeys(cell.method for cell in self.cells))

    @property
    def rendered(self) -> list[int]:
        """The data seeds to be rendered first."""
        return sorted({c.data_seed for c in self.cells if c.dataset == "rendered"})

    @property
    def arguments(self) -> list[str]:
        """Of `mmadlib sweep`."""
        options = {"method": self.methods, "category": [self.cells[0].category]} | {
            LIMITS[name].replace("_", "-"): self.limits[name] for name in ("shots", "data_seeds") if name in self.limits}
        options |= {name: [value] for name, value in self.given.items()}
        return [self.params, *(word for name, values in options.items() for word in (f"--{name}", *map(str, values)))]


def _place(params: str) -> str:
    """folder/name of a sweep in the marks; for a file that is not below workflow/params/ one that no other file has."""
    if (PARAMS / params).resolve().is_relative_to(PARAMS.resolve()) and (PARAMS / params).is_file():
        return params.removesuffix(".yaml")
    path = here(params)
    return f"own/{re.sub('[^A-Za-z0-9_.-]', '_', path.stem)}-{hashlib.blake2b(str(path).encode(), digest_size=4).hexdigest()}"


def asked(plan: Mapping[str, Any]) -> tuple[dict[str, list], dict[str, str]]:
    """What narrows a whole plan (LIMITS) and what its runs get (GIVEN), from lists or texts such as "bagel,cable_gland".

    Raises SettingsError where a number is expected, UnknownName for a key that no plan has.
    """
    for name in plan:
        one_of("key of a plan", name, KEYS)
    limits: dict[str, list] = {}
    for name in LIMITS:
        if (value := plan.get(name)) is not None:
            values = value if isinstance(value, list) else str(value).split(",")
            limits[name] = [_number(name, v) if name in ("shots", "data_seeds") else str(v).strip() for v in values]
    return limits, {name: str(plan[name]) for name in GIVEN if plan.get(name) is not None}


def _number(name: str, value: Any) -> int:
    try:
        if isinstance(value, (bool, float)):
            raise ValueError(value)
        return int(value)
    except (ValueError, TypeError):
        raise SettingsError(f"{name}={value}: expected whole numbers such as {name}=1,4") from None


def read_jobs(plan: Mapping[str, Any]) -> list[Job]:
    """The jobs of a plan, in its order, narrowed to what is `asked`.

    Raises SettingsError, also where two entries narrow one sweep to the same method and category, or give one run's keys
    two meanings; UnknownName for what is asked and in no sweep.
    """
    by = plan.get("job", JOBS[0])
    one_of("job of a plan", by, JOBS)
    jobs: dict[str, Job] = {}
    first: dict[tuple, tuple[Job, Cell]] = {}
    wanted, given = asked(plan)
    if not isinstance(plan.get("sweeps"), list):
        raise SettingsError("a plan needs sweeps: a list of entries such as 'params: 41_few_shot_1_2_4/rendered.yaml'")
    met: dict[str, set] = {name: set() for name in wanted}
    for entry in plan["sweeps"]:
        if not isinstance(entry, Mapping) or not isinstance(entry.get("params"), str):
            raise SettingsError(f"sweeps: {entry!r}: expected an entry such as 'params: 41_few_shot_1_2_4/rendered.yaml'")
        limits = {name: value for name, value in entry.items() if name != "params"}
        below = PARAMS / entry["params"]
        sweep = read_sweep(below if below.is_file() else entry["params"])
        cells = adapt(narrow(sweep, **limits), **given)
        for name in wanted:
            there = {getattr(c, LIMITS[name]) or 0 for c in cells}
            met[name] |= there
            limits[name] = [value for value in wanted[name] if value in there]
            cells = [c for c in cells if (getattr(c, LIMITS[name]) or 0) in limits[name]]
        parts: dict[tuple[str, str], list[Cell]] = {}
        for cell in cells:
            parts.setdefault((cell.method if by == "method" else "", cell.category), []).append(cell)
        for part in parts.values():
            shared = {first[c.keys][0].mark: None for c in part if _seen(c, first, entry["params"])}
            job = Job(entry["params"], tuple(part), limits, tuple(shared), given, by)
            if jobs.setdefault(job.mark, job) is not job:
                raise SettingsError(f"{job.mark} comes twice in the plan; list a sweep once")
            for cell in part:
                first.setdefault(cell.keys, (job, cell))
    for name, values in wanted.items():
        for value in values:
            if value not in met[name]:
                raise unknown(f"{LIMITS[name]} of this plan", value, map(str, met[name]))
    return list(jobs.values())


def _seen(cell: Cell, first: Mapping[tuple, tuple[Job, Cell]], params: str) -> bool:
    """Whether an earlier job has this run. Raises SettingsError when it has another one under the same keys."""
    _, other = first.get(cell.keys, (None, cell))
    if other is cell:
        return False
    if other.expected() != cell.expected():
        raise SettingsError(f"{params}: {cell} is another run in another sweep; rename its variant")
    return True
