"""From the square grid of the features back to the pixels of the scan: the inverse of mmadlib.prepare.to_grid."""

from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import Bool, Float32

from mmadlib.methods import Scores
from mmadlib.prepare.grid import square_margins


def to_scan(values: Float32[np.ndarray, "S S"], size: tuple[int, int], pad: str = "edge") -> Float32[np.ndarray, "H W"]:
    """A map on the grid as one on the scan (H, W): bilinear to the padded square, its margins cropped; squashed again for
    pad "none", where there were no margins."""
    height, width = size
    if pad == "none":
        return cv2.resize(values, (width, height), interpolation=cv2.INTER_LINEAR)
    side = max(size)
    (top, _), (left, _) = square_margins(height, width)
    square = cv2.resize(values, (side, side), interpolation=cv2.INTER_LINEAR)
    return np.ascontiguousarray(square[top:top + height, left:left + width])


def map_of(scores: Scores, outline: Bool[np.ndarray, "H W"], pad: str) -> Float32[np.ndarray, "H W"]:
    """The map of a part on its scan, NaN outside the part."""
    return np.where(outline, to_scan(np.asarray(scores.map, np.float32), outline.shape, pad), np.float32(np.nan))


def parts_of(scores: Scores, size: tuple[int, int], pad: str) -> dict[str, Float32[np.ndarray, "H W"]]:
    """A method's parts on the scan."""
    return {name: to_scan(np.asarray(part, np.float32), size, pad) for name, part in scores.parts.items()}


def peak_of(amap: Float32[np.ndarray, "H W"], outline: Bool[np.ndarray, "H W"]) -> float:
    """The largest value on the part."""
    return float(amap[outline].max())
