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
from mmadlib.paths import FIGURES, RESULTS, RUNS, resolve, shown
from mmadlib.record import COLUMNS, KEYS, NUMBERS, PROVENANCE, collect, find, ordered

MAIN_METRICS = ("i_auroc", "p_auroc", "aupro_30", "aupro_30_fg")
MODALITIES = ("rgb", "xyz", "both", "relation")


class Update(NamedTuple):
    """What `update` did: runs found, runs in the tables that were not at hand and stay, rows in results.csv."""

    found: int
    kept: int
    rows: int


def read_table(path: str | Path, columns: Sequence[str]) -> pd.DataFrame:
    """A results table with stable types (shots is text), empty when the file does not exist yet.

    Raises DataError when the columns are not the expected ones.
    """
    path = Path(path)
    if not path.is_file():
        return pd.DataFrame(columns=list(columns))
    try:
        # keep_default_na: a variant called "none" is a name, not a missing value
        return pd.read_csv(path, dtype={c: NUMBERS.get(c, str) for c in columns}, keep_default_na=False)[list(columns)]
    except (KeyError, ValueError) as err:
        raise DataError(explain(shown(path), f"is no table of {', '.join(columns)} ({err})",
                                "take it from git again: git checkout -- results")) from None


def read_results(results: str | Path = RESULTS) -> pd.DataFrame:
    """results.csv of a folder, columns record.COLUMNS."""
    return read_table(resolve(results) / "results.csv", COLUMNS)


def _rest(table: pd.DataFrame, fresh: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """Rows of `table` whose key does not occur in `fresh`."""
    index = pd.MultiIndex.from_frame(table[list(by)])
    return table[~index.isin(pd.MultiIndex.from_frame(fresh[list(by)]))]


def _write(table: pd.DataFrame, path: Path, **options) -> None:
    text = io.StringIO()
    table.to_csv(text, index=False, lineterminator="\n", **options)
    if not path.is_file() or path.read_text() != text.getvalue():
        with atomic(path) as temporary:
            temporary.write_text(text.getvalue())


def update(runs: str | Path = RUNS, results: str | Path = RESULTS) -> Update:
    """Merge the runs at hand into results.csv and runs.csv.

    All rows of a run at hand are replaced, rows of other runs stay. In runs.csv the row of a run that gave the same
    numbers again stays as it is. Raises DataError on an unreadable record or table, before anything is written.
    """
    folder, records = resolve(results), find(runs)
    old, fresh = read_results(folder), collect(records)
    table = ordered(pd.concat([_rest(old, fresh, KEYS), fresh]), COLUMNS)
    old_runs = read_table(folder / "runs.csv", PROVENANCE)
    fresh_runs = _rest(pd.DataFrame([r.run_row() for r in records], columns=PROVENANCE), old_runs, [*KEYS, "digest"])
    sources = ordered(pd.concat([_rest(old_runs, fresh_runs, KEYS), fresh_runs]), PROVENANCE)
    _write(table, folder / "results.csv", float_format="%.4f")
    _write(sources, folder / "runs.csv")
    return Update(len(records), len(_rest(old, fresh, KEYS)[KEYS].drop_duplicates()), len(table))


def main_table(results: pd.DataFrame) -> pd.DataFrame:
    """One row per dataset, method, variant, features and shots: means over data seeds, categories and seeds.

    Columns: categories (how many), MAIN_METRICS over all defects, then image AUROC by the modality that shows the defect.
    """
    by = ["dataset", "method", "variant", "features", "shots"]
    everything = results[results["subset"] == "all"]
    table = everything.pivot_table(index=by, columns="metric", values="value").reindex(columns=MAIN_METRICS)
    images = results[results["metric"] == "i_auroc"]
    kinds = images.pivot_table(index=by, columns="subset", values="value").reindex(columns=MODALITIES)
    categories = everything.groupby(by)["category"].nunique().rename("categories")
    return pd.concat([categories, table, kinds.add_prefix("i_auroc ")], axis=1)


def main(folder: str | Path = RESULTS) -> None:
    """Print the main table and where the rest lies."""
    results = read_results(folder)
    if results.empty:
        print(f"{shown(resolve(folder) / 'results.csv')} holds no rows yet: make reproduce")
        return
    print("Means over categories and seeds; `i_auroc <modality>`: defects that this modality shows\n")
    print(main_table(results).reset_index().to_string(index=False, float_format="{:.3f}".format, na_rep="-"))
    print(f"\nall numbers: {shown(resolve(folder) / 'results.csv')}   provenance: {shown(resolve(folder) / 'runs.csv')}\n"
          f"tables and figures: notebooks/90_tables.ipynb, notebooks/91_figures.ipynb, {shown(FIGURES)}/\n"
          f"executed notebooks: {shown(RUNS)}/notebooks/")


if __name__ == "__main__":
    main()
