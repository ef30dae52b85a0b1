"""Verdicts: paired by draw, settled only by an interval without zero, silent where nothing was run."""

from __future__ import annotations

import numpy as np
import pytest
from measured import plan, table

from mmadlib.report import few_shot, verdicts
from mmadlib.report.rows import Row

JOINT = "Nearest neighbour [both joined]"


def judged(measured, grid):
    return verdicts.against_sanity(few_shot.planned(measured, grid), few_shot.summary(measured, grid), grid.rows)


def test_a_difference_is_taken_within_a_draw():
    grid = plan()
    gaps = verdicts.paired(few_shot.planned(table(), grid), Row("cfm"), Row("nearest", "joint"), shots=4, metric="i_auroc",
                           subset="all")
    assert gaps.to_numpy() == pytest.approx([0.11, 0.12, 0.13])


def test_the_rival_is_the_best_sanity_row_and_words_follow_the_numbers():
    gaps = judged(table(), plan())
    assert set(gaps["against"]) == {JOINT} and list(gaps["verdict"]) == ["ahead"] * 3
    assert verdicts.in_words(gaps)[2] == f"4 shots, against {JOINT}: ahead: CFM"
    worse = table()
    worse.loc[worse["method"] == "cfm", "value"] -= 0.4
    assert list(judged(worse, plan())["verdict"]) == ["behind"] * 3
    worse.loc[worse["method"] == "cfm", "value"] += 0.28
    assert list(judged(worse, plan())["verdict"]) == ["open"] * 3


def test_one_draw_or_none_settles_nothing():
    single = table(("1", "2"))
    single = single[(single["shots"] != "2") | (single["data_seed"] == 1)]
    gaps = judged(single, plan())
    assert list(gaps["verdict"]) == ["ahead", "one draw", "not run"]
    text = verdicts.shown(gaps)
    assert text.loc["CFM"].tolist() == ["+0.120 [+0.095, +0.145] ahead", "+0.110 one draw", "not run"]
    assert verdicts.in_words(gaps)[2] == "4 shots, against -: nothing to compare"


def test_incomplete_draws_are_not_compared():
    part = table()
    part = part[~((part["method"] == "cfm") & (part["data_seed"] == 3) & (part["category"] == "free"))]
    assert judged(part, plan())["n"].tolist() == [2, 2, 2]


def test_the_best_row_has_all_draws():
    few = table(("4",))
    few.loc[few["variant"] == "rgb", "value"] = 0.99
    few = few[(few["variant"] != "rgb") | (few["data_seed"] == 1)]
    cells = few_shot.summary(few, plan(("4",)))
    chosen = cells[(cells["metric"] == "i_auroc") & (cells["subset"] == "all")]
    assert verdicts.best(chosen, plan().rows[1:]) == Row("nearest", "joint")
    assert verdicts.best(chosen.iloc[:0], plan().rows) is None


def test_words_of_an_interval():
    cases = (0.1, 0.2, 3), (-0.2, -0.1, 3), (-0.1, 0.1, 3), (np.nan, np.nan, 1), (np.nan, np.nan, 0)
    assert [verdicts.verdict(*x) for x in cases] == ["ahead", "behind", "open", "one draw", "not run"]
