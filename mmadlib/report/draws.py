"""Statistics over draws. A draw is a pair (data_seed, seed): which data were made or drawn, and how training started.

Categories are averaged within a draw first; mean and spread are over draws, so the differences between categories do not enter
the spread. A draw that lacks a category does not count.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.stats import t

from mmadlib.errors import SettingsError
from mmadlib.report.tables import NOT_RUN

CELL = ["method", "variant", "shots", "subset", "metric"]
DRAW = ["data_seed", "seed"]


def _one(table: pd.DataFrame, *columns: str) -> None:
    for column in columns:
        if table[column].nunique() > 1:
            raise SettingsError(f"a table mixes {column} {', '.join(sorted(set(table[column])))}; select one first")


def per_draw(table: pd.DataFrame, categories: Sequence[str]) -> pd.DataFrame:
    """The mean over `categories`, a row per cell and draw: CELL, DRAW, value, found, needed (numbers of categories).

    Some defects cannot exist in some categories: a category counts as needed unless it was run and no run of it has that
    subset and metric. Raises SettingsError when `table` holds several datasets or features.
    """
    _one(table, "dataset", "features")
    table = table[table["category"].isin(categories)]
    exist = table[["subset", "metric", "category"]].drop_duplicates().groupby(["subset", "metric"]).size()
    needed = (exist + len(set(categories) - set(table["category"]))).rename("needed")
    means = table.groupby([*CELL, *DRAW])["value"].agg(value="mean", found="size").reset_index()
    return means.join(needed, on=["subset", "metric"])


def half_width(std: ArrayLike, n: ArrayLike) -> np.ndarray:
    """Half of the 95 % interval of a mean by Student's t; NaN below two values."""
    std, n = np.asarray(std), np.asarray(n)
    return t.ppf(0.975, np.where(n > 1, n - 1, np.nan)) * std / np.sqrt(n)


def interval(values: ArrayLike) -> tuple[float, float]:
    """95 % interval of the mean of some values; (nan, nan) below two."""
    values = np.asarray(values, float)
    if len(values) < 2:
        return float("nan"), float("nan")
    half = float(half_width(values.std(ddof=1), len(values)))
    return float(values.mean()) - half, float(values.mean()) + half


def over_draws(draws: pd.DataFrame) -> pd.DataFrame:
    """Mean, sample standard deviation and 95 % interval (Student's t) over the complete draws of `per_draw`, a row per cell.

    Columns CELL, mean, std, low, high (NaN below two draws), n, and found, needed of the fullest draw.
    """
    most = draws.groupby(CELL).agg(found=("found", "max"), needed=("needed", "max"))
    whole = draws[draws["found"] == draws["needed"]].groupby(CELL)["value"]
    table = most.join(whole.agg(mean="mean", std="std", n="size"))
    table["n"] = table["n"].fillna(0).astype(int)
    half = half_width(table["std"], table["n"])
    return table.assign(low=table["mean"] - half, high=table["mean"] + half).reset_index()


def note(found: float, needed: float, n: float, draws: int) -> str:
    """What is missing in a cell: nothing (""), draws, categories, or all of it."""
    if not found > 0:
        return NOT_RUN
    if n == 0:
        return f"{found:.0f} of {needed:.0f} categories"
    return "" if n >= draws else f"{n:.0f} of {draws} draws"
