"""The tables in git: results/results.csv (numbers) and results/runs.csv (where each number comes from).

results.csv holds nothing that changes when a run is repeated, and runs.csv keeps its row as long as a repeated run gives
the same numbers: after `make reproduce`, `git diff results/` shows changed numbers and nothing else.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from mmadlib.atomic import atomic
from mmadlib.errors import DataError, explain
from mmadlib.experiments.record import COLUMNS, KEYS, LATER, NUMBERS, PROVENANCE, collect, find_records, ordered
from mmadlib.paths import RESULTS, RUNS, here, shown


class Update(NamedTuple):
    """What `merge_results` did: runs found, runs in the tables that were not at hand and stay, rows in results.csv."""

    found: int
    kept: int
    rows: int


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
        return table.assign(**dict.fromkeys(set(later) - set(table), ""))[list(columns)]
    except (KeyError, ValueError) as err:
        raise DataError(explain(shown(path), f"is no table of {', '.join(columns)} ({err})",
                                "in a checkout: git checkout -- results")) from None


def read_results(results: str | Path = RESULTS) -> pd.DataFrame:
    """results.csv of a folder, columns record.COLUMNS."""
    return read_table(here(results) / "results.csv", COLUMNS)


def read_runs(results: str | Path = RESULTS) -> pd.DataFrame:
    """runs.csv of a folder, columns record.PROVENANCE; cells of rows older than a column are empty."""
    return read_table(here(results) / "runs.csv", PROVENANCE, later=LATER)


def _rest(table: pd.DataFrame, fresh: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """Rows of `table` whose key does not occur in `fresh`."""
    index = pd.MultiIndex.from_frame(table[list(by)])
    return table[~index.isin(pd.MultiIndex.from_frame(fresh[list(by)]))]


def _write(table: pd.DataFrame, path: Path, float_format: str | None = None) -> None:
    csv = io.StringIO()
    table.to_csv(csv, index=False, lineterminator="\n", float_format=float_format)
    if not path.is_file() or path.read_text() != csv.getvalue():
        with atomic(path) as temporary:
            temporary.write_text(csv.getvalue())


def merge_results(runs: str | Path = RUNS, results: str | Path = RESULTS) -> Update:
    """Merge the runs at hand into results.csv and runs.csv.

    All rows of a run at hand are replaced, rows of other runs stay. In runs.csv the row of a run that gave the same
    numbers again stays as it is. Raises DataError on an unreadable record or table, before anything is written.
    """
    folder, records = here(results), find_records(runs)
    old, fresh = read_results(folder), collect(records)
    table = ordered(pd.concat([_rest(old, fresh, KEYS), fresh]), COLUMNS)
    old_runs, fresh_runs = read_runs(folder), pd.DataFrame([r.run_row() for r in records], columns=PROVENANCE, dtype=object)
    same = [*KEYS, "digest", "whole"]  # a row from before the costs were recorded gives way
    fresh_marked, old_marked = (t.assign(whole=t["code"].fillna("") != "") for t in (fresh_runs, old_runs))
    fresh_runs = _rest(fresh_marked, old_marked, same)
    sources = ordered(pd.concat([_rest(old_runs, fresh_runs, KEYS), fresh_runs]), PROVENANCE)
    _write(table, folder / "results.csv", float_format="%.4f")
    _write(sources, folder / "runs.csv")
    return Update(len(records), len(_rest(old, fresh, KEYS)[KEYS].drop_duplicates()), len(table))
