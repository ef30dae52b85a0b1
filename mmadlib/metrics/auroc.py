"""Image AUROC and how far the test images carry it."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float64
from numpy.typing import ArrayLike
from scipy.stats import rankdata

from mmadlib.checks import check_seed
from mmadlib.errors import MetricUndefined, SettingsError
from mmadlib.metrics.arrays import as_array


def classes(scores: ArrayLike, labels: ArrayLike,
            metric: str = "AUROC") -> tuple[Float64[np.ndarray, " n"], Bool[np.ndarray, " n"]]:
    """The scores and which of them are anomalous; refuses what has no value of the metric."""
    values, kinds = as_array(scores, "scores").astype(np.float64), as_array(labels, "labels")
    if values.ndim != 1 or values.shape != kinds.shape:
        raise SettingsError(f"scores {values.shape} and labels {kinds.shape} must be two lists of one length")
    if not np.isin(kinds, (0, 1)).all():
        raise SettingsError("labels must be 0 for normal and 1 for anomalous")
    bad = kinds > 0
    if bad.all() or not bad.any():
        missing = "normal" if bad.any() else "anomalous"
        raise MetricUndefined(f"no {missing} sample among {len(kinds)}: {metric} needs both classes")
    if np.isnan(values).any():
        raise MetricUndefined(f"image score {np.isnan(values).argmax()} is NaN: {metric} is undefined")
    return values, bad


def image_auroc(scores: ArrayLike, labels: ArrayLike) -> float:
    """P(an anomalous image scores higher than a normal one), a tie counting one half.

    scores (n,), higher is more anomalous; labels (n,), 0 normal, 1 anomalous. Mann-Whitney rank formula. Raises
    MetricUndefined when a class is missing or a score is NaN, SettingsError on other labels.
    """
    values, bad = classes(scores, labels)
    positives, negatives = bad.sum(), (~bad).sum()
    rank_sum = rankdata(values)[bad].sum()
    return float((rank_sum - positives * (positives + 1) / 2) / (positives * negatives))


def bootstrap_auroc(scores: ArrayLike, labels: ArrayLike, n: int = 1000, seed: int = 0,
                    level: float = 0.95) -> tuple[float, float]:
    """Percentile interval (low, high) of the image AUROC under `n` redraws of the images, each class by itself.

    It says how far the test images carry the number, not how training varies. Raises as `image_auroc`.
    """
    values, bad = classes(scores, labels)
    rng = np.random.default_rng(check_seed(seed))
    good, anomalous = values[~bad], values[bad]
    wins = (np.sign(anomalous[:, None] - good[None]) + 1) / 2  # (P, N): 1 won, 1/2 tie
    # how often each image is drawn; the AUROC of a redraw is then a bilinear form in these counts
    drawn_bad, drawn_good = (rng.multinomial(k, np.full(k, 1 / k), n) for k in wins.shape)
    redrawn = ((drawn_bad @ wins) * drawn_good).sum(1) / wins.size
    low, high = np.quantile(redrawn, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
