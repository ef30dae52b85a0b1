"""Costs: medians of what the runs recorded, rows in the order asked, nothing filled in."""

import pandas as pd

from mmadlib.report import Row, tables
from mmadlib.report.costs import costs


def test_costs_are_medians_of_a_row_s_own_runs():
    rest = {"variant": "default", "score_ms": "2", "model_mb": "", "peak_mb": "9"}
    runs = pd.DataFrame([{"method": m, "shots": k, "fit_s": fit} | rest
                         for m, k, fit in (("cfm", "4", "1"), ("cfm", "4", "3"), ("cfm", "4", "8"), ("cfm", "1", "99"),
                                           ("cpir", "4", "5"))])
    table = costs(runs, [Row("cpir"), Row("cfm"), Row("cmsa")], shots=4)
    assert list(table.index) == ["CPIR", "CFM", "CMSA (reconstruction)"]
    assert list(table.columns) == ["fit, s", "ms an image", "model, MB", "process, MB"]
    assert table["fit, s"].tolist()[:2] == [5, 3] and table["model, MB"].isna().all()
    assert table.loc["CMSA (reconstruction)"].isna().all()


def test_the_committed_runs_have_their_costs():
    table = costs(tables.runs(), [Row("cfm"), Row("nearest", "joint")], dataset="rendered", features="learned", shots=4)
    assert (table > 0).all(axis=None) and table["process, MB"].max() > table["model, MB"].max()
