"""What `make reproduce` ends with: the main tables as text, and where the rest lies."""

from __future__ import annotations

from pathlib import Path

from mmadlib.errors import DataError, explain
from mmadlib.experiments.results import read_results
from mmadlib.paths import FIGURES, RESULTS, RUNS, here, shipped, shown
from mmadlib.report.tables import METRIC_NAMES, by_method, text

MAIN_METRICS = ("i_auroc", "aupro_30")


def command(folder: str | Path = RESULTS, own: bool = False) -> int:
    """`mmadlib results`: print the main tables of a results folder, own rows among them if asked for.

    Raises DataError when they cannot be read.
    """
    if not shipped(here(folder)).is_dir():
        raise DataError(explain(folder, "is not a folder", "give one that holds results.csv"))
    results, where = read_results(folder, own), shown(here(folder) / "results.csv")
    if results.empty:
        mine = "" if own or read_results(folder, own=True).empty else ", rows of your own are shown by --own"
        print(f"{where} holds no rows yet: `make reproduce` fills it{mine}")
        return 0
    print("Means over categories, data seeds and seeds; columns: all defects, then those that one modality shows")
    for dataset, shots in results[["dataset", "shots"]].drop_duplicates().itertuples(index=False):
        for metric in MAIN_METRICS:
            print(f"\n{dataset}, {shots} shots, {METRIC_NAMES[metric]}")
            print(text(by_method(results, metric, dataset=dataset, shots=shots)))
    print(f"\nall numbers: {where}   provenance: {shown(here(folder) / 'runs.csv')}\n"
          f"tables and figures: notebooks/90_tables.ipynb, notebooks/91_figures.ipynb, {shown(FIGURES)}/\n"
          f"executed notebooks: {shown(RUNS)}/notebooks/")
    return 0
