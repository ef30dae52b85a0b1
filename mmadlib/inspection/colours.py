"""One colour scale for the maps of all parts of a report, with the threshold at a fixed place on it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from jaxtyping import Float32, UInt8

from mmadlib.inspection.verdicts import Thresholds, Verdict

INK, PAPER, QUIET, LINE = (29, 39, 51), (255, 255, 255), (92, 105, 120), (221, 226, 232)
BADGE = {"good": (31, 111, 92), "bad": (179, 58, 31), "not comparable": (111, 91, 19)}  # readable behind white letters
OUTLINE, CASING = (64, 224, 255), (10, 20, 30)  # on pictures, and on inferno, which has no cyan
MANY = 2000  # pixels a part that the scale is chosen from


@dataclass(frozen=True)
class Scale:
    """low and high end of the colours; values beyond are shown as the ends. threshold is NaN where there is none."""

    low: float
    high: float
    threshold: float

    def place(self, values: np.ndarray | float) -> np.ndarray:
        """Where on the scale values lie, 0 to 1; NaN stays NaN."""
        return np.clip((np.asarray(values, np.float64) - self.low) / (self.high - self.low), 0, 1)


def scale_of(verdicts: Sequence[Verdict], thresholds: Thresholds) -> Scale:
    """The scale for these parts: from what is usual to the highest peaks, the threshold between 1/3 and 2/3 of the way up."""
    values = [v.map[np.isfinite(v.map)] for v in verdicts]
    values = [v[:: max(1, len(v) // MANY)] for v in values if v.size]
    low = float(np.percentile(np.concatenate(values), 1)) if values else 0.0
    peaks = [float(np.nanmax(v.map)) for v in verdicts if np.isfinite(v.map).any()]
    high, threshold = max(peaks, default=1.0), float(thresholds.pixel)
    if math.isfinite(threshold):
        low = min(low, threshold)
        span = threshold - low or abs(threshold) or 1.0
        low, high = threshold - span, threshold + float(np.clip(high - threshold, span / 2, span * 2))
    return Scale(low, high if high > low else low + 1.0, threshold)


@cache
def palette() -> UInt8[np.ndarray, "256 3"]:
    """Inferno: perceptually uniform, from black by red to pale yellow; readable by colour-blind people and in grey."""
    from matplotlib import colormaps  # here, because it takes a moment and only pictures need it

    return np.ascontiguousarray(colormaps["inferno"](np.arange(256), bytes=True)[:, :3])


def heat(values: Float32[np.ndarray, "H W"], scale: Scale, outside: UInt8[np.ndarray, "H W 3"]) -> UInt8[np.ndarray, "H W 3"]:
    """A map in colours; where it is NaN, the picture shows through, washed out."""
    known = np.isfinite(values)
    levels = (np.where(known, scale.place(np.where(known, values, scale.low)), 0) * 255).round().astype(np.uint8)
    grey = (outside @ np.array([0.3, 0.59, 0.11]) * 0.22 + 190).astype(np.uint8)
    return np.where(known[..., None], palette()[levels], grey[..., None])
