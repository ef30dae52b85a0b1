"""Where regions lie on a part, as pixels and as rings to draw; and the window of a scan that is worth showing."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Bool, Float64
from scipy.ndimage import label

from mmadlib.inspection.verdicts import Region, Verdict

EIGHT = np.ones((3, 3), bool)  # pixels that touch at a corner hang together
MARGIN = 0.12  # of the part's size, around it


def region_pixels(verdict: Verdict, region: Region, threshold: float) -> Bool[np.ndarray, "H W"]:
    """The pixels above the threshold that hang together with the peak of a region; its box where that cannot be told."""
    top, left, bottom, right = region.box
    found = np.zeros(verdict.map.shape, bool)
    inside = verdict.map[top:bottom, left:right] > threshold if math.isfinite(threshold) else np.zeros((0, 0), bool)
    row, column = region.peak_at[0] - top, region.peak_at[1] - left
    if 0 <= row < inside.shape[0] and 0 <= column < inside.shape[1] and inside[row, column]:
        numbers, _ = label(inside, EIGHT)
        found[top:bottom, left:right] = numbers == numbers[row, column]
    else:
        found[top:bottom, left:right] = True
    return found


def rings(pixels: Bool[np.ndarray, "H W"], tolerance: float = 0.4) -> list[Float64[np.ndarray, "n 2"]]:
    """Closed lines (x, y) around a set of pixels, between its pixels and the others; pixel (0, 0) covers 0 to 1."""
    from skimage.measure import approximate_polygon, find_contours  # here, because it takes a moment

    rows, columns = np.flatnonzero(pixels.any(1)), np.flatnonzero(pixels.any(0))
    if not len(rows):
        return []
    cut = np.pad(pixels[rows[0]:rows[-1] + 1, columns[0]:columns[-1] + 1], 1)
    start = np.array([columns[0], rows[0]]) - 0.5  # of the padded cut, to the middle of its first pixel
    return [approximate_polygon(line, tolerance)[:, ::-1] + start for line in find_contours(cut.astype(np.float32), 0.5)]


def window(verdict: Verdict) -> tuple[int, int, int, int]:
    """(top, left, bottom, right): the part and its regions with a margin; the whole scan where no part was found."""
    height, width = verdict.map.shape
    shown = verdict.foreground.copy()
    for region in verdict.regions:
        shown[region.box[0]:region.box[2], region.box[1]:region.box[3]] = True
    if not shown.any():
        return 0, 0, height, width
    (top, bottom), (left, right) = ((found[0], found[-1] + 1) for found in map(np.flatnonzero, (shown.any(1), shown.any(0))))
    margin = round(MARGIN * max(bottom - top, right - left)) + 2
    return (max(int(top) - margin, 0), max(int(left) - margin, 0), min(int(bottom) + margin, height),
            min(int(right) + margin, width))
