"""The tables in git: results/results.csv (numbers) and results/runs.csv (where each number comes from).

results.csv holds nothing that changes when a run is repeated, and runs.csv keeps its row as long as a repeated run gives
the same numbers: after `make reproduce`, `git diff results/` shows changed numbers and nothing else. Runs on other data or of
other plans than those behind the tables (belonging.py) go to tables of the same form in results/own/, which git ignores; those
of a committed plan with `folder` to such tables below results/, e.g. choices/, by which settings were chosen.
"""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from mmadlib.atomic import alone, atomic, unwritable
from mmadlib.checks import one_of
from mmadlib.errors import DataError, explain
from mmadlib.experiments.belonging import apart, strangers
from mmadlib.experiments.record import COLUMNS, KEYS, LATER, NUMBERS, PROVENANCE, Record, collect, find_records, ordered
from mmadlib.names import cell, from_cell
from mmadlib.paths import RESULTS, RUNS, here, shipped, shown

INTO = ("results", "own")  # where all rows go, if the user says so
OWN = "own"  # folder below results/


class Update(NamedTuple):
    """What `merge_results` did: runs found, runs in the tables that were not at hand and stay, rows in results.csv, runs that
    went to results/own/ and why: {reason: runs}; runs that went to other folders of results/: {folder: runs}."""

    found: int
    kept: int
    rows: int
    own: dict[str, int]
    apart: dict[str, int]

    def __str__(self) -> str:
        told = f"runs at hand: {self.found}, others that stay: {self.kept}, rows in results.csv: {self.rows}"
        told += "".join(f"; gone to {folder}/: {count}" for folder, count in self.apart.items())
        if self.own:
            told += (f"; gone to {OWN}/: {sum(self.own.values())} ("
                     + ", ".join(f"{reason}: {count}" for reason, count in self.own.items())
                     + "); `mmadlib collect --into results` puts them into the tables")
        return told


def read_table(path: str | Path, columns: Sequence[str], later: Sequence[str] = ()) -> pd.DataFrame:
    """A results table with stable types (shots is text), empty when the file does not exist yet.

    later: columns that older files may lack, filled with "". Raises DataError when the columns are not the expected ones.
    """
    path = Path(path)
    if not path.is_file():
        return pd.DataFrame(columns=list(columns))
    try:
        # keep_default_na: a variant called "none" is a name, not a missing value
        table = pd.read_csv(path, dtype={c: NUMBERS.get(c, str) for c in columns}, keep_default_na=False)
        table = table.map(lambda v: from_cell(v) if isinstance(v, str) else v)
        return table.assign(**dict.fromkeys(set(later) - set(table), ""))[list(columns)]
    except (KeyError, ValueError) as err:
        raise DataError(explain(shown(path), f"is no table of {', '.join(columns)} ({err})",
                                "in a checkout: git checkout -- results")) from None


def read_results(results: str | Path = RESULTS, own: bool = False) -> pd.DataFrame:
    """results.csv of a folder, columns record.COLUMNS; own: with the rows of own runs, in place of those of the same runs."""
    return _read(results, "results.csv", COLUMNS, (), own)


def read_runs(results: str | Path = RESULTS, own: bool = False) -> pd.DataFrame:
    """runs.csv of a folder, columns record.PROVENANCE; cells of rows older than a column are empty. own: as above."""
    return _read(results, "runs.csv", PROVENANCE, LATER, own)


def _read(results: str | Path, name: str, columns: Sequence[str], later: Sequence[str], own: bool) -> pd.DataFrame:
    table = read_table(shipped(here(results) / name), columns, later)
    if own:
        mine = read_table(here(results) / OWN / name, columns, later)
        table = ordered(pd.concat([_rest(table, mine, KEYS), mine]), columns)
    return table


def _rest(table: pd.DataFrame, fresh: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """Rows of `table` whose key does not occur in `fresh`."""
    index = pd.MultiIndex.from_frame(table[list(by)])
    return table[~index.isin(pd.MultiIndex.from_frame(fresh[list(by)]))]


def _write(table: pd.DataFrame, path: Path, float_format: str | None = None) -> None:
    csv = io.StringIO()
    table = table.map(lambda v: cell(v) if isinstance(v, str) else v)
    table.to_csv(csv, index=False, lineterminator="\n", float_format=float_format)
    try:
        if not path.is_file() or path.read_text(encoding="utf-8", errors="replace") != csv.getvalue():
            with atomic(path) as temporary:
                temporary.write_text(csv.getvalue(), encoding="utf-8")
    except OSError as err:
        raise unwritable(path, err) from None


def merge_results(runs: str | Path = RUNS, results: str | Path = RESULTS, into: str | None = None) -> Update:
    """Merge the runs at hand into the tables of `results`, those that do not belong there into results/own/, or where the plan
    says that has them.

    into: "results" or "own" for all of them, None: as they belong. All rows of a run at hand are replaced, rows of other runs
    stay. In runs.csv the row of a run that gave the same numbers again stays as it is. One writer at a time. Raises
    UnknownName, DataError on an unreadable table before anything is written, OutputError when it cannot be written.
    """
    if into is not None:
        one_of("into", into, INTO)
    folder = here(results)
    with alone(folder):
        records = find_records(runs)  # now, or a run made while another collection is waited for would be put back
        reasons = (strangers(records, read_runs(folder)) if into is None else
                   ["asked for" if into == OWN else ""] * len(records))
        aside = apart(records) if into is None else [""] * len(records)
        places = [(place or OWN) if why else "" for why, place in zip(reasons, aside, strict=True)]
        at: dict[str, list[Record]] = {place: [] for place in ("", OWN, *sorted(set(places)))}
        for record, place in zip(records, places, strict=True):
            at[place].append(record)
        kept, rows, tables = _merge(folder, at.pop(""))
        own = at.pop(OWN)
        for place, found in at.items():
            tables |= _merge(folder / place, found)[2]
        if own or (folder / OWN).is_dir():
            others = [r for r, place in zip(records, places, strict=True) if place != OWN]
            tables |= _merge(folder / OWN, own, without=others)[2]
        for path, table in tables.items():
            _write(table, path, float_format="%.4f" if path.name == "results.csv" else None)
    why = Counter(why for why, place in zip(reasons, places, strict=True) if place == OWN)
    return Update(len(records), kept, rows, dict(why), {place: len(found) for place, found in at.items()})


def _merge(folder: Path, records: Sequence[Record],
           without: Sequence[Record] = ()) -> tuple[int, int, dict[Path, pd.DataFrame]]:
    """Runs that were not at hand, rows of results.csv, and both tables as they are to be written, without some runs."""
    gone = pd.DataFrame([r.keys for r in without], columns=KEYS)
    old, fresh = _rest(read_results(folder), gone, KEYS), collect(records)
    table = ordered(pd.concat([_rest(old, fresh, KEYS), fresh]), COLUMNS)
    old_runs, fresh_runs = (_rest(read_runs(folder), gone, KEYS),
                            pd.DataFrame([r.run_row() for r in records], columns=PROVENANCE, dtype=object))
    same = [*KEYS, "digest", "whole"]  # a row from before code, data and pinning were recorded gives way
    marked, known = (t.assign(whole=(t[["code", "data", "pinned"]].fillna("") != "").sum(axis=1))
                     for t in (fresh_runs, old_runs))
    fresh_runs = _rest(marked, known, same)
    sources = ordered(pd.concat([_rest(old_runs, fresh_runs, KEYS), fresh_runs]), PROVENANCE)
    kept = len(_rest(old, fresh, KEYS)[KEYS].drop_duplicates())
    return kept, len(table), {folder / "results.csv": table, folder / "runs.csv": sources}


def command(base: str | None = None, results: str | None = None, into: str | None = None) -> int:
    """`mmadlib collect`. Raises as `merge_results`."""
    print(merge_results(base or RUNS, results or RESULTS, into))
    return 0
