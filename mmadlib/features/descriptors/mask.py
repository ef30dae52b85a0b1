"""Which tokens lie on the object: its mask without the rim, scan holes filled, on the token grid of the descriptors."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float64
from scipy import ndimage

if TYPE_CHECKING:
    from mmadlib.prepare.grid import Grid

GRID = 56  # tokens a side: 4 px of a 224 px picture
CLOSING = 2  # px, gaps at the silhouette that are bridged
HOLE_SHARE = 1 / 400  # of the frame: larger holes are real ones (a bagel's, a gear's)
COVER = 0.25  # share of a token's cell that the object must cover


def object_mask(valid: Bool[np.ndarray, "S S"]) -> Bool[np.ndarray, "S S"]:
    """Pixels of the object without the outermost one, scan holes filled.

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


def token_cover(mask: Bool[np.ndarray, "S S"], side: int = GRID) -> Float64[np.ndarray, " T"]:
    """Share of each token's cell that `mask` covers, T = side**2 of them; any S."""
    size = len(mask)
    edges = np.arange(side + 1) * size / side
    pixel = np.arange(size)
    overlap = np.minimum(edges[1:, None], pixel + 1) - np.maximum(edges[:-1, None], pixel)
    cells = overlap.clip(0) * side / size
    return (cells @ mask @ cells.T).ravel()


def tokens_on(mask: Bool[np.ndarray, "S S"], side: int = GRID) -> Bool[np.ndarray, " T"]:
    """Tokens of which the object `mask` covers a quarter or more."""
    return token_cover(mask, side) >= COVER - 1e-9


def token_mask(grid: Grid, side: int = GRID) -> Bool[np.ndarray, " T"]:
    """Tokens on the object, the same for both modalities."""
    return tokens_on(object_mask(grid.valid), side)
