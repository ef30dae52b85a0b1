"""Colour for the points of a depth camera, from the picture of another camera beside it.

Each point is projected into the colour camera, lens and all, and takes the colour there (bilinear). It gets none when it lies
outside the picture or behind a nearer surface: such points would otherwise wear the colour of what hides them.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float32, Float64, UInt8
from scipy import ndimage

from mmadlib.data.camera import Camera, project

PARALLAX = 2.0  # pixels of the colour picture: surfaces that differ by less hide nothing worth mentioning
RELATIVE = 0.01  # of the distance: noise of the depth, and slopes within a cell

Places = Float32[np.ndarray, "H W 2"]


def register(xyz: Float32[np.ndarray, "H W 3"], depth: Camera | None,
             colour: Camera) -> tuple[Places, Bool[np.ndarray, "H W"]]:
    """Where each point lies in the colour picture (u, v), and whether it is seen there.

    depth: the camera in whose frame the points are; None: the frame of reference. The size of the colour camera is known.
    """
    valid = np.any(xyz != 0, axis=-1)
    moved = relative(depth, colour)
    points = xyz[valid].astype(np.float64) @ moved[:3, :3].T + moved[:3, 3]
    at = project(points, colour)
    with np.errstate(invalid="ignore"):
        inside = np.all((at >= 0) & (at <= (colour.width - 1, colour.height - 1)), axis=1)
    places = np.full((*valid.shape, 2), -1, np.float32)
    places[valid] = np.where(inside[:, None], at, -1)
    cell = _spacing(places, valid)
    seen = np.zeros(valid.shape, bool)
    seen[valid] = inside & ~_hidden(at, points[:, 2], inside, cell, colour, float(np.linalg.norm(moved[:3, 3])))
    return places, seen


def relative(depth: Camera | None, colour: Camera) -> Float64[np.ndarray, "4 4"]:
    """The movement from the depth camera's frame to the colour camera's."""
    from_, to = (np.array(camera.extrinsics) if camera and camera.extrinsics else np.eye(4) for camera in (depth, colour))
    return to @ np.linalg.inv(from_)


def _spacing(places: Places, valid: Bool[np.ndarray, "H W"]) -> float:
    """Pixels of the colour picture between two neighbours of the depth picture, at least 1."""
    both = valid[:, 1:] & valid[:, :-1] & (places[:, 1:, 0] >= 0) & (places[:, :-1, 0] >= 0)
    steps = np.linalg.norm(np.diff(places, axis=1)[both], axis=-1)
    return max(1.0, float(np.median(steps))) if steps.size else 1.0


def _hidden(at: Float64[np.ndarray, "N 2"], z: Float64[np.ndarray, " N"], inside: Bool[np.ndarray, " N"], cell: float,
            colour: Camera, baseline: float) -> Bool[np.ndarray, " N"]:
    """Whether a nearer point lies within a cell of each, by a picture of the nearest depth in cells of one point each."""
    if baseline == 0:  # one centre: what one camera sees, the other does
        return np.zeros(len(z), bool)
    where = (np.where(inside[:, None], at, 0) / cell + 0.5).astype(int)
    nearest = np.full((int(colour.height / cell) + 2, int(colour.width / cell) + 2), np.inf)
    np.minimum.at(nearest, (where[inside, 1], where[inside, 0]), z[inside])
    nearest = ndimage.minimum_filter(nearest, 3)
    allowed = np.maximum(RELATIVE * z, PARALLAX * z**2 / (colour.fx * baseline))
    return nearest[where[:, 1], where[:, 0]] < z - allowed


def sample(picture: UInt8[np.ndarray, "h w 3"], places: Places, seen: Bool[np.ndarray, "H W"]) -> UInt8[np.ndarray, "H W 3"]:
    """The colours at `places`, black where none is seen."""
    import cv2

    found = cv2.remap(picture, places[..., 0], places[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.where(seen[..., None], found, 0).astype(np.uint8)


def sample_mask(mask: Bool[np.ndarray, "h w"], places: Places, seen: Bool[np.ndarray, "H W"]) -> Bool[np.ndarray, "H W"]:
    """The mask at the nearest pixel of `places`; False where nothing is seen."""
    u, v = np.where(seen[..., None], np.rint(places), 0).astype(int).transpose(2, 0, 1)
    return mask[v, u] & seen
