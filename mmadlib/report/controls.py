"""Controls: the same methods under several plans, side by side: on other features, or with a switch turned off."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import replace

import pandas as pd

from mmadlib.errors import SettingsError
from mmadlib.report.draws import interval
from mmadlib.report.few_shot import Plan, cell, planned, summary
from mmadlib.report.rows import Row
from mmadlib.report.tables import select
from mmadlib.report.verdicts import paired, verdict

SAME = ("dataset", "categories", "draws")  # what plans must share to stand side by side


def _key(row: Row, several: Collection[str]) -> tuple[str, str]:
    """What a row is matched by: its method, and its variant where it is one of several or the bank of a nearest neighbour."""
    return row.method, row.variant if row.sanity or row.method in several else ""


def side_by_side(table: pd.DataFrame, plans: Mapping[str, Plan], shots: str, metric: str = "i_auroc",
                 subset: str = "all") -> pd.DataFrame:
    """Mean ± standard deviation over draws as text: a row for every one of the first plan, a column a plan.

    plans   title -> plan. A control may call its variant as it likes, but where the first plan has several rows of a method
            they are matched by variant; "" where a plan leaves a row out. Raises SettingsError for plans of other data, draws
            or categories, for two rows of a method of which the first plan has one, and for a row that the first plan lacks.
    """
    first = next(iter(plans.values()))
    several = {method for method, n in Counter(row.method for row in first.rows).items() if n > 1}
    names, found = {_key(row, several): row.name for row in first.rows}, {}
    for title, plan in plans.items():
        for what in SAME:
            if getattr(plan, what) != getattr(first, what):
                raise SettingsError(f"{title}: other {what} than the first column, which compares nothing; use the same")
        keys = [_key(row, several) for row in plan.rows]
        if len(set(keys)) < len(keys):
            raise SettingsError(f"{title}: two variants of one method; leave one")
        if strangers := [row.name for row in plan.rows if _key(row, several) not in names]:
            raise SettingsError(f"{title}: {', '.join(strangers)} stands beside no row of the first column; leave it out")
        cells = select(summary(table, plan), shots=shots, metric=metric, subset=subset)
        keys = [_key(Row(*row), several) for row in cells[["method", "variant"]].itertuples(index=False)]
        said = [cell(*numbers) for numbers in cells[["mean", "std", "n", "note"]].itertuples(index=False)]
        texts = dict(zip(keys, said, strict=True))
        found[title] = [texts.get(key, "") for key in names]
    return pd.DataFrame(found, index=pd.Index(names.values(), name="method"))


def leads(table: pd.DataFrame, plans: Mapping[str, Plan], ours: str, rival: str, shots: str, metric: str = "i_auroc",
          subset: str = "all") -> pd.DataFrame:
    """Two methods under every plan, as text: a line a plan, the mean ± standard deviation over draws of either method,
    then ours minus rival, its 95 % interval over the draws that both have, and what it settles.

    Raises SettingsError for a plan that has not one row of either method.
    """
    where, found = {"shots": shots, "metric": metric, "subset": subset}, {}
    table = select(table, metric=metric)  # first: the rest looks at every row; all subsets, which say what a category has
    for title, plan in plans.items():
        pair = [row for method in (ours, rival) for row in plan.rows if row.method == method]
        if [row.method for row in pair] != [ours, rival]:
            raise SettingsError(f"{title}: not one row of {ours} and one of {rival}; leave one of each")
        only = replace(plan, rows=tuple(pair))
        cells = select(summary(table, only), **where).set_index("method")
        names = [row.name if row.sanity else Row(row.method).name for row in pair]
        numbers = cells.loc[[ours, rival], ["mean", "std", "n", "note"]].itertuples(index=False)
        levels = {name: cell(*some) for name, some in zip(names, numbers, strict=True)}
        gaps = paired(planned(table, only), pair[0], pair[1], **where)
        low, high = interval(gaps)
        said = (f"{gaps.mean():+.3f} " if len(gaps) else "") + (f"[{low:+.3f}, {high:+.3f}] " if len(gaps) > 1 else "")
        found[title] = levels | {" minus ".join(names): said + verdict(low, high, len(gaps))}
    return pd.DataFrame(found).T
