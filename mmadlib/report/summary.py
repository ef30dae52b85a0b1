"""What `make reproduce` ends with: the main tables as text, and where the rest lies."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mmadlib.checks import one_of
from mmadlib.errors import DataError, explain
from mmadlib.experiments.results import read_results
from mmadlib.methods import BATCH_METHODS
from mmadlib.paths import FIGURES, RESULTS, RUNS, here, shipped, shown
from mmadlib.report.no_good_parts import HEADING, parts_of
from mmadlib.report.tables import ON_REQUEST, OUR_METRICS, by_method, text

MAIN_METRICS = ("i_auroc", "aupro_30")
NAMES = OUR_METRICS | ON_REQUEST


def command(folder: str | Path = RESULTS, own: bool = False, metrics: Sequence[str] = MAIN_METRICS) -> int:
    """`mmadlib results`: print the main tables of a results folder, own rows among them if asked for.

    Raises DataError when they cannot be read, UnknownName for a metric.
    """
    for metric in metrics:
        one_of("metric", metric, NAMES)
    if not shipped(here(folder)).is_dir():
        raise DataError(explain(folder, "is not a folder", "give one that holds results.csv"))
    results, where = read_results(folder, own), shown(here(folder) / "results.csv")
    if results.empty:
        mine = "" if own or read_results(folder, own=True).empty else ", rows of your own are shown by --own"
        print(f"{where} holds no rows yet: `make reproduce` fills it{mine}")
        return 0
    print("Means over categories, data seeds and seeds; columns: all defects, then those that one modality shows")
    apart = results["method"].isin(BATCH_METHODS)  # were given no good part: never in one table with the others
    for part, given in ((results[~apart], "{} shots".format), (results[apart], lambda k: f"{HEADING}, {parts_of(k)}")):
        for dataset, shots in part[["dataset", "shots"]].drop_duplicates().itertuples(index=False):
            for metric in metrics:
                print(f"\n{dataset}, {given(shots)}, {NAMES[metric]}")
                found = by_method(part, metric, dataset=dataset, shots=shots)
                print(text(found) if len(found) else "not measured: runs from before this metric lack it")
    print(f"\nall numbers: {where}   provenance: {shown(here(folder) / 'runs.csv')}\n"
          f"tables and figures: notebooks/90_tables.ipynb, notebooks/91_figures.ipynb, {shown(FIGURES)}/\n"
          f"executed notebooks: {shown(RUNS)}/notebooks/")
    return 0
