"""Orderings: a printed table says which row is above which; runs that differ in nothing else say whether that holds here.

A difference is taken within each run (same category, same draw, same seed), so what makes a run easy cancels. Printed
numbers carry no spread and other data have other levels: what can be compared is the sign of a difference.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import NamedTuple

import pandas as pd

from mmadlib.report.draws import DRAW, interval
from mmadlib.report.tables import NOT_RUN, select

RUN = ["category", *DRAW]
VERDICTS = ("holds", "open", "reversed", "not printed", "one run", NOT_RUN)


class Gap(NamedTuple):
    """Mean of paired differences, its 95 % interval by Student's t (NaN below two), and how many there are."""

    mean: float
    low: float
    high: float
    n: int

    @property
    def verdict(self) -> str:
        """holds: all of the interval is above zero; reversed: below; open; "one run", "not run" where there is no interval."""
        if self.n < 2:
            return "one run" if self.n else NOT_RUN
        return "holds" if self.low > 0 else "reversed" if self.high < 0 else "open"

    def level(self, wanted: int = 0) -> str:
        """As a value, not a difference: 0.512 [0.480, 0.544], with "(3 of 9)" where fewer than `wanted` were run."""
        if self.n == 0:
            return NOT_RUN
        ends = f" [{self.low:.3f}, {self.high:.3f}]" if self.n > 1 else ""
        return f"{self.mean:.3f}{ends}" + (f" ({self.n} of {wanted})" if self.n < wanted else "")

    def __str__(self) -> str:
        if self.n == 0:
            return NOT_RUN
        return f"{self.mean:+.3f}" + (f" [{self.low:+.3f}, {self.high:+.3f}]" if self.n > 1 else "")


def by_run(table: pd.DataFrame, wanted: pd.MultiIndex, variants: Sequence[str], **where: object) -> pd.DataFrame:
    """One column a variant, one line a wanted run (levels RUN), NaN where it was not run.

    table   rows of tables.results() of one method, dataset and family of features;   where  fixes shots, metric and subset,
            without which a run would have several values (ValueError)
    """
    wide = select(table, **where).pivot(index=RUN, columns="variant", values="value")
    return wide.reindex(index=wanted, columns=list(variants))


def mean(values: pd.Series) -> Gap:
    """The mean of the runs that there are, as a Gap from zero."""
    values = values.dropna()
    return Gap(values.mean(), *interval(values), len(values))


def gap(runs: pd.DataFrame, a: str, b: str, over: Sequence[str] = RUN) -> Gap:
    """Variant a minus variant b over the runs that have both; `over` DRAW: over draws, each the mean of all its categories.

    A draw that lacks a category does not count.
    """
    difference = runs[a] - runs[b]
    return mean(difference.groupby(level=list(over), sort=False).agg(lambda x: x.mean(skipna=False)))


def orderings(printed: Mapping[str, float] | pd.Series, rows: Mapping[str, str], runs: pd.DataFrame) -> pd.DataFrame:
    """Every pair of printed rows, the one printed higher first: rows, published, measured, verdict, by draws.

    printed   name -> printed value;   rows  name -> our variant, a column of `runs` (of `by_run`)

    `verdict` is over runs, `by draws` over draws. Two rows that are printed equal, or of which one is not printed (NaN), are
    not printed as an ordering. The order of the lines is that of `printed`.
    """
    printed, lines = dict(printed), []
    for pair in combinations(printed, 2):
        high, low = sorted(pair, key=lambda name: -printed[name])  # stable: the first of two equal ones stays first
        found, drawn = (gap(runs, rows[high], rows[low], over) for over in (RUN, DRAW))
        says = printed[high] > printed[low]
        words = [g.verdict if says else "not printed" for g in (found, drawn)]
        lines.append([f"{high} > {low}" if says else f"{high}, {low}",
                      f"{printed[high] - printed[low]:+.3f}" if says else "", str(found), *words])
    return pd.DataFrame(lines, columns=["rows", "published", "measured", "verdict", "by draws"])
