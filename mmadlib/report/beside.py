"""published | measured | difference: every printed number with its source and how sure it is, and ours beside it or "not run".

A printed metric is only ever compared with the measured metric of the same name: aupro_01 is the 99-threshold value on both
sides and never meets aupro_01_exact. Printed numbers carry no spread, so an interval of the difference is ours alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import pandas as pd

from mmadlib.errors import SettingsError
from mmadlib.methods import DISPLAY
from mmadlib.report.draws import note, over_draws, per_draw
from mmadlib.report.few_shot import PROTOCOLS, protocol_of
from mmadlib.report.rows import RECONSTRUCTED, Row
from mmadlib.report.tables import METRIC_NAMES, NOT_RUN, on_features, select

UNPUBLISHED = "not published in an accessible source"
WITHOUT_REFERENCE = ("LSFA", "DAUP")  # printed rows that nothing here will run beside
NO_REFERENCE = "no runnable reference"
ABSTRACTS = {"CMSA": "mvtec3d"}  # methods of which no number is accessible -> the dataset that their abstract speaks of
# CPIR's tables 4 to 6: the names printed there -> our variants (specification of the paper's Sec. 4.4)
CPIR_ROWS = {
    "CFM-Recon": "cfm_recon", "CFM-Dual*": "cfm_dual_star", "CFM-Dual": "cfm_dual", "Ours-Pred": "ours_pred",
    "Ours-Recon": "ours_recon", "Ours-Pred*": "ours_pred_star", "Ours-Recon*": "ours_recon_star",
    "CPIR [aggregate=add]": "aggregate_add", "CPIR [aggregate=max]": "aggregate_max", "CPIR [aggregate=product]": "default",
    "CPIR [pred=MLP]": "cfm", "CPIR [recon=MLP]": "cfm_recon", "CPIR [pred=MLP + recon=MLP]": "cfm_dual",
    "CPIR [recon=2MLP]": "recon_2mlp", "CPIR [pred=MLP + recon=2MLP]": "pred_mlp_recon_2mlp",
    "CPIR [pred=2MLP + recon=2MLP]": "pred_2mlp_recon_2mlp", "CPIR [LB3M]": "default"}


class Claim(NamedTuple):
    """One row is better than another: as printed, table and names there in brackets ("" where it is not), and as run here."""

    words: str
    table: str
    high: str
    low: str
    better: str
    worse: str


# what PIRN's tables 2, 3, 5 and 9 say of its parts, and what we ask beside it, by rows of 33_ablation_pirn/rendered.yaml. The
# working version has no refinement, so the printed full row is `short`, but `short_with_apr` where refinement is asked about
PIRN_CLAIMS = (
    Claim("communication helps", "Table 2", "full", "without MNC", "short", "short_without_mnc"),
    Claim("it helps because the other modality is asked", "", "", "", "short", "short_mnc_own"),
    Claim("both modalities beat RGB", "Table 3", "both modalities", "RGB only", "short", "short_rgb_only"),
    Claim("both beat the normals", "Table 3", "both modalities", "normals only", "short", "short_xyz_only"),
    Claim("both beat RGB that asks itself", "", "", "", "short", "short_rgb_own"),
    Claim("both beat normals that ask themselves", "", "", "", "short", "short_xyz_own"),
    Claim("ten prototypes beat fifty", "Table 5", "K=10", "K=50", "short", "short_k_50"),
    Claim("ten beat five", "", "", "", "short", "short_k_5"),
    Claim("without communication fifty beat ten", "", "", "", "short_k_50_without_mnc", "short_without_mnc"),
    Claim("balance beats softmax", "Table 9", "assignment=balanced OT", "assignment=softmax", "short", "short_softmax"),
    Claim("also at a quarter of the temperature", "", "", "", "short_cold", "short_softmax_cold"),
    Claim("refinement helps", "Table 2", "full", "without APR", "short_with_apr", "short"))


class Line(NamedTuple):
    """A printed number and ours beside it, the mean of n draws: a row of `compare`. NaN where one was not printed or run."""

    paper: str
    table: str
    confidence: str
    method: str
    dataset: str
    category: str
    shots: str
    metric: str
    published: float
    measured: float
    std: float
    n: int
    difference: float
    low: float
    high: float
    note: str


COLUMNS = list(Line._fields)


def classes(printed: pd.DataFrame, dataset: str) -> list[str]:
    """The categories over which a printed mean of this dataset runs, from the cells printed anywhere; [] when none is."""
    return sorted(set(select(printed, dataset=dataset)["category"]) - {"mean"})


def _measured(table: pd.DataFrame, categories: Sequence[str], label: str) -> pd.DataFrame:
    """CELL plus category, mean, std, n, low, high, note; `label` stands in the column category."""
    cells = over_draws(per_draw(table, categories))
    cells["note"] = [note(found, needed, n, 1) for found, needed, n in cells[["found", "needed", "n"]].itertuples(index=False)]
    return cells.assign(category=label)


def compare(measured: pd.DataFrame, printed: pd.DataFrame, rows: Mapping[str, Row], categories: Sequence[str],
            features: str = "paper") -> pd.DataFrame:
    """Each printed number (rows of tables.published(), one dataset) with the measured one: COLUMNS, a row per printed number.

    rows        printed method name -> our row; a name without one was not run
    categories  those that a printed mean is over, see `classes`; a mean over fewer is never taken

    Measured numbers are means over draws. Raises SettingsError on several datasets or `unverified` rows.
    """
    if printed["dataset"].nunique() > 1 or (printed["confidence"] == "unverified").any():
        raise SettingsError("compare takes checked printed numbers of one dataset; select them from tables.published()")
    printed = printed[printed["metric"].isin(METRIC_NAMES)].rename(columns={"value": "published"})
    ours = on_features(select(measured, dataset=next(iter(printed["dataset"]), ""), subset="all"), features)
    wanted = sorted(set(printed["category"]))
    cells = pd.concat([_measured(ours, categories if c == "mean" else [c], c) for c in wanted or ["mean"]])
    cells = cells.rename(columns={"method": "short", "mean": "measured"}).drop(columns=["subset", "found", "needed"])
    keys = [(r.method, r.variant) if (r := rows.get(name)) else ("", "") for name in printed["method"]]
    printed = printed.assign(short=[k[0] for k in keys], variant=[k[1] for k in keys])
    both = printed.merge(cells, how="left", on=["short", "variant", "category", "shots", "metric"])
    both["note"], both["n"] = both["note"].fillna(NOT_RUN), both["n"].fillna(0).astype(int)
    for name, end in (("difference", "measured"), ("low", "low"), ("high", "high")):
        both[name] = both[end] - both["published"]
    return both[COLUMNS]


def with_unpublished(printed: pd.DataFrame) -> pd.DataFrame:
    """The printed numbers, and lines without a value for the ABSTRACTS: a line for each number of shots and metric of which
    others print means on that dataset. `three` and `stacked` say UNPUBLISHED there."""
    means = printed.loc[printed["category"] == "mean", ["dataset", "category", "shots", "metric"]].drop_duplicates()
    lines = [select(means, dataset=dataset).assign(method=name, paper=name, table="", confidence="-")
             for name, dataset in ABSTRACTS.items()]
    return pd.concat([printed, *lines], ignore_index=True)


def _label(name: str) -> str:
    """ " (reconstruction)" where our number beside this printed name is one."""
    return " (reconstruction)" if name.split(" [")[0] in {DISPLAY[method] for method in RECONSTRUCTED} else ""


def _printed(line: Line) -> str:
    return UNPUBLISHED if pd.isna(line.published) else f"{line.published:.3f}"


def _ours(line: Line, std: bool = True) -> str:
    if line.n == 0:
        return NO_REFERENCE if line.method.split(" [")[0] in WITHOUT_REFERENCE else line.note
    return f"{line.measured:.3f}" + (f" ± {f'{line.std:.3f}' if line.n > 1 else '-'}" if std else "") + _label(line.method)


def _gap(line: Line) -> str:
    if line.n == 0 or pd.isna(line.published):
        return ""
    return f"{line.difference:+.3f}" + (f" [{line.low:+.3f}, {line.high:+.3f}]" if line.n > 1 else "")


def _lines(numbers: pd.DataFrame) -> list[Line]:
    return [Line(*row) for row in numbers[COLUMNS].itertuples(index=False)]


def three(numbers: pd.DataFrame) -> pd.DataFrame:
    """`compare` as text, one line per printed number: source, confidence, what it is about and the three columns.

    Raises SettingsError when the shots mix protocols.
    """
    protocol_of(numbers["shots"].unique() if len(numbers) else ("full",))
    heading = ["source", "confidence", "dataset", "method", "shots", "metric", "published", "measured", "difference", "draws"]
    lines = [[f"{r.paper}, {r.table}".strip(", "), r.confidence, r.dataset, r.method, r.shots, METRIC_NAMES[r.metric],
              _printed(r), _ours(r), _gap(r), r.n or ""] for r in _lines(numbers)]
    return pd.DataFrame(lines, columns=heading)


def stacked(numbers: pd.DataFrame, columns: str = "category") -> pd.DataFrame:
    """`compare` laid out as printed: a line "published" and a line "measured" per method, "difference" where there is one.

    Where the printed numbers are not all equally sure, a line "confidence" says how sure each is.

    columns   category | metric | shots, the others fixed in `numbers`. Raises SettingsError when they are not, or shots mix.
    """
    protocol_of(numbers["shots"].unique() if len(numbers) else ("full",))
    if numbers.duplicated(["method", columns]).any():
        raise SettingsError(f"several printed numbers a cell; fix all columns but {columns} and method first")
    found = _lines(numbers)
    texts = numbers.assign(column=numbers[columns].replace(METRIC_NAMES), published=[_printed(r) for r in found],
                           measured=[_ours(r, std=False) for r in found], difference=[_gap(r).split(" ")[0] for r in found])
    known = [*PROTOCOLS["A"], *PROTOCOLS["B"], "mean"] if columns == "shots" else ["mean"]
    order = [c for c in texts["column"].unique() if c not in known] + [c for c in known if c in set(texts["column"])]
    lines, mixed = {}, texts["confidence"].nunique() > 1
    for method, part in texts.groupby("method", sort=False):
        for kind in (*(["published", "confidence"] if mixed else ["published"]), "measured", "difference"):
            line = part.set_index("column")[kind].reindex(order).fillna("")
            if kind != "difference" or line.any():
                lines[method, kind] = line
    return pd.DataFrame(lines).T.rename_axis(["method", ""]).rename_axis(None, axis=1)


def sources(numbers: pd.DataFrame) -> str:
    """Where the printed numbers stand and how sure the transcription is: "CPIR, Table 1 (primary)"."""
    groups = numbers.groupby(["paper", "table"], sort=False)["confidence"]
    return "; ".join(f"{paper}, {table} ({', '.join(sure.unique())})" if table else f"{paper}, {UNPUBLISHED}"
                     for (paper, table), sure in groups)
