"""The depth sensor: structured light from a projector beside the camera."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Float32
from scipy.ndimage import gaussian_filter, maximum_filter, minimum_filter

from mmadlib.render.scene import CENTRE, FOCUS, PIXEL, SIZE, Scene, directions

BASELINE = 110.0  # mm from camera to projector, along x
NOISE = 0.07  # mm at 500 mm, facing the camera
DISPARITY_STEP = 1 / 36  # pixels; 0.08 mm of depth at 500 mm
GRAZING = 0.38  # cosine to the camera below which returns begin to fail; 0.12 lower none is left
SPECKLE = 0.0015  # share of returns lost anywhere
JUMP = 2.5  # mm of depth between neighbours that decoding does not survive
STORED_STEP = 2.0**-17  # metres; rounding that the file keeps, 8 micrometres


def dropouts(scene: Scene, depth: Float[np.ndarray, "H W"], points: Float[np.ndarray, "H W 3"],
             normals: Float[np.ndarray, "H W 3"], rng: np.random.Generator) -> Bool[np.ndarray, "H W"]:
    """Where nothing returns. Hidden from the projector, at depth jumps, at grazing angles, and a few at random."""
    camera = scene.pose.camera
    projector = camera[:, 3] + BASELINE * camera[:, 0]
    towards = projector - points
    hidden = scene.blocked(points, towards, far=0.999) | ((normals * towards).sum(-1) <= 0)
    jump = maximum_filter(depth, 3) - minimum_filter(depth, 3) > JUMP
    grazing = (GRAZING - facing(scene, points, normals)) / 0.12
    luck = rng.random(depth.shape, dtype=np.float32)
    return hidden | (luck < np.maximum(grazing, np.where(jump, 0.75, SPECKLE)))


def facing(scene: Scene, points: Float[np.ndarray, "H W 3"], normals: Float[np.ndarray, "H W 3"]) -> Float[np.ndarray, "H W"]:
    """Cosine between surface normal and the way to the camera."""
    to_eye = scene.pose.camera[:, 3] - points
    return np.abs((normals * to_eye).sum(-1)) / np.sqrt(np.einsum("...i,...i", to_eye, to_eye))


def noise(depth: Float[np.ndarray, "H W"], cosine: Float[np.ndarray, "H W"],
          rng: np.random.Generator) -> Float[np.ndarray, "H W"]:
    """Depth error, mm: grows with the square of depth and with 1 / cosine; partly shared by neighbours."""
    white = rng.standard_normal((2, SIZE, SIZE), dtype=np.float32)
    shared = gaussian_filter(white[1], 1.2) * 4.25  # unit deviation again after the blur
    sigma = NOISE * (depth / 500) ** 2 / np.maximum(cosine, 0.2)
    return sigma * (0.8 * white[0] + 0.6 * shared)


def cloud(depth: Float[np.ndarray, "H W"], error: Float[np.ndarray, "H W"],
          missing: Bool[np.ndarray, "H W"]) -> Float32[np.ndarray, "H W 3"]:
    """Measured points, metres, camera frame; missing returns are (0, 0, 0).

    The measured depth lies on the grid of disparity steps; all coordinates are multiples of STORED_STEP, which float32 holds
    exactly and which halves the file.
    """
    gain = FOCUS / PIXEL * BASELINE / DISPARITY_STEP
    z = gain / np.round(gain / (depth + error))
    xyz = np.round(directions() * (z[..., None] / 1000 / STORED_STEP)) * STORED_STEP
    return np.where(missing[..., None], 0, xyz).astype(np.float32)


def camera_parameters() -> dict[str, float | int | str]:
    """The calibration in the fields of MVTec 3D-AD: focus in m, sx and sy in m per pixel, cx and cy in pixels."""
    return {"camera_type": "area_scan_division", "focus": FOCUS, "kappa": 0.0, "sx": PIXEL, "sy": PIXEL,
            "cx": CENTRE[0], "cy": CENTRE[1], "image_width": SIZE, "image_height": SIZE}
