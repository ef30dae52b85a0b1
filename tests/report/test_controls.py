"""Controls beside the main rows: matched by method, refused where they compare nothing."""

from dataclasses import replace

import pandas as pd
import pytest
from measured import plan, table

from mmadlib.errors import SettingsError
from mmadlib.report.controls import leads, side_by_side
from mmadlib.report.rows import Row


@pytest.fixture
def measured():
    """CFM and two banks on descriptors, and CFM again under another name with 0.1 less."""
    ours = table()
    lower = ours[ours["method"] == "cfm"].assign(variant="centred", value=lambda t: t["value"] - 0.1)
    return pd.concat([ours, lower, table(features="learned").assign(value=lambda t: t["value"] + 0.2)])


def test_a_control_stands_beside_its_method_whatever_its_variant_is_called(measured):
    centred = plan(("4",), rows=(Row("cfm", "centred"),))
    found = side_by_side(measured, {"main": plan(("2", "4")), "without": centred, "learned": plan(("4",), features="learned")},
                         "4")
    assert list(found.columns) == ["main", "without", "learned"]
    assert list(found.index) == ["CFM", "Nearest neighbour [both joined]", "Nearest neighbour [RGB]"]
    assert list(found.loc["CFM"]) == ["0.794 ± 0.020", "0.694 ± 0.020", "0.994 ± 0.020"]
    assert list(found["without"][1:]) == ["", ""] and found.at["Nearest neighbour [RGB]", "learned"] == "0.774 ± 0.010"


def test_several_rows_of_a_method_are_matched_by_variant(measured):
    both, one = (Row("cfm"), Row("cfm", "centred")), (Row("cfm", "centred"),)
    found = side_by_side(measured, {"main": plan(("4",), rows=both), "again": plan(("4",), rows=both),
                                    "one": plan(("4",), rows=one)}, "4")
    assert list(found.index) == ["CFM", "CFM [centred]"]
    assert list(found["again"]) == list(found["main"]) == ["0.794 ± 0.020", "0.694 ± 0.020"]
    assert list(found["one"]) == ["", "0.694 ± 0.020"]


def test_what_was_not_run_says_so(measured):
    found = side_by_side(measured, {"main": plan(("4",)), "paper": plan(("4",), features="paper")}, "4")
    assert set(found["paper"]) == {"not run"}


def test_plans_that_compare_nothing_are_refused(measured):
    with pytest.raises(SettingsError, match="other: other categories"):
        side_by_side(measured, {"main": plan(("4",)), "other": plan(("4",), categories=("keyed",))}, "4")
    with pytest.raises(SettingsError, match="other: other draws"):
        side_by_side(measured, {"main": plan(("4",)), "other": replace(plan(("4",)), draws=((1, 0),))}, "4")
    with pytest.raises(SettingsError, match="two variants of one method"):
        side_by_side(measured, {"main": plan(("4",)), "two": plan(("4",), rows=(Row("cfm"), Row("cfm", "centred")))}, "4")
    with pytest.raises(SettingsError, match="other: CPIR stands beside no row"):
        side_by_side(measured, {"main": plan(("4",)), "other": plan(("4",), rows=(Row("cfm"), Row("cpir")))}, "4")


def test_leads_stand_with_both_levels_and_what_the_draws_settle(measured):
    def pair(variant="default", features="descriptors", draws=((1, 0), (2, 1), (3, 2))):
        rows = (Row("nearest", "rgb"), Row("cfm", variant))
        return replace(plan(("2", "4"), features=features, rows=rows), draws=draws)

    apart = (measured["method"] == "nearest") & (measured["data_seed"] == 3)  # gaps of CFM .21, .22 and .13
    found = leads(measured.assign(value=measured["value"] + 0.1 * apart),
                  {"main": pair(), "centred": pair("centred"), "one": pair(draws=((1, 0),)), "never": pair(features="paper")},
                  "cfm", "nearest", "4")
    assert list(found.columns) == ["CFM", "Nearest neighbour [RGB]", "CFM minus Nearest neighbour [RGB]"]
    assert list(found.loc["main"]) == ["0.794 ± 0.020", "0.607 ± 0.067", "+0.187 [+0.064, +0.309] ahead"]
    assert list(found.loc["centred"]) == ["0.694 ± 0.020", "0.607 ± 0.067", "+0.087 [-0.036, +0.209] open"]
    assert list(found.loc["one"]) == ["0.774 ± -", "0.564 ± -", "+0.210 one draw"]
    assert list(found.loc["never"]) == ["not run"] * 3
    keyed = leads(measured, {"main": pair()}, "cfm", "nearest", "4", subset="relation")  # which `free` cannot have
    assert list(keyed.loc["main"]) == ["0.844 ± 0.020", "0.624 ± 0.010", "+0.220 [+0.195, +0.245] ahead"]
    for rows in ((Row("cfm"),), (Row("cfm"), Row("nearest", "rgb"), Row("nearest", "joint"))):
        with pytest.raises(SettingsError, match="odd: not one row of cfm and one of nearest"):
            leads(measured, {"odd": plan(("4",), rows=rows)}, "cfm", "nearest", "4")
