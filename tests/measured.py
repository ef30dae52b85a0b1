"""A synthetic results table: every planned run, with values that can be computed by hand."""

from __future__ import annotations

import pandas as pd

from mmadlib.experiments.record import COLUMNS
from mmadlib.report.few_shot import Plan
from mmadlib.report.rows import Row

DRAWS = ((1, 0), (2, 1), (3, 2))
CATEGORIES = ("free", "keyed")  # in `free` there is no relation that a defect could break
BASE = {("cfm", "default"): 0.7, ("nearest", "joint"): 0.6, ("nearest", "rgb"): 0.5}


def plan(shots=("1", "2", "4"), **changes) -> Plan:
    rows = tuple(Row(*key) for key in BASE)
    return Plan(**{"dataset": "rendered", "features": "descriptors", "categories": CATEGORIES, "shots": tuple(shots),
                   "draws": DRAWS, "rows": rows} | changes)


def value(method, variant, category, shots, data_seed) -> float:
    """base + .1 for keyed + .01 a data seed (.02 for CFM) + .001 a shot."""
    step = 0.02 if method == "cfm" else 0.01
    k = 60 if shots == "full" else int(shots)
    return BASE[method, variant] + 0.1 * (category == "keyed") + step * data_seed + 0.001 * k


def table(shots=("1", "2", "4"), metrics=("i_auroc", "aupro_30", "aupro_01"), dataset="rendered",
          features="descriptors") -> pd.DataFrame:
    rows = [[dataset, d, c, m, v, features, k, s, subset, metric, value(m, v, c, k, d)]
            for (m, v) in BASE for c in CATEGORIES for k in shots for d, s in DRAWS
            for subset in ("all", "rgb", "relation") if (c, subset) != ("free", "relation") for metric in metrics]
    return pd.DataFrame(rows, columns=COLUMNS)
