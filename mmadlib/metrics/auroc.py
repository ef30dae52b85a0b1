"""Image AUROC and how far the test images carry it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.stats import rankdata

from mmadlib.checks import check_seed
from mmadlib.errors import MetricUndefined, SettingsError


def _classes(scores: Sequence[float], labels: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Scores (n,) float64 and which of them are anomalous (n,) bool; refuses what has no AUROC."""
    scores, labels = np.asarray(scores, dtype=np.float64), np.asarray(labels)
    if scores.ndim != 1 or scores.shape != labels.shape:
        raise SettingsError(f"scores {scores.shape} and labels {labels.shape} must be two lists of one length")
    if labels.dtype.kind not in "buif" or not np.isin(labels, (0, 1)).all():
        raise SettingsError("labels must be 0 for normal and 1 for anomalous")
    bad = labels > 0
    if bad.all() or not bad.any():
        missing = "normal" if bad.any() else "anomalous"
        raise MetricUndefined(f"no {missing} sample among {len(labels)}: AUROC needs both classes")
    if np.isnan(scores).any():
        raise MetricUndefined(f"image score {np.isnan(scores).argmax()} is NaN: AUROC is undefined")
    return scores, bad


def image_auroc(scores: Sequence[float], labels: Sequence[int]) -> float:
    """P(an anomalous image scores higher than a normal one), a tie counting one half.

    scores (n,), higher is more anomalous; labels (n,), 0 normal, 1 anomalous. Mann-Whitney rank formula. Raises
    MetricUndefined when a class is missing or a score is NaN, SettingsError on other labels.
    """
    scores, bad = _classes(scores, labels)
    positives, negatives = bad.sum(), (~bad).sum()
    rank_sum = rankdata(scores)[bad].sum()
    return float((rank_sum - positives * (positives + 1) / 2) / (positives * negatives))


def bootstrap_auroc(scores: Sequence[float], labels: Sequence[int], n: int = 1000, seed: int = 0,
                    level: float = 0.95) -> tuple[float, float]:
    """Percentile interval (low, high) of the image AUROC under `n` redraws of the images, each class by itself.

    It says how far the test images carry the number, not how training varies. Raises as `image_auroc`.
    """
    scores, bad = _classes(scores, labels)
    rng = np.random.default_rng(check_seed(seed))
    good, anomalous = scores[~bad], scores[bad]
    wins = (np.sign(anomalous[:, None] - good[None]) + 1) / 2  # (P, N): 1 won, 1/2 tie
    # how often each image is drawn; the AUROC of a redraw is then a bilinear form in these counts
    drawn_bad, drawn_good = (rng.multinomial(k, np.full(k, 1 / k), n) for k in wins.shape)
    values = ((drawn_bad @ wins) * drawn_good).sum(1) / wins.size
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
