"""Masked Gaussian windows on the token grid: what both kinds of descriptors are sums over.

A descriptor is a statistic of the pixels around a token's centre, weighted by a Gaussian and by the object mask. The
Gaussian is separable, so a sum over all windows is two small matrix products, at any picture size; pixels off the object
have weight zero (normalised convolution, Knutsson & Westin, CVPR 1993), so neither background nor scan holes bleed in.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float64

from mmadlib.features.descriptors.mask import GRID

REACH = 4.0  # windows end at this many sigmas


def windows(size: int, sigma: float, powers: int = 0) -> Float64[np.ndarray, "{powers}+1 56 {size}"]:
    """Separable window weights of GRID tokens a side: g(t) t^p, t = (pixel - token centre) / sigma, sigma in px."""
    centre = (np.arange(GRID) + 0.5) * size / GRID
    t = (np.arange(size) + 0.5 - centre[:, None]) / sigma
    weight = np.where(np.abs(t) <= REACH, np.exp(-0.5 * t**2), 0.0)
    return np.stack([weight * t**p for p in range(powers + 1)])


def window_sums(images: Float64[np.ndarray, "n S S"], window: Float64[np.ndarray, "56 S"]) -> Float64[np.ndarray, "56*56 n"]:
    """Weighted sums of images around every token."""
    return (window @ images @ window.T).reshape(len(images), -1).T
