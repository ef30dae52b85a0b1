"""Smooth random fields: the raw material of textures, relief and ragged outlines."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Float32
from scipy.fft import irfft2, rfft2
from scipy.ndimage import map_coordinates


def field(rng: np.random.Generator, size: int, sx: float, sy: float | None = None) -> Float32[np.ndarray, "{size} {size}"]:
    """Periodic Gaussian noise, zero mean, unit deviation, correlated over sx, sy cells."""
    sy = sx if sy is None else sy
    fy, fx = np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None]
    damp = np.exp(-2 * (np.pi * sy * fy) ** 2) * np.exp(-2 * (np.pi * sx * fx) ** 2)
    damp[0, 0] = 0
    out = irfft2(rfft2(rng.standard_normal((size, size), dtype=np.float32)) * damp.astype(np.float32), s=(size, size))
    return out / out.std()


def unit(v: Float[np.ndarray, "*n 3"]) -> Float[np.ndarray, "*n 3"]:
    """The vectors at length 1."""
    return v / np.sqrt(np.einsum("...i,...i", v, v))[..., None]


def grain(rng: np.random.Generator, size: int, scales: tuple[float, ...]) -> Float32[np.ndarray, "{size} {size}"]:
    """Noise of several octaves in equal parts, unit deviation."""
    out = sum((field(rng, size, s) for s in scales), np.zeros((size, size), np.float32))
    return out / out.std()


def lookup(image: Float[np.ndarray, "N N"], x: Float[np.ndarray, "*at"], y: Float[np.ndarray, "*at"], cell: float,
           wrap: bool = True) -> Float32[np.ndarray, "*at"]:
    """Bilinear value of `image` at points (x, y) in mm; cell mm per pixel, the origin at its centre.

    wrap: repeat the image; otherwise its border value goes on outside.
    """
    half = (image.shape[0] - 1) / 2
    at = np.stack([np.ravel(y) / cell + half, np.ravel(x) / cell + half])
    out = map_coordinates(image, at, order=1, mode="grid-wrap" if wrap else "nearest", prefilter=False)
    return out.reshape(np.shape(x)).astype(np.float32)


def step(d: np.ndarray, width: float) -> np.ndarray:
    """Smooth step from 0 at d <= 0 to 1 at d >= width."""
    t = np.clip(d / width, 0, 1)
    return t * t * (3 - 2 * t)
