"""Average precision and the largest F1, per image and per pixel.

A threshold t marks everything with score >= t. With TP defects and FP normal ones among the marked, and m defects in all,

    precision P = TP / (TP + FP)      recall R = TP / m      F1 = 2 P R / (P + R) = 2 TP / (TP + FP + m)

Thresholds are the distinct scores, so equal scores are marked together. Unlike AUROC, both fall where normal ones are many: a
normal image or pixel above the defects costs more, the fewer the defects are. The values are those of scikit-learn:
average_precision_score, and the maximum of F1 over precision_recall_curve.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from jaxtyping import Int64, Shaped
from numpy.typing import ArrayLike

from mmadlib.metrics.aupro import Pixels
from mmadlib.metrics.auroc import classes


def _marked(normal: Shaped[np.ndarray, " n"],
            defect: Shaped[np.ndarray, " m"]) -> tuple[Int64[np.ndarray, " m"], Int64[np.ndarray, " m"]]:
    """TP and FP with the score of each defect as the threshold; `normal` ascends."""
    defect = np.sort(defect)
    return len(defect) - np.searchsorted(defect, defect), len(normal) - np.searchsorted(normal, defect)


def average_precision(normal: Shaped[np.ndarray, " n"], defect: Shaped[np.ndarray, " m"]) -> float:
    """Sum over thresholds of P times the rise of R, which is the mean over defects of P at their own score."""
    true, false = _marked(normal, defect)
    return float((true / (true + false)).mean())


def f1_max(normal: Shaped[np.ndarray, " n"], defect: Shaped[np.ndarray, " m"]) -> float:
    """The largest F1: at the score of a defect, as any threshold between two of them only marks more normal ones."""
    true, false = _marked(normal, defect)
    return float((2 * true / (true + false + len(defect))).max())


def image_ap(scores: ArrayLike, labels: ArrayLike) -> float:
    """Average precision over images; arguments and errors as `image_auroc`."""
    values, bad = classes(scores, labels, "average precision")
    return average_precision(np.sort(values[~bad]), values[bad])


def image_f1_max(scores: ArrayLike, labels: ArrayLike) -> float:
    """The largest F1 over images; arguments and errors as `image_auroc`."""
    values, bad = classes(scores, labels, "F1")
    return f1_max(np.sort(values[~bad]), values[bad])


def pixel_ap(maps: Collection, masks: Collection) -> float:
    """Average precision over all pixels of all images; arguments and errors as `pixel_auroc`."""
    pixels = Pixels.collect(maps, masks)
    return average_precision(pixels.normal, pixels.defect)


def pixel_f1_max(maps: Collection, masks: Collection) -> float:
    """The largest F1 over all pixels of all images; arguments and errors as `pixel_auroc`."""
    pixels = Pixels.collect(maps, masks)
    return f1_max(pixels.normal, pixels.defect)
