"""The default method is what the docstring says, by the numbers that are committed."""

import inspect
import re

import pandas as pd

import mmadlib.inspection.inspector as inspector
from mmadlib.paths import RESULTS

METRICS = {"i_auroc": 0, "aupro_30_fg": 1}


def test_the_numbers_of_the_docstring_are_those_of_the_table():
    rows = pd.read_csv(RESULTS / "results.csv", dtype={"shots": str})
    rows = rows[(rows.dataset == "rendered") & (rows.features == "learned") & (rows.subset == "all")
                & (rows.variant == "default") & rows.metric.isin(METRICS) & rows.shots.isin(["4", "10"])]
    means = rows.groupby(["method", "shots", "metric"]).value.mean()
    lines = re.findall(r"^ +(\w+) +(\.\d+) / (\.\d+) +(\.\d+) / (\.\d+)$", inspector.__doc__, re.MULTILINE)
    assert [line[0] for line in lines] == ["cpir", "cmsa", "btf"]
    for method, *printed in lines:
        measured = [means[method, shots, metric] for shots in ("4", "10") for metric in METRICS]
        assert [f"{value:.3f}"[1:] for value in measured] == printed, method
    both = means.unstack("metric").sum(axis=1).unstack("shots")
    assert both["4"].idxmax() == inspect.signature(inspector.Inspector).parameters["method"].default == "cpir"
