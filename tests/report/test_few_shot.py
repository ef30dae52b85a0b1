"""Draws: averaged after the categories, counted, never mixed over protocols, never averaged over fewer categories."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from measured import DRAWS, plan, table

from mmadlib.errors import SettingsError
from mmadlib.experiments.grids import read_sweep
from mmadlib.experiments.record import COLUMNS
from mmadlib.methods import METHODS
from mmadlib.report import few_shot
from mmadlib.report.rows import Row
from mmadlib.report.tables import select


@pytest.fixture
def whole():
    return table()


def one(cells, **where):
    chosen = select(cells, **{"method": "cfm", "shots": 4, "subset": "all", "metric": "i_auroc"} | where)
    assert len(chosen) == 1
    return chosen.iloc[0]


@pytest.mark.parametrize(("shots", "name"), [(["5", "full"], "A"), ([10, 50], "A"), ([1, "2", 4], "B")])
def test_protocol_of_shots(shots, name):
    assert few_shot.protocol_of(shots) == name


@pytest.mark.parametrize("shots", [("4", "5"), ("1", "full"), ("3",), ()])
def test_protocols_never_share_a_table(shots, whole):
    with pytest.raises(SettingsError, match="not comparable"):
        few_shot.protocol_of(shots)
    with pytest.raises(SettingsError, match="not comparable"):
        plan(shots)


def test_a_wide_table_of_two_protocols_is_refused(whole):
    cells = pd.concat([few_shot.summary(table(("4",)), plan(("4",))), few_shot.summary(table(("5",)), plan(("5",)))])
    with pytest.raises(SettingsError, match="not comparable"):
        few_shot.wide(cells, metric="i_auroc", subset="all")


def test_categories_first_then_draws(whole):
    cell = one(few_shot.summary(whole, plan()))
    each = 0.7 + 0.05 + 0.02 * np.array([1, 2, 3]) + 0.004
    assert cell["mean"] == pytest.approx(each.mean()) and cell["std"] == pytest.approx(each.std(ddof=1))
    assert (cell["n"], cell["note"], cell["name"]) == (3, "", "CFM")
    assert cell["mean"] - cell["low"] == pytest.approx(4.302653 * each.std(ddof=1) / np.sqrt(3))


def test_a_subset_that_one_category_cannot_have_is_complete_without_it(whole):
    cell = one(few_shot.summary(whole, plan()), subset="relation")
    assert (cell["note"], cell["needed"]) == ("", 1)
    assert cell["mean"] == pytest.approx(0.7 + 0.1 + 0.04 + 0.004)


def test_a_missing_category_is_said_and_never_averaged_over(whole):
    part = whole[(whole["category"] == "keyed") | (whole["data_seed"] != 2)]
    cell = one(few_shot.summary(part, plan()))
    assert (cell["n"], cell["note"]) == (2, "2 of 3 draws")
    assert cell["mean"] == pytest.approx(0.7 + 0.05 + 0.02 * 2 + 0.004)  # draws 1 and 3; the half of 2 would add .05
    keyed = few_shot.summary(whole[whole["category"] == "keyed"], plan())
    assert np.isnan(one(keyed)["mean"]) and one(keyed)["note"] == "1 of 2 categories"


def test_a_category_that_nobody_ran_is_needed_by_every_subset(whole):
    cells = few_shot.summary(whole, plan(categories=("free", "keyed", "plain")))
    assert one(cells)["note"] == "2 of 3 categories" and one(cells, subset="relation")["note"] == "1 of 2 categories"


def test_nothing_run_reads_not_run(whole):
    few = plan(("5", "full"), rows=(Row("cfm"), Row("nearest", "max")))
    for source in (whole, whole.iloc[:0]):
        shown = few_shot.wide(few_shot.summary(source, few), metric="i_auroc", subset="all")
        assert shown.to_numpy().tolist() == [["not run"] * 2] * 2
        assert list(shown.columns) == ["5", "full"]


def test_only_planned_draws_count(whole):
    cell = one(few_shot.summary(whole, plan(draws=DRAWS[:1])))
    assert (cell["n"], cell["note"]) == (1, "") and np.isnan(cell["std"]) and np.isnan(cell["low"])
    other = whole.assign(seed=9)
    assert one(few_shot.summary(other, plan()))["note"] == "not run"


def test_cells_as_text():
    assert few_shot.cell(0.91249, 0.0126, 3, "") == "0.912 ± 0.013"
    assert few_shot.cell(0.9, np.nan, 1, "1 of 3 draws") == "0.900 ± - (1 of 3 draws)"
    assert few_shot.cell(np.nan, np.nan, 0, "4 of 5 categories") == "4 of 5 categories"


def test_wide_by_modality_and_metric_in_order(whole):
    cells = few_shot.summary(whole, plan())
    modality = few_shot.wide(cells, "subset", metric="i_auroc", shots="4")
    assert list(modality.columns) == ["all", "rgb", "relation"]
    assert list(modality.index) == ["CFM", "Nearest neighbour [both joined]", "Nearest neighbour [RGB]"]
    assert list(few_shot.wide(cells, "metric", subset="all", shots="4").columns) == ["I-AUROC", "AUPRO@30", "AUPRO@1"]
    with pytest.raises(SettingsError, match="several numbers a cell"):
        few_shot.wide(cells, "shots", subset="all")


def test_other_datasets_and_features_stay_out(whole):
    both = pd.concat([whole, table(dataset="mvtec3d", features="paper").assign(value=0.0)])
    assert few_shot.summary(both, plan()).equals(few_shot.summary(whole, plan()))


def test_a_part_of_the_plan():
    assert plan().only("keyed, free").categories == plan().only().categories[:2]
    part = plan().only("keyed", "cfm")
    assert (part.categories, part.rows, part.protocol) == (("keyed",), (Row("cfm"),), "B")
    assert plan().only() == plan()
    assert plan().only(methods="nearest, cfm") == plan()
    for wrong, said in (({"category": "keyd"}, "'keyed'"), ({"methods": "cfm,cfn"}, "'cfm'")):
        with pytest.raises(SettingsError, match=f"planned.*did you mean {said}"):
            plan().only(**wrong)


def test_the_plan_of_a_sweep_has_a_row_for_every_method():
    sweep = {"dataset": "rendered", "categories": ["keyed"], "shots": [10, 0], "seeds": [[1, 0], [2, 1]],
             "methods": {"nearest": {"rgb": {"bank": "rgb"}, "joint": {}}}}
    found = few_shot.Plan.of(read_sweep(sweep))
    assert (found.shots, found.draws, found.protocol) == (("10", "full"), ((1, 0), (2, 1)), "A")
    assert [r.method for r in found.rows] == [m for m in METHODS if m != "nearest"] + ["nearest"] * 2
    assert found.size == 4 * len(found.rows)
    with pytest.raises(SettingsError, match="not comparable"):
        few_shot.Plan.of(read_sweep(sweep | {"shots": [4, 10]}))
    with pytest.raises(SettingsError, match="the sweep is empty"):
        few_shot.Plan.of([])
    assert few_shot.Plan.of(read_sweep(sweep), "random").features == "random", "as if the sweep were on these"


def test_curves_are_drawn_from_whole_draws(whole):
    part = whole[(whole["category"] == "keyed") | (whole["data_seed"] != 2)]
    drawn = few_shot.whole(few_shot.planned(part, plan()))
    assert set(drawn.loc[drawn["subset"] == "all", "data_seed"]) == {1, 3}
    assert set(drawn["name"]) == {r.name for r in plan().rows}


def test_a_row_with_inputs_of_its_own_stands_among_the_others():
    sweep = {"dataset": "mvtec3d", "features": "paper", "categories": ["bagel"], "shots": [10], "seeds": [0],
             "methods": {"cfm": {"published": {}}, "pirn": {
                 "reconstruction": {"features": "dinov2_vitb14+normals_dinov2_vitb14"}, "common": {}}}}
    found = few_shot.Plan.of(read_sweep(sweep), "paper")
    named = {r.name for r in found.rows}
    assert found.features == "paper" and {"PIRN [reconstruction]", "PIRN (reconstruction) [common]"} <= named
    other = "dinov2_vitb14+normals_dinov2_vitb14"
    rows = [["mvtec3d", 0, "bagel", m, v, f, "10", 0, "all", "i_auroc", x] for m, v, f, x in (
        ("cfm", "published", "paper", 0.9), ("cfm", "published", other, 0.1), ("pirn", "reconstruction", other, 0.8),
        ("pirn", "reconstruction", "paper", 0.2), ("pirn", "common", "paper", 0.7))]
    cells = few_shot.summary(pd.DataFrame(rows, columns=COLUMNS), found)
    means = cells.dropna(subset="mean").set_index(["method", "variant"])["mean"].to_dict()
    assert means == {("cfm", "published"): 0.9, ("pirn", "reconstruction"): 0.8, ("pirn", "common"): 0.7}
