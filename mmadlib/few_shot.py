"""Few-shot tables: mean and standard deviation over draws, for one of two protocols that are never mixed.

A: 5, 10, 50 shots and all, random draws (CPIR Sec. 4.5, Table 7). B: 1, 2 and 4 shots by one fixed draw (CFR; CMDS-AD).
A draw is a pair (data_seed, seed). Categories are averaged within a draw first; mean and spread are over draws, so the
differences between categories do not enter the spread. A draw that lacks a category does not count.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from scipy.stats import t

from mmadlib.errors import SettingsError, unknown
from mmadlib.rows import Row
from mmadlib.tables import NOT_RUN, OUR_METRICS, SUBSET_ORDER, select

PROTOCOLS = {"A": ("5", "10", "50", "full"), "B": ("1", "2", "4")}
CELL = ["method", "variant", "shots", "subset", "metric"]
DRAW = ["data_seed", "seed"]


def protocol_of(shots: Iterable[object]) -> str:
    """A or B. Raises SettingsError when the shots are of both protocols or of none."""
    shots = [str(k) for k in shots]
    for name, members in PROTOCOLS.items():
        if shots and set(shots) <= set(members):
            return name
    a, b = (", ".join(members) for members in PROTOCOLS.values())
    raise SettingsError(f"shots {', '.join(shots) or 'none'}: a table is of protocol A ({a}; random draws) or of B ({b}; the "
                        "fixed draw), whose numbers are not comparable")


@dataclass(frozen=True)
class Plan:
    """What a table should hold; its cells say where less was run.

    shots as in results.csv ("full": all); draws are pairs (data_seed, seed). Raises SettingsError when shots mix protocols.
    """

    dataset: str
    features: str
    categories: tuple[str, ...]
    shots: tuple[str, ...]
    draws: tuple[tuple[int, int], ...]
    rows: tuple[Row, ...]

    def __post_init__(self) -> None:
        protocol_of(self.shots)

    @property
    def protocol(self) -> str:
        return protocol_of(self.shots)

    def only(self, category: str = "all", methods: str = "all") -> Plan:
        """The part with one category, or the methods of a comma-separated list. Raises UnknownName for what is not planned."""
        wanted = {r.method for r in self.rows} if methods == "all" else {m.strip() for m in methods.split(",")}
        for kind, names, there in (("planned category", {category} - {"all"}, self.categories),
                                   ("planned method", wanted, [r.method for r in self.rows])):
            for name in names - set(there):
                raise unknown(kind, name, set(there))
        return replace(self, categories=tuple(c for c in self.categories if category in ("all", c)),
                       rows=tuple(r for r in self.rows if r.method in wanted))


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


def half_width(std: np.ndarray, n: np.ndarray) -> np.ndarray:
    """Half of the 95 % interval of a mean by Student's t; NaN below two values."""
    return t.ppf(0.975, np.where(n > 1, n - 1, np.nan)) * std / np.sqrt(n)


def interval(values: Sequence[float]) -> tuple[float, float]:
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


def planned(table: pd.DataFrame, plan: Plan) -> pd.DataFrame:
    """`per_draw` of the plan's rows, shots and draws alone."""
    draws = per_draw(select(table, dataset=plan.dataset, features=plan.features), plan.categories)
    keep = (pd.MultiIndex.from_frame(draws[DRAW]).isin(plan.draws) & draws["shots"].isin(plan.shots)
            & pd.MultiIndex.from_frame(draws[["method", "variant"]]).isin([(r.method, r.variant) for r in plan.rows]))
    return draws[keep].reset_index(drop=True)


def note(found: float, needed: float, n: float, draws: int) -> str:
    """What is missing in a cell: nothing (""), draws, categories, or all of it."""
    if not found > 0:
        return NOT_RUN
    if n == 0:
        return f"{found:.0f} of {needed:.0f} categories"
    return "" if n >= draws else f"{n:.0f} of {draws} draws"


def summary(table: pd.DataFrame, plan: Plan) -> pd.DataFrame:
    """Every cell of the plan, run or not: CELL, name, mean, std, low, high, n, found, needed, note.

    The subsets and metrics are those that any run of the dataset has; all metrics of tables.OUR_METRICS where none was run.
    """
    seen = select(table, dataset=plan.dataset, features=plan.features)[["subset", "metric"]].drop_duplicates()
    kinds = list(seen.itertuples(index=False, name=None)) or [("all", m) for m in OUR_METRICS]
    cells = [(r.method, r.variant, k, *kind) for kind in kinds for r in plan.rows for k in plan.shots]
    full = over_draws(planned(table, plan)).set_index(CELL).reindex(pd.MultiIndex.from_tuples(cells, names=CELL)).reset_index()
    full["n"] = full["n"].fillna(0).astype(int)
    full["note"] = [note(*x, len(plan.draws)) for x in full[["found", "needed", "n"]].itertuples(index=False)]
    full.insert(0, "name", [Row(m, v).name for m, v in zip(full["method"], full["variant"], strict=True)])
    return full


def cell(mean: float, std: float, n: int, note: str) -> str:
    """0.912 ± 0.013, with what is missing behind it; the deviation of a single draw is "-"."""
    if n == 0:
        return note
    return f"{mean:.3f} ± {f'{std:.3f}' if n > 1 else '-'}" + (f" ({note})" if note else "")


def wide(cells: pd.DataFrame, columns: str = "shots", **where: object) -> pd.DataFrame:
    """`summary` as text, a row per method; `columns` shots, subset or metric, the other two fixed by `where`.

    Raises SettingsError when `where` leaves more than one number to a cell, or shots of both protocols.
    """
    chosen = select(cells, **where)
    protocol_of(chosen["shots"].unique() if len(chosen) else ())
    if chosen.duplicated(["name", columns]).any():
        raise SettingsError(f"several numbers a cell: fix two of shots, subset and metric, not {', '.join(where)}")
    chosen = chosen.assign(text=[cell(*x) for x in chosen[["mean", "std", "n", "note"]].itertuples(index=False)])
    order = {"subset": SUBSET_ORDER, "metric": list(OUR_METRICS)}.get(columns, chosen[columns].unique())
    table = chosen.pivot(index="name", columns=columns, values="text").reindex(chosen["name"].unique())
    table = table[[c for c in order if c in table]].rename(columns=OUR_METRICS)
    return table.rename_axis(None, axis=1).rename_axis("method")
