"""Own parts in a notebook: a threshold to move, and what false alarms and sizes were measured (results/own_parts)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from jaxtyping import Bool, Float
from scipy.stats import t

from mmadlib.errors import DataError, explain
from mmadlib.inspection.verdicts import BAD, GOOD, NOT_COMPARABLE, Thresholds, Verdict
from mmadlib.methods import DISPLAY
from mmadlib.names import plotted
from mmadlib.paths import shown
from mmadlib.report.tables import NOT_RUN

CATEGORIES = 5  # of the rendered data
COLOURS = {GOOD: "#0072b2", BAD: "#d55e00", NOT_COMPARABLE: "#999999"}  # Okabe and Ito (2008)
STEPS = 30  # places of the slider
MARGIN = 0.05  # of the range of scores, beyond the lowest and highest
PARTS = (5, 10, 20, 40)


def table(verdicts: Sequence[Verdict]) -> pd.DataFrame:
    """A row a part, highest score first: verdict, score, p-value, regions, area of the largest in mm2, what shows it, why."""
    rows = []
    for v in sorted(verdicts, key=lambda v: -np.nan_to_num(v.score, nan=np.inf)):
        largest = max((r.area_mm2 for r in v.regions if r.area_mm2 is not None), default=None)
        rows.append({"part": v.part, "verdict": v.verdict, "score": f"{v.score:.4g}",
                     "p": "" if v.p_value is None else f"{v.p_value:.3f}", "regions": len(v.regions),
                     "largest, mm2": "" if largest is None else f"{largest:.0f}", "shown by": v.speaks, "why": v.reason})
    return pd.DataFrame(rows).set_index("part")


def slider(verdicts: Sequence[Verdict], thresholds: Thresholds) -> go.Figure:
    """Scores of all comparable parts with a threshold to move; the title counts what lies above it.

    Its first place is the calibrated threshold; every other one promises nothing, and says so. Raises DataError without a
    comparable part.
    """
    some = sorted((v for v in verdicts if v.verdict != NOT_COMPARABLE), key=lambda v: v.score)
    if not some:
        raise DataError(explain("parts", "none of them can be compared", "look at the reasons in the table"))
    scores = np.array([v.score for v in some])
    stays = np.array([v.holed for v in some])
    wide = MARGIN * (np.ptp(scores) or 1.0)
    places = np.sort(np.append(np.linspace(scores.min() - wide, scores.max() + wide, STEPS), thresholds.image))
    active = int(np.searchsorted(places, thresholds.image))
    steps = [_step(scores, stays, float(at), i == active) for i, at in enumerate(places)]
    restyled, titled = steps[active]["args"]
    marker = {"size": 9, "color": restyled["marker.color"][0]}
    dots = go.Scatter(x=np.arange(1, len(some) + 1), y=scores, mode="markers", text=[plotted(v.part) for v in some],
                      marker=marker, hovertemplate="%{text}: %{y:.4g}<extra></extra>")
    line = go.Scatter(x=[0.5, len(some) + 0.5], y=restyled["y"][1], mode="lines", line={"color": "#333333", "dash": "dot"},
                      hoverinfo="skip")
    fig = go.Figure([dots, line])
    fig.update_layout(
        template="simple_white", width=660, height=400, margin={"l": 60, "r": 20, "t": 50, "b": 40}, showlegend=False,
        title={"text": titled["title.text"], "font": {"size": 14}}, yaxis={"title": {"text": "score"}},
        xaxis={"title": {"text": "parts, by score"}, "range": [0.3, len(some) + 0.7]},
        sliders=[{"active": active, "steps": steps, "currentvalue": {"prefix": "threshold "}, "pad": {"t": 40}}])
    return fig


def _step(scores: Float[np.ndarray, " n"], stays: Bool[np.ndarray, " n"], at: float, calibrated: bool) -> dict[str, Any]:
    """One place of the slider: the colours of the dots, the height of the line, the words above."""
    bad = (scores > at) | stays
    promise = "as calibrated" if calibrated else "moved by hand: promises nothing"
    return {"label": f"{at:.4g}", "method": "update",
            "args": [{"marker.color": [[COLOURS[BAD if b else GOOD] for b in bad], None], "y": [scores.tolist(), [at] * 2]},
                     {"title.text": f"{int(bad.sum())} bad, {int((~bad).sum())} good ({promise})"}]}


def false_alarms(folder: Path) -> pd.DataFrame:
    """What was promised and measured, a row a method, a column a number of good parts, as text.

    A cell is the mean over categories of the share of good parts that were called bad, with the 95 % interval of Student's t
    over the categories, whose draws are averaged first: draws of one category overlap. "not run" where nothing was run, `*`
    where not every category was. Source: false_alarms_<method>.csv of benchmarks/false_alarms.py.
    """
    rows: dict[str, dict[str, str]] = {}
    promised: dict[str, str] = {}
    for path in sorted(Path(folder).glob("false_alarms_*.csv")):
        found = pd.read_csv(path)
        name = DISPLAY.get(path.stem.removeprefix("false_alarms_"), path.stem)
        for parts, some in found.groupby("parts"):
            promised[str(parts)] = f"{some['promised'].iloc[0]:.3f}"
            rows.setdefault(name, {})[str(parts)] = _rate(some)
    columns = [str(parts) for parts in PARTS]
    table = pd.DataFrame({"promised, at most": promised, **rows}).T.reindex(columns=columns)
    return table.fillna(NOT_RUN).rename_axis("method").rename_axis("good parts", axis=1)


def _rate(some: pd.DataFrame) -> str:
    counts = some.groupby("category")[["false_alarms", "of"]].sum()
    rates = (counts["false_alarms"] / counts["of"]).to_numpy()
    if len(rates) < 2:
        return f"{rates.mean():.3f}*"
    half = float(t.ppf(0.975, len(rates) - 1)) * rates.std(ddof=1) / np.sqrt(len(rates))
    low, high = max(0.0, rates.mean() - half), min(1.0, rates.mean() + half)
    return f"{rates.mean():.3f} [{low:.3f}, {high:.3f}]{'' if len(rates) == CATEGORIES else '*'}"


def sizes(file: Path) -> pd.DataFrame:
    """What a finer grid sees and costs, a row a category and size. Source: benchmarks/own_sizes.py. Raises DataError without
    the file."""
    if not Path(file).is_file():
        raise DataError(explain(shown(file), "is missing", "run benchmarks/own_sizes.py"))
    found = pd.read_csv(file)
    found["found and outlined"] = found["found"].astype(str) + " of " + found["defects"].astype(str)
    found["false alarms"] = found["false_alarms"].astype(str) + " of " + found["of_good"].astype(str)
    found["smallest found, mm2"] = [f"{a:.0f} (there: {b:.0f})" for a, b in
                                    zip(found["smallest_mm2"], found["smallest_there_mm2"], strict=True)]
    table = found.rename(columns={"part_s": "a part, s"}).set_index(["category", "size"])
    return table[["a part, s", "found and outlined", "false alarms", "smallest found, mm2"]]
