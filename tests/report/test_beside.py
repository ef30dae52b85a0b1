"""Published beside measured: same metric, same categories, same protocol, source and confidence with every number."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from measured import table

from mmadlib.errors import SettingsError
from mmadlib.report import beside, tables
from mmadlib.report.rows import Row

ROWS = {"CFM": Row("cfm")}
CATEGORIES = ["free", "keyed"]


def printed(values, dataset="mvtec3d", confidence="primary"):
    """{(method, category, shots, metric): value}"""
    rows = [["P", "Table 1", m, dataset, c, k, metric, v, "fraction", "", confidence]
            for (m, c, k, metric), v in values.items()]
    return pd.DataFrame(rows, columns=["paper", "table", "method", "dataset", "category", "shots", "metric", "value", "unit",
                                       "source", "confidence"])


@pytest.fixture
def ours():
    return table(("1", "2", "4"), dataset="mvtec3d", features="paper")


def test_mean_and_interval_of_the_difference(ours):
    row = beside.compare(ours, printed({("CFM", "mean", "4", "i_auroc"): 0.8}), ROWS, CATEGORIES).iloc[0]
    draws = 0.754 + 0.02 * np.array([1, 2, 3])
    half = 4.302653 * draws.std(ddof=1) / np.sqrt(3)
    assert row["measured"] == pytest.approx(draws.mean()) and row["n"] == 3
    assert row[["difference", "low", "high"]].tolist() == pytest.approx([-0.006, -0.006 - half, -0.006 + half])
    line = beside.three(beside.compare(ours, printed({("CFM", "mean", "4", "i_auroc"): 0.8}), ROWS, CATEGORIES)).iloc[0]
    assert line.tolist() == ["P, Table 1", "primary", "mvtec3d", "CFM", "4", "I-AUROC", "0.800", "0.794 ± 0.020",
                             f"-0.006 [{-0.006 - half:+.3f}, {-0.006 + half:+.3f}]", 3]


def test_one_category_and_one_draw(ours):
    single = ours[ours["data_seed"] == 1]
    line = beside.three(beside.compare(single, printed({("CFM", "keyed", "4", "i_auroc"): 0.8}), ROWS, CATEGORIES)).iloc[0]
    assert line[["measured", "difference", "draws"]].tolist() == ["0.824 ± -", "+0.024", 1]


def test_what_was_not_run_is_not_filled_in(ours):
    asked = printed({("CFM", "mean", "4", "i_auroc"): 0.8, ("BTF", "mean", "4", "i_auroc"): 0.7,
                     ("CFM", "mean", "1", "p_auroc"): 0.9})
    for measured, said in ((ours, ["0.794 ± 0.020", "not run", "not run"]), (ours.iloc[:0], ["not run"] * 3),
                           (ours[ours["category"] == "free"], ["1 of 2 categories", "not run", "not run"])):
        text = beside.three(beside.compare(measured, asked, ROWS, CATEGORIES))
        assert list(text["measured"]) == said
        assert list(text["published"]) == ["0.800", "0.700", "0.900"]
        assert [bool(d) for d in text["difference"]] == [s[0] == "0" for s in said]


def test_a_mean_whose_categories_are_unknown_is_not_run(ours):
    assert beside.compare(ours, printed({("CFM", "mean", "4", "i_auroc"): 0.8}), ROWS, [])["note"].tolist() == ["not run"]


def test_the_99_threshold_value_never_meets_the_exact_one(ours):
    exact = ours.assign(metric=ours["metric"].replace({"aupro_01": "aupro_01_exact"}))
    asked = printed({("CFM", "mean", "4", "aupro_01"): 0.4})
    assert beside.compare(exact, asked, ROWS, CATEGORIES)["note"].tolist() == ["not run"]
    assert beside.compare(ours, asked, ROWS, CATEGORIES)["n"].tolist() == [3]


def test_rendered_numbers_never_stand_beside_published_ones(ours):
    rendered = ours.assign(dataset="rendered", features="descriptors")
    numbers = beside.compare(rendered, printed({("CFM", "mean", "4", "i_auroc"): 0.8}), ROWS, CATEGORIES)
    assert numbers["note"].tolist() == ["not run"]


def test_unverified_rows_several_datasets_and_mixed_protocols_are_refused(ours):
    asked = printed({("CFM", "mean", k, "i_auroc"): 0.8 for k in ("4", "5")})
    with pytest.raises(SettingsError, match="checked printed numbers"):
        beside.compare(ours, asked.assign(confidence="unverified"), ROWS, CATEGORIES)
    with pytest.raises(SettingsError, match="one dataset"):
        beside.compare(ours, pd.concat([asked, asked.assign(dataset="eyecandies")]), ROWS, CATEGORIES)
    numbers = beside.compare(ours, asked, ROWS, CATEGORIES)
    for layout in (beside.three, lambda n: beside.stacked(n, "shots")):
        with pytest.raises(SettingsError, match="not comparable"):
            layout(numbers)


def test_stacked_as_printed(ours):
    asked = printed({(m, c, "4", "i_auroc"): 0.8 for m in ("BTF", "CFM") for c in ("mean", "free", "keyed")})
    numbers = beside.compare(ours, asked, ROWS, CATEGORIES)
    text = beside.stacked(numbers)
    assert list(text.columns) == ["free", "keyed", "mean"]
    assert list(text.index) == [("BTF", "published"), ("BTF", "measured"), ("CFM", "published"), ("CFM", "measured"),
                                ("CFM", "difference")]
    assert text.loc[("CFM", "difference")].tolist() == ["-0.056", "+0.044", "-0.006"]
    assert text.loc[("BTF", "measured")].tolist() == ["not run"] * 3
    assert beside.sources(numbers) == "P, Table 1 (primary)"
    with pytest.raises(SettingsError, match="several printed numbers a cell"):
        beside.stacked(numbers, "metric")


def test_mixed_confidence_stands_under_each_number(ours):
    asked = printed({("CFM", "mean", k, "i_auroc"): 0.8 for k in ("1", "4")}).assign(confidence=["primary", "secondary"])
    numbers = beside.compare(ours, asked, ROWS, CATEGORIES)
    for order in (numbers, numbers[::-1]):
        assert beside.stacked(order, "shots").loc[("CFM", "confidence")].to_dict() == {"1": "primary", "4": "secondary"}
        assert list(beside.stacked(order, "shots").columns) == ["1", "4"]
    assert beside.sources(numbers) == "P, Table 1 (primary, secondary)"


class TestCpirTables:
    """The names that CPIR prints in Tables 4 to 6 lead to our variants."""

    @pytest.fixture(scope="class")
    def cpir(self):
        return tables.select(tables.published(), paper="CPIR")

    def test_every_printed_row_of_the_ablations_has_a_variant(self, cpir):
        for number in (4, 5, 6):
            names = set(tables.select(cpir, table=f"Table {number}")["method"])
            assert names and names - {"CFM", "CPIR"} <= set(beside.CPIR_ROWS)
        assert set(beside.CPIR_ROWS) <= set(cpir["method"])

    def test_rows_that_share_a_variant_print_the_same_numbers(self, cpir):
        for variant in set(beside.CPIR_ROWS.values()):
            names = [n for n, v in beside.CPIR_ROWS.items() if v == variant]
            cells = cpir[cpir["method"].isin(names)].groupby("metric")["value"].nunique()
            assert len(names) == 1 or (cells == 1).all()

    def test_the_classes_of_a_printed_mean(self):
        assert len(beside.classes(tables.published(), "mvtec3d")) == 10
        assert beside.classes(tables.published(), "real_iad_d3") == []


def test_a_method_without_printed_numbers_says_so(ours):
    asked = printed({("CFM", "mean", "4", "i_auroc"): 0.8, ("CFM", "keyed", "4", "p_auroc"): 0.9,
                     ("BTF [RGB]", "mean", "2", "i_auroc"): 0.7})
    more = beside.with_unpublished(asked)
    assert more["method"].tolist() == ["CFM", "CFM", "BTF [RGB]", "CMSA", "CMSA"]
    assert more["shots"].tolist()[3:] == ["4", "2"] and (more["category"][3:] == "mean").all()
    assert len(beside.with_unpublished(asked.assign(dataset="eyecandies"))) == 3, "its abstract speaks of MVTec 3D-AD alone"
    rows = ROWS | {"CMSA": Row("nearest", "joint")}  # any row with measured numbers
    compared = beside.compare(ours, more[more["shots"] == "4"], rows, CATEGORIES)
    lines = beside.three(compared)
    assert lines["published"].tolist() == ["0.800", "0.900", beside.UNPUBLISHED]
    last = lines.iloc[-1]
    assert last["measured"].startswith("0.6") and last["measured"].endswith("(reconstruction)")
    assert last["difference"] == "" and last["source"] == "CMSA" and lines["measured"][0] == "0.794 ± 0.020"
    assert beside.UNPUBLISHED in beside.stacked(compared.iloc[2:], "shots").to_string()
    assert beside.sources(compared.iloc[2:]) == f"CMSA, {beside.UNPUBLISHED}"
