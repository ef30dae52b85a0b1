"""The fixed linear operators between a token grid and pixels, as sparse matrices.

All of them are separable: a one-dimensional matrix A gives the image operator A (x) A for row-major pixels.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from scipy import sparse


def _separable(line: np.ndarray) -> sparse.csr_array:
    """Kronecker square of a one-dimensional operator (n, m): CSR (n*n, m*m), float32, sorted columns."""
    one = sparse.csr_array(line)
    both = sparse.kron(one, one, format="csr").astype(np.float32)
    both.sort_indices()
    return both


@lru_cache(maxsize=8)
def bilinear(grid: int, size: int) -> sparse.csr_array:
    """Bilinear resize of a (grid, grid) token map to (size, size) pixels: CSR (size*size, grid*grid), float32.

    Half-pixel centres without corner alignment, edges replicated: torch's interpolate(align_corners=False).
    """
    centre = np.clip((np.arange(size) + 0.5) * (grid / size) - 0.5, 0, grid - 1)
    low = np.floor(centre).astype(int)
    high = np.minimum(low + 1, grid - 1)
    line = np.zeros((size, grid))
    np.add.at(line, (np.arange(size), low), 1 - (centre - low))
    np.add.at(line, (np.arange(size), high), centre - low)
    return _separable(line)


@lru_cache(maxsize=4)
def pool3(size: int) -> sparse.csr_array:
    """3x3 mean without padding to size-2, then adaptive mean back to size: CSR (size*size, size*size), float32.

    Source: CVLAB-Unibo/crossmodal-feature-mapping models/features.py (average pool, then adaptive average pool).
    """
    inner = size - 2
    if inner < 1:
        raise ValueError(f"a 3x3 mean without padding needs at least 3x3 pixels, not {size}x{size}")
    box = sum(np.eye(inner, size, k) for k in range(3)) / 3
    rows = np.arange(size)
    start, stop = rows * inner // size, -(-(rows + 1) * inner // size)
    column = np.arange(inner)
    adapt = ((column >= start[:, None]) & (column < stop[:, None])) / (stop - start)[:, None]
    return _separable(adapt @ box)


def masked(interp: sparse.csr_array, tokens_valid: np.ndarray) -> sparse.csr_array:
    """`interp` (P, T) without the tokens that are invalid (bool (T,)), rows renormalised to sum 1.

    Keeps background tokens from bleeding into object pixels. A row without a valid token stays empty.
    """
    tokens_valid = np.asarray(tokens_valid, dtype=bool)
    if tokens_valid.shape != (interp.shape[1],):
        raise ValueError(f"tokens_valid {tokens_valid.shape} must be ({interp.shape[1]},)")
    keep = tokens_valid[interp.indices]
    row = np.repeat(np.arange(interp.shape[0]), np.diff(interp.indptr))[keep]
    weight = interp.data[keep].astype(np.float64)
    total = np.bincount(row, weights=weight, minlength=interp.shape[0])
    start = np.concatenate([[0], np.cumsum(np.bincount(row, minlength=interp.shape[0]))])
    return sparse.csr_array(((weight / total[row]).astype(np.float32), interp.indices[keep], start), shape=interp.shape)
