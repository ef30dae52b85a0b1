"""RGB descriptors: colour statistics in CIE Lab and oriented gradients, 26 numbers a token, no weights.

Per token and scale: mean and deviation of L*, a*, b* (CIE 1976) over a Gaussian window, 3 scales; gradient of L* in four
unsigned orientations (histograms of oriented gradients, Dalal & Triggs, CVPR 2005), 2 scales. Bins are shared linearly and
compressed by log(1 + v) instead of normalised by blocks: a change of contrast is a defect, too, but the strong edges of a
normal part must not drown it. Windows are small for the same reason: what lies around differs from part to part. Only
object pixels enter.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float32
from scipy.ndimage import gaussian_filter
from skimage.color import rgb2lab

from mmadlib.features.descriptors.mask import GRID, object_mask, tokens_on
from mmadlib.features.descriptors.windows import window_sums, windows

if TYPE_CHECKING:
    from mmadlib.prepare.grid import Grid

# radii as shares of the picture's side; 1/56 is one token, 4 px of 224
COLOUR_SCALES = (0.25 / GRID, 0.5 / GRID, 1 / GRID)
GRADIENT_SCALES = (0.25 / GRID, 0.5 / GRID)  # the histogram's window is twice as wide
BINS = 4

RGB_CHANNELS = tuple(
    [f"{stat}_{c}_{i}" for i in range(len(COLOUR_SCALES)) for stat in ("mean", "std") for c in "Lab"]
    + [f"gradient_{180 // BINS * b}_{i}" for i in range(len(GRADIENT_SCALES)) for b in range(BINS)]
)


def rgb_descriptors(grid: Grid) -> Float32[np.ndarray, "56*56 26"]:
    """Descriptors of a loaded sample, raw; channels in `RGB_CHANNELS`.

    The cloud enters only through the object mask; tokens off the object are zero.
    """
    mask = object_mask(grid.valid)
    on = tokens_on(mask)
    out = np.zeros((GRID * GRID, len(RGB_CHANNELS)), np.float32)
    if on.any():
        lab = np.zeros((3, *mask.shape))
        lab[:, mask] = rgb2lab(grid.rgb[mask]).T
        out[on] = np.concatenate([_colour(lab, mask, on), _gradients(lab[0], mask, on)], axis=1)
    return out


def _colour(lab: np.ndarray, mask: np.ndarray, on: np.ndarray) -> np.ndarray:
    """Mean and deviation of Lab (3, S, S) at three scales, (n, 18)."""
    centre = lab[:, mask].mean(1)
    centred = (lab - centre[:, None, None]) * mask  # centred first: a variance is a difference of large numbers
    stack = np.concatenate([mask[None], centred, centred**2])
    parts = []
    for scale in COLOUR_SCALES:
        sums = window_sums(stack, windows(len(mask), scale * len(mask))[0])[on]
        mean, square = np.split(sums[:, 1:] / sums[:, :1], 2, axis=1)
        parts += [mean + centre, np.sqrt((square - mean**2).clip(0))]
    return np.concatenate(parts, axis=1)


def _gradients(light: np.ndarray, mask: np.ndarray, on: np.ndarray) -> np.ndarray:
    """Oriented gradients of L* (S, S) at two scales, log(1 + L* per scale length), (n, 8)."""
    parts = []
    for scale in GRADIENT_SCALES:
        sigma = scale * len(mask)
        gy, gx = _masked_gradient(light, mask, sigma)
        turn = np.arctan2(gy, gx) / np.pi * BINS
        away = np.abs((turn - np.arange(BINS)[:, None, None] + BINS / 2) % BINS - BINS / 2)
        votes = (1 - away).clip(0) * np.hypot(gx, gy) * sigma
        sums = window_sums(np.concatenate([mask[None], votes * mask]), windows(len(mask), 2 * sigma)[0])[on]
        parts.append(np.log1p(sums[:, 1:] / sums[:, :1]))
    return np.concatenate(parts, axis=1)


def _masked_gradient(value: np.ndarray, mask: np.ndarray, sigma: float) -> tuple[np.ndarray, np.ndarray]:
    """Derivatives (d/drow, d/dcolumn) of the masked Gaussian mean of value (S, S): a constant has none, at the rim either."""
    weight = mask.astype(np.float64)
    value = (value - value[mask].mean()) * weight
    norm = np.maximum(gaussian_filter(weight, sigma), 1e-6)
    mean = gaussian_filter(value, sigma) / norm
    slope = [(gaussian_filter(value, sigma, order) - mean * gaussian_filter(weight, sigma, order)) / norm
             for order in ((1, 0), (0, 1))]
    return slope[0], slope[1]
