"""Tokens: what of a sample's features cannot be recomputed. `compose` puts the fixed operators around it.

Front ends return tokens, the cache stores them, methods see the composed Features.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from math import isqrt
from pathlib import Path

import numpy as np
from scipy import sparse

from mmadlib.features.field import FeatureMap, Features
from mmadlib.features.operators import bilinear, masked, pool3


@dataclass(frozen=True, eq=False)
class Patches:
    """Tokens on a square grid over the whole picture; pixels are bilinear in them.

    tokens  float32 (g*g, C), row-major
    valid   bool (g*g,), tokens that may contribute; None: all of them
    """

    tokens: np.ndarray
    valid: np.ndarray | None = None

    def feature_map(self, points: np.ndarray) -> FeatureMap:
        """On the pixel grid of `points`, bool (S, S) marking the valid points (not used here)."""
        interp = bilinear(isqrt(len(self.tokens)), len(points))
        return FeatureMap(self.tokens, interp if self.valid is None else masked(interp, self.valid), len(points))


def nothing() -> Patches:
    """What stands for a missing modality: features of width 0 on every pixel."""
    return Patches(np.zeros((1, 0), np.float32))


@dataclass(frozen=True, eq=False)
class Groups:
    """Tokens of groups of points; a valid point blends its three nearest groups, then pixels take a 3x3 mean.

    tokens  float32 (T, C)
    index   (N, 3) integer and weight float32 (N, 3): neighbours of the N valid points in row-major order

    The mean counts pixels without a point as zeros and so reaches one or two pixels beyond the object, as published
    (CVLAB-Unibo/crossmodal-feature-mapping models/features.py).
    """

    tokens: np.ndarray
    index: np.ndarray
    weight: np.ndarray

    def canvas(self, points: np.ndarray) -> sparse.csr_array:
        """CSR (P, T), the blend of each of P pixels before the mean; bool `points` marks the N valid ones among them."""
        start = np.concatenate([[0], 3 * np.cumsum(points.ravel())])
        return sparse.csr_array((self.weight.astype(np.float32).ravel(), self.index.astype(np.int32).ravel(), start),
                                shape=(points.size, len(self.tokens)))

    def feature_map(self, points: np.ndarray) -> FeatureMap:
        """On the pixel grid of `points`, bool (S, S) marking the N valid points."""
        size = len(points)
        interp = pool3(size) @ self.canvas(points)
        interp.eliminate_zeros()
        interp.sort_indices()
        return FeatureMap(self.tokens, interp, size)


@dataclass(frozen=True, eq=False)
class Truth:
    """Ground truth of one sample on the pixel grid of its features. `mask` bool (S, S); the rest as in Sample."""

    mask: np.ndarray
    label: int = 0
    defect: str = "good"
    modality: str = "none"
    path: Path | None = None


@dataclass(frozen=True, eq=False)
class Tokens:
    """Tokens of both modalities with geometry, truth and the names that go into Features.meta.

    cloud  float32 (S, S, 3), metres; valid bool (S, S), its points; everything else of the cloud is (0, 0, 0)
    """

    rgb: Patches | Groups
    xyz: Patches | Groups
    cloud: np.ndarray
    valid: np.ndarray
    truth: Truth
    meta: dict = field(default_factory=dict)


def compose(tokens: Tokens) -> Features:
    """Features of one sample. Truth stays behind.

    Foreground: pixels that both modalities reach, on valid points only; with group tokens it is the published mask
    instead, every pixel that a group reaches. A missing modality reaches all pixels.
    """
    rgb = tokens.rgb.feature_map(tokens.valid)
    shared = _same_patches(tokens.rgb, tokens.xyz)
    xyz = replace(rgb, tokens=tokens.xyz.tokens) if shared else tokens.xyz.feature_map(tokens.valid)
    foreground = rgb.support & xyz.support
    if not isinstance(tokens.xyz, Groups):
        foreground &= tokens.valid
    return Features(rgb, xyz, foreground, tokens.cloud, dict(tokens.meta))


def _same_patches(a: Patches | Groups, b: Patches | Groups) -> bool:
    """Whether two sides share one interpolation, which then is composed once."""
    both = isinstance(a, Patches) and isinstance(b, Patches) and len(a.tokens) == len(b.tokens)
    return both and a.valid is not None and b.valid is not None and np.array_equal(a.valid, b.valid)
