"""Tokens: what of a sample's features cannot be recomputed. `compose` puts the fixed operators around it.

Front ends return tokens, the cache stores them, methods see the composed Features.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import isqrt
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Integer
from scipy import sparse

from mmadlib.features.field import FeatureMap, Features
from mmadlib.features.operators import bilinear, masked, pool3


@dataclass(frozen=True, eq=False)
class Patches:
    """Tokens on a square grid over the whole picture; pixels are bilinear in them.

    tokens  g*g of them, row-major
    valid   tokens that may contribute; None: all of them
    """

    tokens: Float32[np.ndarray, "T C"]
    valid: Bool[np.ndarray, " T"] | None = None

    def feature_map(self, points: Bool[np.ndarray, "S S"]) -> FeatureMap:
        """On the pixel grid of `points`, which marks the valid points (not used here)."""
        interp = bilinear(isqrt(len(self.tokens)), len(points))
        interp = interp if self.valid is None else masked(interp, self.valid)
        return FeatureMap(torch.from_numpy(self.tokens), interp, points.shape)


def nothing() -> Patches:
    """What stands for a missing modality: features of width 0 on every pixel."""
    return Patches(np.zeros((1, 0), np.float32))


@dataclass(frozen=True, eq=False)
class Groups:
    """Tokens of groups of points; a valid point blends its three nearest groups, then pixels take a 3x3 mean.

    index, weight  neighbours of the N valid points in row-major order

    The mean counts pixels without a point as zeros and so reaches one or two pixels beyond the object, as published
    (CVLAB-Unibo/crossmodal-feature-mapping models/features.py).
    """

    tokens: Float32[np.ndarray, "T C"]
    index: Integer[np.ndarray, "N 3"]
    weight: Float[np.ndarray, "N 3"]

    def canvas(self, points: Bool[np.ndarray, "H W"]) -> sparse.csr_array:
        """CSR (H*W, T), the blend of each pixel before the mean; `points` marks the N valid ones among them."""
        start = np.concatenate([[0], 3 * np.cumsum(points.ravel())])
        return sparse.csr_array((self.weight.astype(np.float32).ravel(), self.index.astype(np.int32).ravel(), start),
                                shape=(points.size, len(self.tokens)))

    def feature_map(self, points: Bool[np.ndarray, "S S"]) -> FeatureMap:
        """On the pixel grid of `points`, which marks the N valid points."""
        size = len(points)
        interp = pool3(size) @ self.canvas(points)
        interp.eliminate_zeros()
        interp.sort_indices()
        return FeatureMap(torch.from_numpy(self.tokens), interp, points.shape)


@dataclass(frozen=True, eq=False)
class Truth:
    """Ground truth of one sample. `mask` is on the pixel grid of its features, where `vanished` defects of the stored mask
    are not seen (prepare.grid); the rest as in Sample."""

    mask: Bool[np.ndarray, "H W"]
    label: int = 0
    defect: str = "good"
    modality: str = "none"
    path: Path | None = None
    vanished: int = 0


@dataclass(frozen=True, eq=False)
class Tokens:
    """Tokens of both modalities with geometry, truth and the names that go into Features.meta.

    cloud  metres; valid  its points; everything else of the cloud is (0, 0, 0)
    """

    rgb: Patches | Groups
    xyz: Patches | Groups
    cloud: Float32[np.ndarray, "S S 3"]
    valid: Bool[np.ndarray, "S S"]
    truth: Truth
    meta: dict = field(default_factory=dict)


def compose(tokens: Tokens) -> Features:
    """Features of one sample. Truth stays behind.

    Foreground: pixels that both modalities reach, on valid points only; with group tokens it is the published mask
    instead, every pixel that a group reaches. A missing modality reaches all pixels.
    """
    rgb = tokens.rgb.feature_map(tokens.valid)
    shared = _same_patches(tokens.rgb, tokens.xyz)
    xyz = rgb.with_tokens(torch.from_numpy(tokens.xyz.tokens)) if shared else tokens.xyz.feature_map(tokens.valid)
    foreground = rgb.support & xyz.support
    if not isinstance(tokens.xyz, Groups):
        foreground &= tokens.valid
    return Features(rgb, xyz, foreground, tokens.cloud, dict(tokens.meta))


def _same_patches(a: Patches | Groups, b: Patches | Groups) -> bool:
    """Whether two sides share one interpolation, which then is composed once."""
    return (isinstance(a, Patches) and isinstance(b, Patches) and len(a.tokens) == len(b.tokens)
            and a.valid is not None and b.valid is not None and np.array_equal(a.valid, b.valid))
