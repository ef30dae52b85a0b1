"""An organised cloud as a picture: shaded as if lit from the upper left, places without a point hatched."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float32, UInt8
from scipy.ndimage import distance_transform_edt, gaussian_filter

LIGHT = np.array([-0.5, -0.6, -0.62]) / np.linalg.norm([0.5, 0.6, 0.62])  # from where the light comes: left, up, the camera
STEEP = 0.4  # tangent that the steeper slopes of a part are shown at; flat parts are exaggerated, up to STRONGEST
STRONGEST = 4.0
EMPTY, HATCH, HOLE = (222, 226, 231), (203, 209, 216), (214, 125, 44)  # no point; its hatching; hatching within the part


def relief(xyz: Float32[np.ndarray, "H W 3"], valid: Bool[np.ndarray, "H W"] | None = None,
           part: Bool[np.ndarray, "H W"] | None = None) -> UInt8[np.ndarray, "H W 3"]:
    """Shaded relief of a cloud in any unit; what lies outside `part` is paler, missing points inside it are hatched in orange.

    valid  pixels that have a point; by default those that are not (0, 0, 0)
    part   what strength and contrast are chosen for; by default all valid pixels
    """
    there = np.any(xyz != 0, axis=-1)
    if valid is not None:
        there = np.logical_and(there, valid)
    inside = there if part is None else part
    holes = np.zeros_like(there) if part is None else part & ~there
    if there.sum() < 9:
        return _hatched(np.full((*there.shape, 3), EMPTY, np.uint8), there, holes)
    normal = _normals(_smooth(xyz, there))
    look = inside & there if (inside & there).sum() >= 9 else there
    middle = np.median(normal[look], 0)
    middle /= max(float(np.linalg.norm(middle)), 1e-6)
    bent = normal - middle
    slope = np.linalg.norm(bent, axis=-1)
    strength = float(np.clip(STEEP / max(float(np.percentile(slope[look], 90)), 1e-6), 1.0, STRONGEST))
    bent = middle + strength * bent  # slopes away from the middle one, exaggerated
    bent /= np.maximum(np.linalg.norm(bent, axis=-1, keepdims=True), 1e-9)
    grey = 70 + 165 * np.clip(bent @ LIGHT, 0, 1) ** 0.9
    if part is not None:
        grey = np.where(part, grey, 0.3 * grey + 0.7 * 232)
    tint = grey[..., None] * np.array([0.965, 0.985, 1.0])  # slightly cool, so that it is not taken for the picture
    return _hatched(np.clip(tint, 0, 255).astype(np.uint8), there, holes)


def _smooth(xyz: np.ndarray, valid: np.ndarray) -> Float32[np.ndarray, "H W 3"]:
    """The cloud with holes filled by the nearest point, and as much noise removed as a screen would show."""
    if not valid.all():
        xyz = xyz[tuple(distance_transform_edt(~valid, return_distances=False, return_indices=True))]
    sigma = max(0.9, max(valid.shape) / 450)
    return np.stack([gaussian_filter(xyz[..., i], sigma, mode="nearest") for i in range(3)], -1)


def _normals(xyz: np.ndarray) -> Float32[np.ndarray, "H W 3"]:
    """Unit normals that look at the camera, from the differences of neighbours."""
    normal = np.cross(np.gradient(xyz, axis=1), np.gradient(xyz, axis=0))
    normal /= np.maximum(np.linalg.norm(normal, axis=-1, keepdims=True), np.finfo(np.float32).tiny)
    return -normal if np.median(normal[..., 2]) > 0 else normal  # one side for all: steep walls must not flicker


def _hatched(image: np.ndarray, valid: np.ndarray, holes: np.ndarray) -> UInt8[np.ndarray, "H W 3"]:
    rows, columns = np.ogrid[:valid.shape[0], :valid.shape[1]]
    pitch = max(4, max(valid.shape) // 56)
    line = (rows + columns) % pitch < pitch / 3
    image[~valid] = EMPTY
    image[~valid & line] = HATCH
    image[holes & line] = HOLE
    return image
