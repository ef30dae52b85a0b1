"""From the scale of one map to that of another, and their fusion.

Source: jayliu0313/Shape-Guided core/features.py (cal_alignment); fusion after core/rgb_sdf_feature.py.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Float32

SIGMAS = 3
PIXEL_FUSIONS = ("max", "sum")
IMAGE_FUSIONS = ("product", "sum")


def interval(values: Float[np.ndarray, " n"]) -> tuple[float, float]:
    """Mean -+ 3 standard deviations of the values that are not zero; (0, 0) where all are."""
    values = np.asarray(values, np.float64)[np.asarray(values) != 0]
    if not len(values):
        return 0.0, 0.0
    mean, half = values.mean(), SIGMAS * values.std()
    return float(mean - half), float(mean + half)


def aligned(sdf: Float[np.ndarray, " n"], rgb: Float[np.ndarray, " m"]) -> tuple[float, float]:
    """a, b that map the interval of normal RGB values onto that of normal SDF values; 1, 0 where one has no width."""
    (low, high), (low2, high2) = interval(sdf), interval(rgb)
    if high <= low or high2 <= low2:
        return 1.0, 0.0
    a = (high - low) / (high2 - low2)
    return a, low - a * low2


def fuse(sdf: Float32[np.ndarray, "H W"], rgb: Float32[np.ndarray, "H W"], inside: Float32[np.ndarray, "H W"], a: float,
         b: float, rule: str = "max") -> Float32[np.ndarray, "H W"]:
    """The larger, or the sum, of the SDF map and the RGB map brought to its scale and clipped at 0, all of them smoothed.

    inside  the smoothed object: b is added to the object, not to the background, which stays 0; for a linear blur this is
            the aligned map, blurred
    """
    scaled = np.maximum(a * rgb + b * inside, 0)
    return (sdf + scaled if rule == "sum" else np.maximum(sdf, scaled)).astype(np.float32)
