"""The cloud of a part for the page: at most 40,000 points, coordinates in 16 bits, colours by picture, relief and map."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np

from mmadlib.inspection.colours import Scale
from mmadlib.inspection.outlines import window
from mmadlib.inspection.relief import relief
from mmadlib.inspection.verdicts import Verdict
from mmadlib.sample import Sample

MOST = 40_000


def cloud(sample: Sample, verdict: Verdict, scale: Scale) -> dict[str, Any] | None:
    """Points of a part, of the whole scan where no part was found, ready for JSON; None for fewer than three.

    xyz      base64 of uint16 (n, 3), little endian: 0 to 65535 spans the longest side of the box around them
    colours  base64 of uint8 (n, 5): red, green, blue of the picture, grey of the relief, the map on the colour scale
    """
    top, left, bottom, right = window(verdict)
    cut = np.s_[top:bottom, left:right]
    xyz, values = sample.xyz[cut].astype(np.float64), verdict.map[cut]
    part = verdict.foreground[cut] if verdict.foreground.any() else None
    there = np.any(xyz != 0, axis=-1) & sample.valid[cut]
    if part is not None:
        there &= part
    if there.sum() < 3:
        return None
    keep = np.flatnonzero(there)
    step = max(1.0, float(np.sqrt(len(keep) / MOST)))
    rows, columns = (index % step < 1 for index in np.unravel_index(keep, there.shape))  # of a coarser grid
    keep = keep[rows & columns][:MOST]
    grey = relief(sample.xyz[cut], sample.valid[cut], part)[..., 1].ravel()[keep]
    known = np.isfinite(values).ravel()[keep]
    heat = np.where(known, 1 + scale.place(np.nan_to_num(values.ravel()[keep], nan=scale.low)) * 254, 0)  # 0: not looked at
    points = xyz.reshape(-1, 3)[keep]
    low, span = points.min(0), float(np.ptp(points, 0).max()) or 1.0
    packed = np.round((points - low) / span * 65535).astype("<u2")
    colours = np.column_stack([sample.rgb[cut].reshape(-1, 3)[keep], grey, heat.round().astype(np.uint8)])
    return {"n": len(keep), "xyz": _base64(packed), "colours": _base64(colours.astype(np.uint8))}


def _base64(array: np.ndarray) -> str:
    return base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()
