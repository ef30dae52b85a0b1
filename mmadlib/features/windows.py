"""Masked Gaussian windows on the token grid: what both kinds of descriptors are sums over.

A descriptor is a statistic of the pixels around a token's centre, weighted by a Gaussian and by the object mask. The
Gaussian is separable, so a sum over all windows is two small matrix products, at any picture size; pixels off the object
have weight zero (normalised convolution, Knutsson & Westin, CVPR 1993), so neither background nor scan holes bleed in.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

GRID = 56  # tokens a side: 4 px of a 224 px picture
CLOSING = 2  # px, gaps at the silhouette that are bridged
HOLE_SHARE = 1 / 400  # of the frame: larger holes are real ones (a bagel's, a gear's)
COVER = 0.25  # share of a token's cell that the object must cover
REACH = 4.0  # windows end at this many sigmas


def object_mask(valid: np.ndarray) -> np.ndarray:
    """Pixels (S, S) bool of the object without the outermost one, scan holes filled.

    Missing returns must not change which picture pixels are looked at, or the cloud would leak into RGB descriptors: gaps
    up to twice `CLOSING` px and holes up to `HOLE_SHARE` of the frame are filled. The rim pixel mixes object and
    background, so it is dropped, but not at the border of the frame.
    """
    cross = ndimage.generate_binary_structure(2, 1)
    closed = ndimage.binary_closing(np.pad(valid, CLOSING), cross, CLOSING)[CLOSING:-CLOSING, CLOSING:-CLOSING]
    holes, _ = ndimage.label(~closed)
    small = np.bincount(holes.ravel()) <= HOLE_SHARE * valid.size
    small[0] = True  # label 0 is the object itself
    return ndimage.binary_erosion(small[holes], cross, border_value=True)


def token_cover(mask: np.ndarray) -> np.ndarray:
    """Share of each token's cell that `mask` (S, S) covers, float64 (GRID * GRID,); any S."""
    size = len(mask)
    edges = np.arange(GRID + 1) * size / GRID
    pixel = np.arange(size)
    overlap = np.minimum(edges[1:, None], pixel + 1) - np.maximum(edges[:-1, None], pixel)
    cells = overlap.clip(0) * GRID / size
    return (cells @ mask @ cells.T).ravel()


def tokens_on(mask: np.ndarray) -> np.ndarray:
    """bool (GRID * GRID,): tokens of which the object `mask` (S, S) covers a quarter or more."""
    return token_cover(mask) >= COVER - 1e-9


def windows(size: int, sigma: float, powers: int = 0) -> np.ndarray:
    """Separable window weights (powers + 1, GRID, size) float64: g(t) t^p, t = (pixel - token centre) / sigma, sigma in px."""
    centre = (np.arange(GRID) + 0.5) * size / GRID
    t = (np.arange(size) + 0.5 - centre[:, None]) / sigma
    weight = np.where(np.abs(t) <= REACH, np.exp(-0.5 * t**2), 0.0)
    return np.stack([weight * t**p for p in range(powers + 1)])


def window_sums(images: np.ndarray, window: np.ndarray) -> np.ndarray:
    """Weighted sums of images (n, S, S) around every token, (GRID * GRID, n); window (GRID, S)."""
    return (window @ images @ window.T).reshape(len(images), -1).T
