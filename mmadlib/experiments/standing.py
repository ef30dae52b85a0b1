"""How the runs of a sweep stand: finished, or not, and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from mmadlib.errors import DataError, MmadError, WeightsError
from mmadlib.experiments.causes import CAUSES, Causes
from mmadlib.experiments.cells import Cell
from mmadlib.experiments.record import RECORD, Record, read
from mmadlib.paths import RUNS


@dataclass(frozen=True)
class Standing:
    """One run: its record while nothing that decides it has changed, or else what has changed, or what cannot be read.

    changed   causes that are others than when it ran;   damaged   why its record cannot be trusted
    """

    cell: Cell
    record: Record | None = None
    changed: tuple[str, ...] = ()
    damaged: str = ""


def stand(cell: Cell, base: str | Path = RUNS, causes: Causes | None = None) -> Standing:
    """How one run stands; a run whose data or weights cannot be read is not finished."""
    path = cell.folder(base) / RECORD
    if not path.exists():
        return Standing(cell)
    try:
        record = read(path, base)
    except DataError as fault:
        return Standing(cell, damaged=str(fault))
    try:
        now = (causes or Causes()).of(cell)
    except MmadError as err:  # also a draw of more samples than are left
        return Standing(cell, changed=("weights" if isinstance(err, WeightsError) else "data",))
    changed = tuple(name for name in CAUSES if record.causes.get(name) != now[name])
    return Standing(cell, changed=changed) if changed else Standing(cell, record)


def standings(cells: Iterable[Cell], base: str | Path = RUNS, causes: Causes | None = None) -> list[Standing]:
    """How each run stands, now."""
    causes = causes or Causes()
    return [stand(cell, base, causes) for cell in cells]


def told(found: Sequence[Standing]) -> str:
    """A line of counts, saying what has changed for how many runs, and a line for each damaged record."""
    changed = Counter(cause for s in found for cause in s.changed)
    again, damaged = sum(bool(s.changed) for s in found), [s.damaged for s in found if s.damaged]
    line = f"{len(found)} run{'s' * (len(found) != 1)}, {sum(s.record is not None for s in found)} finished"
    if again:
        causes = ", ".join(f"{cause.replace('_', ' ')} in {changed[cause]}" for cause in CAUSES if changed[cause])
        line += f", {again} no longer valid (what changed: {causes})"
    if damaged:
        line += f", {len(damaged)} with a damaged record"
    return "\n".join([line, *damaged])
