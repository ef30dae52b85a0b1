"""What methods cost: seconds, milliseconds an image and memory, as the runs behind the tables recorded them."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from mmadlib.report.rows import Row
from mmadlib.report.tables import on_features, select

SHOWN = {"fit_s": "fit, s", "score_ms": "ms an image", "model_mb": "model, MB", "peak_mb": "process, MB"}


def costs(runs: pd.DataFrame, rows: Sequence[Row], features: str | None = None, **where: object) -> pd.DataFrame:
    """Medians over the runs of each row, NaN where nothing was run: row x SHOWN.

    Features are in neither time: they are computed once for all methods. `model` is what is saved; `process` the largest
    memory of a run, Python, libraries and the features of all images included. features: those, or what
    stands for them in a row with inputs of its own (rows.OWN_INPUTS); where: columns of `runs`, e.g. shots=4.
    """
    chosen = select(runs, **where) if features is None else on_features(select(runs, **where), features)
    numbers = chosen[list(SHOWN)].replace("", None).astype(float)  # text in the table
    found = {row.name: numbers[(chosen["method"] == row.method) & (chosen["variant"] == row.variant)].median() for row in rows}
    return pd.DataFrame(found, index=list(SHOWN)).T.rename(columns=SHOWN).rename_axis("method")
