"""A part as it is shown: picture, relief and map on one window, and the rings of its regions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, UInt8
from PIL import Image
from scipy.ndimage import maximum_filter

from mmadlib.inspection.colours import Scale, heat
from mmadlib.inspection.outlines import region_pixels, rings, window
from mmadlib.inspection.relief import relief
from mmadlib.inspection.verdicts import Verdict
from mmadlib.sample import Sample

LARGEST = 900  # pixels of the longer side: more is not seen on a screen
DRAWN = 24  # regions that are outlined and listed, the highest first


@dataclass(frozen=True, eq=False)
class View:
    """Three pictures of the same window, h x w, at most LARGEST on a side.

    rings    for each of the first DRAWN regions its closed lines (x, y), in pixels of the view
    window   (top, left, bottom, right) on the scan;   step   pixels of the scan per pixel of the view
    """

    picture: UInt8[np.ndarray, "h w 3"]
    relief: UInt8[np.ndarray, "h w 3"]
    heat: UInt8[np.ndarray, "h w 3"]
    rings: list[list[Float64[np.ndarray, "n 2"]]]
    window: tuple[int, int, int, int]
    step: int


def view(sample: Sample, verdict: Verdict, scale: Scale) -> View:
    """What is shown of a part, cut to it; reduced in whole steps, the map by its maximum so that no peak disappears."""
    top, left, bottom, right = box = window(verdict)
    cut = np.s_[top:bottom, left:right]
    step = -(-max(bottom - top, right - left) // LARGEST)
    every = np.s_[::step, ::step]
    picture, values = sample.rgb[cut], verdict.map[cut]
    if step > 1:
        size = (values[every].shape[1], values[every].shape[0])
        picture = np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BOX))
        low = np.where(np.isfinite(values), values, -np.inf)
        high = maximum_filter(low, step, origin=-(step // 2))[every]  # over the pixels that fall onto one
        values = np.where(np.isfinite(high), high, np.nan).astype(np.float32)
    part = verdict.foreground[cut][every] if verdict.foreground.any() else None  # None: nothing is shown pale
    shaded = relief(sample.xyz[cut][every], sample.valid[cut][every], part)
    lines = [[(ring - (left, top)) / step for ring in rings(region_pixels(verdict, region, scale.threshold))]
             for region in verdict.regions[:DRAWN]]
    return View(np.ascontiguousarray(picture), shaded, heat(values, scale, picture), lines, box, step)

