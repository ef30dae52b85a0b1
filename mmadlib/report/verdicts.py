"""What the numbers settle: methods against the best nearest-neighbour row, draw by draw on the same data.

A difference is taken within each draw, so what makes one draw easier than another cancels. A verdict needs an interval
that leaves out zero; with few draws most questions stay open, and the words say so.
"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from mmadlib.report.draws import DRAW, interval
from mmadlib.report.few_shot import whole
from mmadlib.report.rows import Row
from mmadlib.report.tables import NOT_RUN, select

COLUMNS = ["shots", "method", "against", "difference", "low", "high", "n", "verdict"]


def paired(draws: pd.DataFrame, a: Row, b: Row, **where: object) -> pd.Series:
    """a - b of each draw that is complete for both; `draws` of few_shot.planned, `where` fixes shots, subset and metric."""
    chosen = select(whole(draws), **where)
    ours, theirs = (select(chosen, method=r.method, variant=r.variant).set_index(DRAW)["value"] for r in (a, b))
    return (ours - theirs).dropna()


def verdict(low: float, high: float, n: int) -> str:
    """ahead | behind | open by a 95 % interval of the difference; "not run" without a common draw, "one draw" with one."""
    if n < 2:
        return "one draw" if n else NOT_RUN
    return "ahead" if low > 0 else "behind" if high < 0 else "open"


def best(cells: pd.DataFrame, rows: Sequence[Row]) -> Row | None:
    """The row with the highest mean among those with the most draws; None when nothing was run. `cells` of one column."""
    names = {r.name: r for r in rows}
    run = cells[cells["name"].isin(names) & (cells["n"] > 0)]
    run = run[run["n"] == run["n"].max()]
    return None if run.empty else names[run.loc[run["mean"].idxmax(), "name"]]


def against_sanity(draws: pd.DataFrame, cells: pd.DataFrame, rows: Sequence[Row], metric: str = "i_auroc",
                   subset: str = "all") -> pd.DataFrame:
    """Each method minus the best nearest-neighbour row, by shots: COLUMNS, differences as fractions.

    draws, cells   `few_shot.planned` and `few_shot.summary` of one plan;   rows  the plan's
    """
    found = []
    for shots in cells["shots"].unique():
        rival = best(select(cells, shots=shots, metric=metric, subset=subset), [r for r in rows if r.sanity])
        for row in (r for r in rows if not r.sanity):
            gaps = paired(draws, row, rival, shots=shots, metric=metric, subset=subset) if rival else pd.Series(dtype=float)
            low, high = interval(gaps)
            found.append([shots, row.name, rival.name if rival else "-", gaps.mean(), low, high, len(gaps),
                          verdict(low, high, len(gaps))])
    return pd.DataFrame(found, columns=COLUMNS)


def in_words(gaps: pd.DataFrame) -> list[str]:
    """One sentence for each number of shots of `against_sanity`."""
    lines = []
    for shots, part in gaps.groupby("shots", sort=False):
        settled = {word: list(part.loc[part["verdict"] == word, "method"]) for word in ("ahead", "behind", "open", "one draw")}
        said = "; ".join(f"{word}: {', '.join(names)}" for word, names in settled.items() if names) or "nothing to compare"
        lines.append(f"{'all samples' if shots == 'full' else f'{shots} shots'}, against {part['against'].iloc[0]}: {said}")
    return lines


def shown(gaps: pd.DataFrame) -> pd.DataFrame:
    """`against_sanity` as text: +0.031 [-0.004, +0.066] open."""
    def line(difference: float, low: float, high: float, n: int, verdict: str) -> str:
        if n == 0:
            return verdict
        return f"{difference:+.3f} " + (f"[{low:+.3f}, {high:+.3f}] " if n > 1 else "") + verdict

    text = gaps.assign(text=[line(*g) for g in gaps[["difference", "low", "high", "n", "verdict"]].itertuples(index=False)])
    table = text.pivot(index="method", columns="shots", values="text")
    return table.loc[text["method"].unique(), text["shots"].unique()].rename_axis(None, axis=1)
