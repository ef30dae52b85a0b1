"""The numbers of the runs at hand beside the committed ones: `mmadlib compare`, after `make reproduce`.

On the machine of the committed run they are equal to the last digit, and on other x86-64 processors they are meant to be, for
all runs are pinned to one instruction set and one thread (mmadlib.pinned; benchmarks/stages.py names the first stage that
differs). Unpinned, or on another kind of machine, floating point adds up in another order, and ranks of a dozen images change:
the same code on two CPUs moved the image AUROC of one category and modality by up to .024, an AUPRO@1 by .043 (both CMDR-IAD),
means over five categories by at most .015. So a mean over the categories that moves by more than TOLERANCE means that
something else is different.
"""

from __future__ import annotations

import io
import shutil
import sys
from pathlib import Path

import pandas as pd

from mmadlib.atomic import atomic, unwritable
from mmadlib.errors import DataError, explain
from mmadlib.experiments.record import COLUMNS, KEYS, NUMBERS, collect, git
from mmadlib.experiments.results import read_table
from mmadlib.names import from_cell
from mmadlib.paths import RESULTS, ROOT, RUNS, shipped, shown

TOLERANCE = 0.02
BEFORE = RUNS / "results_before.csv"  # for a copy of the repository without git: the table as it came
TABLE = "results/results.csv"


def keep(results: Path = RESULTS, before: Path = BEFORE) -> None:
    """Set results.csv aside before it is written, once: a second `make reproduce` compares with the same numbers.

    Raises OutputError when that cannot be done.
    """
    table = shipped(results / "results.csv")
    if not before.is_file() and table.is_file():
        try:
            with atomic(before) as path:
                shutil.copyfile(table, path)
        except OSError as err:
            raise unwritable(before, err) from None


def committed(root: Path = ROOT, before: Path = BEFORE) -> tuple[str, pd.DataFrame]:
    """Where the committed table was found, and the table. Raises DataError when there is neither git nor a copy."""
    if (text := git(root, "show", f"HEAD:./{TABLE}")) is not None:
        types = {c: NUMBERS.get(c, str) for c in COLUMNS}
        table = pd.read_csv(io.StringIO(text), dtype=types, keep_default_na=False)[COLUMNS]
        return "HEAD", table.map(lambda v: from_cell(v) if isinstance(v, str) else v)
    if not before.is_file():
        raise DataError(explain(shown(before), "is missing and this is no git checkout",
                                "take results/results.csv from the download again and call `make reproduce`"))
    return shown(before), read_table(before, COLUMNS)


def differences(old: pd.DataFrame, new: pd.DataFrame) -> tuple[pd.DataFrame, int, int]:
    """Rows whose value changed, with columns value_old, value_new and difference, the largest first; the number of rows in
    both tables; the number of old rows of the runs in `new` that are gone. Old rows of other runs do not count."""
    old = old.merge(new[KEYS].drop_duplicates(), on=KEYS)
    both = old.merge(new, on=COLUMNS[:-1], suffixes=("_old", "_new"))
    both = both.assign(difference=(both["value_new"] - both["value_old"]).abs())
    changed = both[both["difference"] > 0].sort_values("difference", ascending=False, kind="stable")
    return changed, len(both), len(old) - len(both)


def means(changed: pd.DataFrame, new: pd.DataFrame) -> pd.DataFrame:
    """The rows of `differences` as differences of means over the categories at hand, the largest first."""
    cell = [c for c in COLUMNS[:-1] if c != "category"]
    shift = changed.assign(difference=changed["value_new"] - changed["value_old"]).groupby(cell)["difference"].sum()
    mean = (shift.abs() / new.groupby(cell)["category"].nunique().reindex(shift.index)).rename("difference")
    return mean.sort_values(ascending=False, kind="stable").reset_index()


def report(old: pd.DataFrame, new: pd.DataFrame, where: str) -> int:
    """Print how far `new` is from `old`; 0 when it stays within TOLERANCE, else 1."""
    changed, compared, gone = differences(old, new)
    print(f"{len(new[KEYS].drop_duplicates())} runs at hand: {compared} numbers compared with {where}, "
          f"{compared - len(changed)} equal, {len(changed)} changed; {len(new) - compared} new, {gone} gone")
    if changed.empty:
        return 0
    print("\nlargest difference per metric:\n" + changed.groupby("metric")["difference"].max().to_string())
    moved = means(changed, new)
    beyond = moved[moved["difference"] > TOLERANCE]
    print(f"\nlargest difference of a mean over categories: {moved['difference'].max():.4f}")
    if beyond.empty:
        print(f"all within {TOLERANCE}, as on another machine")
        return 0
    print(f"\n{len(beyond)} means differ by more than {TOLERANCE}, more than another machine explains:\n"
          f"{beyond.head(10).to_string(index=False)}\nthe largest differences of single runs:\n"
          f"{changed.head(10).to_string(index=False)}", file=sys.stderr)
    return 1


def command(keep_only: bool = False) -> int:
    """`mmadlib compare`: exit code 0 within TOLERANCE, 1 beyond. Raises DataError when there is nothing to compare with."""
    if keep_only:
        keep()
        return 0
    (where, old), new = committed(), collect()
    return report(old, new, where)
