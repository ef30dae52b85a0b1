"""Tables for people: the measured and the published numbers, selected and laid out by category, modality and method.

A number that was not measured reads "not run"; nothing is ever filled in. Published rows marked
`unverified` stay in the CSV and are never shown.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from mmadlib.errors import DataError, MetricUndefined, SettingsError, explain
from mmadlib.experiments.record import COLUMNS, LATER, PROVENANCE
from mmadlib.experiments.results import OWN, read_results, read_table
from mmadlib.methods import EVERY
from mmadlib.paths import CHECKOUT, RESULTS, shipped, shown
from mmadlib.report.rows import Row

NOT_RUN = "not run"
SUBSET_ORDER = ["all", "rgb", "xyz", "both", "relation"]
METRIC_NAMES = {"i_auroc": "I-AUROC", "p_auroc": "P-AUROC", "aupro_30": "AUPRO@30", "aupro_10": "AUPRO@10",
                "aupro_05": "AUPRO@5", "aupro_01": "AUPRO@1"}
OUR_METRICS = METRIC_NAMES | {"aupro_30_fg": "AUPRO@30, object", "aupro_30_exact": "AUPRO@30, exact"}  # not printed elsewhere
ON_REQUEST = {"i_f1_max": "I-F1-max", "i_ap": "I-AP", "p_f1_max": "P-F1-max", "p_ap": "P-AP"}  # measured in every run


def _existing(path: str | Path, remedy: str) -> Path:
    path = shipped(Path(path))
    if not path.is_file():
        raise DataError(explain(shown(path), "is missing", remedy))
    return path


def results(path: str | Path = RESULTS / "results.csv", own: bool = False) -> pd.DataFrame:
    """The measured results, long: one row per run, subset and metric; own: with those of own data and plans beside it.

    Raises DataError when there are none.
    """
    if own and (Path(path).parent / OWN).is_dir():
        return read_results(Path(path).parent, own)
    return read_table(_existing(path, f"run `make reproduce`, or {CHECKOUT}"), COLUMNS)


def runs(path: str | Path = RESULTS / "runs.csv") -> pd.DataFrame:
    """Where the measured results come from: a row per run, with cost, machine, settings. Raises DataError when missing."""
    return read_table(_existing(path, f"run `make reproduce`, or {CHECKOUT}"), PROVENANCE, LATER)


def published(path: str | Path = RESULTS / "published.csv") -> pd.DataFrame:
    """The published numbers that may be shown, AUROC and AUPRO as fractions; `unverified` rows are left out."""
    table = pd.read_csv(_existing(path, f"it comes with a checkout: {CHECKOUT}"), dtype={"shots": str}, keep_default_na=False,
                        na_values={"value": [""]})
    return table[table["confidence"] != "unverified"].reset_index(drop=True)


def select(table: pd.DataFrame, /, **where: object) -> pd.DataFrame:
    """Rows whose columns equal the given values; compared as text, so 4 and "4" are the same number of shots."""
    for column, value in where.items():
        table = table[table[column].astype(str) == str(value)]
    return table


def on_features(table: pd.DataFrame, features: str) -> pd.DataFrame:
    """Rows on these features, and under the same name those of `rows.OWN_INPUTS`, which have inputs of their own."""
    keys = table[["method", "variant"]].drop_duplicates().itertuples(index=False, name=None)
    inputs = {key: Row(*key).inputs(features) if key[0] in EVERY else features for key in keys}
    wanted = [inputs[key] for key in zip(table["method"], table["variant"], strict=True)]
    return table[table["features"] == wanted].assign(features=features)


def by_modality(table: pd.DataFrame, metric: str = "i_auroc", **where: object) -> pd.DataFrame:
    """One metric as category x modality, averaged over data seeds and seeds, with the mean over categories last."""
    chosen = select(table, metric=metric, **where)
    if chosen.empty:
        raise MetricUndefined(f"no row of {metric} with {where}; run `make reproduce`")
    wide = chosen.pivot_table(index="category", columns="subset", values="value")
    wide = wide[[s for s in SUBSET_ORDER if s in wide]]
    wide.loc["mean"] = wide.mean()
    return wide.rename_axis(None, axis=1)


def by_method(table: pd.DataFrame, metric: str = "i_auroc", **where: object) -> pd.DataFrame:
    """One metric as method and variant x modality, averaged over categories, data seeds and seeds."""
    chosen = select(table, metric=metric, **where)
    wide = chosen.assign(method=chosen["method"].map(lambda m: Row(m).name if m in EVERY else m)).pivot_table(
        index=["method", "variant", "features"], columns="subset", values="value")
    return wide[[s for s in SUBSET_ORDER if s in wide]].rename_axis(None, axis=1)


def by_variant(table: pd.DataFrame, method: str, variants: Sequence[str] = (), metric: str = "i_auroc", subset: str = "all",
               **where: object) -> pd.DataFrame:
    """One metric of a method as variant x category, averaged over draws, with the mean over categories last.

    variants: these in this order, NaN where one was not run; default all that were run, best mean first. Raises SettingsError
    when several numbers of shots, features or datasets are left.
    """
    chosen = select(table, method=method, metric=metric, subset=subset, **where)
    for column in ("dataset", "features", "shots"):
        if chosen[column].nunique() > 1:
            raise SettingsError(f"a table mixes {column} {', '.join(sorted(set(chosen[column])))}; select one first")
    wide = chosen.pivot_table(index="variant", columns="category", values="value")
    wide = (wide.reindex(list(variants)) if variants else wide).rename_axis(None, axis=1)
    wide = wide.assign(mean=wide.mean(axis=1, skipna=False))
    return wide if variants else wide.sort_values("mean", ascending=False)


def text(table: pd.DataFrame, index: bool = True) -> str:
    """The table as aligned plain text, three decimals, "-" where a cell has no meaning (no such defect)."""
    return table.to_string(float_format=lambda v: f"{v:.3f}", na_rep="-", index=index)
