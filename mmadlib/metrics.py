"""AUROC and AUPRO as the papers report them, and exact.

Names as in the published tables: i_auroc, p_auroc, aupro_30 ... aupro_01 (99 thresholds, as CFM, CMDR-IAD and CFR publish),
aupro_*_exact (all thresholds) and aupro_30_fg (exact, false-positive rate over the object only: on all pixels, a detector
that is blind but silent on the background reads above chance). Notebook 02 derives all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from numbers import Real

import numpy as np
from scipy.stats import rankdata

from mmadlib.aupro import Pixels
from mmadlib.checks import check_seed, whole
from mmadlib.errors import MetricUndefined, SettingsError

LIMITS = {"30": 0.3, "10": 0.1, "05": 0.05, "01": 0.01}  # name in the tables -> FPR limit
PUBLISHED_THRESHOLDS = 99


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


def pixel_auroc(maps: Sequence, masks: Sequence) -> float:
    """AUROC over all pixels of all images, background included (as published; a lenient number).

    maps: (n, H, W) array or tensor, or a list of (H, W) of any sizes, higher is more anomalous; masks alike, > 0 is defect.
    Raises MetricUndefined on NaN, or when defect or defect-free pixels are missing.
    """
    return Pixels.collect(maps, masks).auroc()


def aupro(maps: Sequence, masks: Sequence, limit: float = 0.3, thresholds: int | None = None,
          foreground: Sequence | None = None) -> float:
    """Area under the per-region overlap curve up to FPR `limit`, divided by it.

    maps, masks: as `pixel_auroc`. thresholds: None is exact; 99 or 100 thresholds of equal rank distance as published.
    foreground: as masks; only defect-free pixels inside it count in the FPR. Regions are 8-connected, never across images.
    Raises MetricUndefined as `pixel_auroc`, SettingsError on an impossible limit or number of thresholds.
    """
    if not isinstance(limit, Real) or not 0 < limit <= 1:
        raise SettingsError(f"limit={limit!r}: the false-positive rate ends in (0, 1]")
    if thresholds is not None:
        thresholds = whole("thresholds", thresholds, 2)  # None is the exact curve
    pixels = Pixels.collect(maps, masks, foreground)
    return pixels.exact(limit) if thresholds is None else pixels.published(limit, thresholds)


def evaluate_maps(maps: Sequence, masks: Sequence, image_scores: Sequence[float], labels: Sequence[int],
                  foreground: Sequence | None = None, pixel_maps: Sequence | None = None,
                  reasons: dict[str, str] | None = None) -> dict[str, float]:
    """All metrics of one test set by name: i_auroc, p_auroc, aupro_30 ... aupro_01, the same with _exact, aupro_30_fg.

    foreground: without it there is no aupro_30_fg. pixel_maps: other maps for p_auroc (CFM normalises maps per metric).
    A metric without a value on this set is NaN; why is written into `reasons` {name: text} when a dict is given.
    """
    result: dict[str, float] = {}

    def put(values: Callable[[], dict[str, float]], *names: str) -> None:
        try:
            result.update(values())
        except MetricUndefined as fault:
            result.update(dict.fromkeys(names, float("nan")))
            if reasons is not None:
                reasons.update(dict.fromkeys(names, str(fault)))

    def overlaps() -> dict[str, float]:
        pixels = Pixels.collect(maps, masks)
        own = {"p_auroc": pixels.auroc()} if pixel_maps is None else {}
        return own | {name: pixels.published(limit, PUBLISHED_THRESHOLDS) for name, limit in published.items()} | {
            f"{name}_exact": pixels.exact(limit) for name, limit in published.items()}

    published = {f"aupro_{name}": limit for name, limit in LIMITS.items()}
    put(lambda: {"i_auroc": image_auroc(image_scores, labels)}, "i_auroc")
    if pixel_maps is not None:
        put(lambda: {"p_auroc": pixel_auroc(pixel_maps, masks)}, "p_auroc")
    put(overlaps, *(["p_auroc"] if pixel_maps is None else []), *published, *(f"{name}_exact" for name in published))
    if foreground is not None:
        put(lambda: {"aupro_30_fg": aupro(maps, masks, 0.3, foreground=foreground)}, "aupro_30_fg")
    return result
