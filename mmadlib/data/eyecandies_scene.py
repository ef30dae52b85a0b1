"""Geometry of the Eyecandies scenes: depth to points, the literature's ground rule and its axes. Pure functions of arrays.

Source: eyecan-ai/eyecandies (eyecandies/stages/depth.py) for the camera; nomewang/M3DM (utils/preprocess_eyecandies.py),
also used by CVLAB-Unibo/crossmodal-feature-mapping, for the world points, the ground rule and the axes.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Float64

FOCAL_PX = 711.11
GROUND, FAR, SIDE = 0.02, 1.8, 1.0  # levelled frame: at least above the ground, at most away, at most to the side


def camera_points(depth: Float[np.ndarray, "H W"]) -> Float64[np.ndarray, "H W 3"]:
    """Camera frame, in the unit of depth: x = (u - W/2)/f z, y = (v - H/2)/f z, z forward."""
    height, width = depth.shape
    v, u = np.mgrid[:height, :width]
    return np.stack([(u - width / 2) / FOCAL_PX * depth, (v - height / 2) / FOCAL_PX * depth, depth], -1)


def world_points(depth: Float[np.ndarray, "H W"], pose: Float64[np.ndarray, "4 4"]) -> Float64[np.ndarray, "H W 3"]:
    """Camera points through the inverse of `pose`, as the literature has it."""
    inverse = np.linalg.inv(pose)
    return camera_points(depth) @ inverse[:3, :3].T + inverse[:3, 3]


def above_ground(points: Float[np.ndarray, "H W 3"]) -> Bool[np.ndarray, "H W"]:
    """What the literature keeps of the points.

    The scene is turned about x until the top-centre and the bottom-centre pixel are level; kept is what lies more than
    GROUND above the bottom-centre one (y points down), within FAR of it and within SIDE of x = 0.
    """
    centre = points.shape[1] // 2
    top, bottom = points[0, centre], points[-1, -centre]
    run, rise = top[2] - bottom[2], top[1] - bottom[1]
    length = np.hypot(run, rise)
    cos, sin = (run / length, rise / length) if length > 0 else (1.0, 0.0)
    y, z = points[..., 1] - bottom[1], points[..., 2] - bottom[2]
    return (cos * y - sin * z <= -GROUND) & (sin * y + cos * z <= FAR) & (np.abs(points[..., 0]) <= SIDE)


def literature_axes(points: Float[np.ndarray, "H W 3"]) -> Float64[np.ndarray, "H W 3"]:
    """Axes (x, z, y) times (0.1, -0.1, 0.1), as the literature's converted clouds have them; a tenth of metres."""
    return points[..., [0, 2, 1]] * (0.1, -0.1, 0.1)
