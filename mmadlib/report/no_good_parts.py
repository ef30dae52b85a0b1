"""Rows of methods that are given no good part: under a heading of their own, with the parts of a batch in place of shots."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from mmadlib.methods import BATCH_METHODS
from mmadlib.report.draws import note, over_draws, per_draw
from mmadlib.report.few_shot import cell
from mmadlib.report.rows import Row
from mmadlib.report.tables import NOT_RUN, OUR_METRICS, select

HEADING = "no good parts"
SIZES = ("8", "24", "full")  # parts of a batch in our sweeps, as a table calls them
METRICS = ("i_auroc", "p_auroc", "aupro_30", "aupro_30_fg")


def parts_of(shots: object) -> str:
    """What a number of shots means here: "8 parts at once", "all parts at once"."""
    return f"{'all' if str(shots) == 'full' else shots} parts at once"


def no_good_parts(table: pd.DataFrame, dataset: str = "rendered", features: str = "learned",
                  categories: Sequence[str] | None = None, metrics: Sequence[str] = METRICS) -> pd.DataFrame:
    """Mean and deviation over draws as text, a row per method and size of a batch, a column per metric; empty where nothing
    was run, "not run" where one of SIZES was not. categories: those that are averaged, default all that were run."""
    found = select(table, dataset=dataset, features=features, variant="default", subset="all")
    found = found[found["method"].isin(BATCH_METHODS) & found["metric"].isin(metrics)]
    shown = sorted(set(found["category"])) if categories is None else list(categories)
    draws = per_draw(found, shown)
    wanted = draws[["data_seed", "seed"]].drop_duplicates()
    cells = over_draws(draws)
    counts = cells[["found", "needed", "n"]].itertuples(index=False)
    cells["note"] = [note(found, needed, n, len(wanted)) for found, needed, n in counts]
    cells["text"] = [cell(*x) for x in cells[["mean", "std", "n", "note"]].itertuples(index=False)]
    cells["name"] = [Row(method).name for method in cells["method"]]
    wide = cells.pivot(index=["name", "shots"], columns="metric", values="text")
    sizes = sorted({*SIZES, *cells["shots"]}, key=lambda k: float(k.replace("full", "inf")))
    wide = wide.reindex(pd.MultiIndex.from_product([sorted(set(cells["name"])), sizes])).fillna(NOT_RUN)
    wide.index = pd.MultiIndex.from_tuples([(name, parts_of(k)) for name, k in wide.index], names=["method", HEADING])
    return wide[[m for m in metrics if m in wide]].rename(columns=OUR_METRICS).rename_axis(None, axis=1)
