"""Orderings are judged by paired differences: easy runs cancel, incomplete draws do not count, ties say nothing."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from mmadlib.experiments.record import COLUMNS
from mmadlib.report.draws import DRAW, interval
from mmadlib.report.orderings import RUN, VERDICTS, Gap, by_run, gap, mean, orderings

WANTED = pd.MultiIndex.from_product([["free", "keyed"], [1, 2, 3]], names=RUN[:2])
WANTED = pd.MultiIndex.from_tuples([(c, d, d - 1) for c, d in WANTED], names=RUN)
NOISE = np.array([0.0, 0.01, 0.02, 0.01, 0.0, 0.02])
EASY = np.array([0.0, 0.2, 0.1, 0.3, 0.25, 0.05])  # far more than any difference between variants


def table(**values) -> pd.DataFrame:
    """Rows of results.csv: variant -> value of each wanted run, NaN where it is missing."""
    return pd.DataFrame([["rendered", d, c, "pirn", variant, "descriptors", "10", s, "all", "i_auroc", v]
                         for variant, column in values.items() for (c, d, s), v in zip(WANTED, column, strict=True)
                         if not np.isnan(v)], columns=COLUMNS)


@pytest.fixture
def runs() -> pd.DataFrame:
    low = 0.5 + EASY
    gone = low.copy()
    gone[[0, 4]] = np.nan  # draw 1 lacks free, draw 2 keyed
    measured = table(low=low, high=low + 0.02 + NOISE, same=low + NOISE - NOISE.mean(), gone=gone)
    return by_run(measured, WANTED, ["low", "high", "same", "gone", "never"], shots=10, metric="i_auroc", subset="all")


def test_a_line_is_a_run_and_what_was_not_run_stays_open(runs):
    assert runs.index.equals(WANTED) and list(runs) == ["low", "high", "same", "gone", "never"]
    assert runs["never"].isna().all() and runs["gone"].isna().sum() == 2
    doubled = pd.concat([table(low=EASY), table(low=EASY).assign(shots="5")])
    with pytest.raises(ValueError, match="duplicate"):
        by_run(doubled, WANTED, ["low"], metric="i_auroc")


def test_what_makes_a_run_easy_cancels(runs):
    found = gap(runs, "high", "low")
    assert found == pytest.approx((0.03, *interval(0.02 + NOISE), 6)) and found.verdict == "holds"
    assert gap(runs, "low", "high").verdict == "reversed" and gap(runs, "same", "low").verdict == "open"
    assert gap(runs, "low", "high")[:3] == pytest.approx((-found.mean, -found.high, -found.low))


def test_a_draw_is_the_mean_of_its_categories_and_counts_only_whole(runs):
    found = gap(runs, "high", "low", DRAW)
    assert found == pytest.approx((0.03, *interval(0.02 + NOISE.reshape(2, 3).mean(0)), 3))
    assert gap(runs, "high", "gone").n == 4
    assert gap(runs, "high", "gone", DRAW).n == 1, "draws 1 and 2 lack a category each"


def test_a_gap_says_what_it_is_made_of(runs):
    assert str(gap(runs, "high", "low")).startswith("+0.030 [+0.021, ")
    missing, one = gap(runs, "high", "never"), gap(runs, "high", "gone", DRAW)
    assert (str(missing), missing.verdict, missing.n) == ("not run", "not run", 0)
    assert (str(one), one.verdict) == ("+0.040", "one run")
    assert mean(runs["gone"]) == pytest.approx((runs["gone"].mean(), *interval(runs["gone"].dropna()), 4))
    assert (missing.level(6), one.level(3)) == ("not run", "0.040 (1 of 3)")
    assert Gap(0.5, 0.4, 0.6, 6).level(6) == "0.500 [0.400, 0.600]"
    assert {Gap(0, -1, 1, 9).verdict, missing.verdict, one.verdict} <= set(VERDICTS)


def test_the_row_printed_higher_comes_first_and_ties_say_nothing(runs):
    printed = {"full": 0.9, "A": 0.8, "B": 0.8, "C": float("nan")}
    lines = orderings(printed, {"full": "low", "A": "high", "B": "same", "C": "high"}, runs).set_index("rows")
    assert lines.at["full > A", "verdict"] == "reversed" and lines.at["full > A", "published"] == "+0.100"
    assert lines.at["full > B", "verdict"] == "open"
    assert lines.at["A, B", "verdict"] == lines.at["A, B", "by draws"] == "not printed"
    assert lines.at["full, C", "verdict"] == "not printed" and len(lines) == 6
    turned = orderings(pd.Series(printed)[::-1], {"full": "low", "A": "high", "B": "same", "C": "high"}, runs)
    assert "full > A" in set(turned["rows"]), "which row is first in the table does not matter"


def test_an_empty_table_says_not_run():
    nothing = by_run(table(), WANTED, ["a", "b"], shots=10, metric="i_auroc", subset="all")
    lines = orderings({"x": 0.9, "y": 0.8}, {"x": "a", "y": "b"}, nothing)
    assert lines.iloc[0].tolist() == ["x > y", "+0.100", "not run", "not run", "not run"]
