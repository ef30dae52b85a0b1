"""How a stereo_pothole frame becomes tiles: label colours, robust height, pseudo-metric cloud, where tiles lie."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Float32, Float64, Real

from mmadlib.data.images import read_pixels
from mmadlib.errors import DataError, explain


@dataclass(frozen=True)
class Rules:
    """How tiles are cut; written into the manifest."""

    width: int = 576  # every frame is first brought to this width
    tile: int = 168  # pixels: 3 x 2 tiles, nearly the full height of a frame
    margin: int = 12  # a normal tile stays this far from the label: 2 of the tile's 28 x 28 feature cells
    share: float = 0.01  # an anomalous tile holds at least this share of pothole; tiles in between are left out
    clip: float = 12.0  # robust deviations
    distance: float = 1.0  # metres from the camera to the road
    pitch: float = 0.001  # metres per pixel, and per robust deviation of height


def read_label(path: Path) -> Bool[np.ndarray, "H W"]:
    """Where the pothole is: red 153 of the colour labels or 255 of gray ones. Raises DataError on anything else.

    A luminance conversion would give 46 and a threshold of one half an empty mask.
    """
    pixels = read_pixels(path)
    level = pixels[..., 0] if pixels.ndim == 3 else pixels
    documented = np.isin(level, (0, 153, 255)).all() and (pixels.ndim == 2 or not pixels[..., 1:3].any())
    if not documented:
        raise DataError(explain(path, "has other values than (0, 0, 0) and (153, 0, 0), or 0 and 255", "copy the file again"))
    return level > 0


def height_score(disparity: Real[np.ndarray, "*shape"], clip: float = 12.0) -> Float64[np.ndarray, "*shape"]:
    """Robust score (d - median) / (1.4826 MAD) over valid pixels (d > 0), clipped; 0 where invalid.

    Does not change with gain and offset of the disparity, which differ from frame to frame.
    """
    valid = disparity > 0
    values = disparity[valid].astype(np.float64)
    median = np.median(values) if values.size else 0.0
    spread = 1.4826 * np.median(np.abs(values - median)) if values.size else 1.0
    return np.where(valid, np.clip((disparity - median) / max(spread, 1e-9), -clip, clip), 0.0)


def cloud(score: Float[np.ndarray, "H W"], valid: Bool[np.ndarray, "H W"], rules: Rules) -> Float32[np.ndarray, "H W 3"]:
    """Pseudo-metric cloud of one tile: low disparity is far. No valid point has a zero coordinate."""
    rows, columns = np.mgrid[1 : score.shape[0] + 1, 1 : score.shape[1] + 1]
    xyz = np.stack([columns * rules.pitch, rows * rules.pitch, rules.distance - score * rules.pitch], -1)
    return np.where(valid[..., None], xyz, 0).astype(np.float32)


def tile_corners(height: int, width: int, tile: int) -> list[tuple[int, int]]:
    """(top, left) of the tiles of a centred grid without overlap, row by row."""
    starts = [(length % tile) // 2 + np.arange(length // tile) * tile for length in (height, width)]
    return [(int(top), int(left)) for top in starts[0] for left in starts[1]]
