"""A pinhole camera with its lens: from a depth picture to points, and from points to pixels.

Pixels are counted as in OpenCV, librealsense and ROS: (0, 0) is the centre of the upper left pixel, so an ideal camera of 640
columns has cx = 319.5. Camera frame: x right, y down, z forward, metres. Depth is z, not the length of the ray.

Lenses (docs.opencv.org, "Camera Calibration and 3D Reconstruction" and "Fisheye camera model"; librealsense, rs_types.h):

brown    ideal to stored by OpenCV's polynomial: k1 k2 p1 p2 [k3 [k4 k5 k6 [s1 s2 s3 s4]]], plumb_bob and rational_polynomial
inverse  the same polynomial from stored to ideal: librealsense's "inverse Brown-Conrady"
fisheye  k1 k2 k3 k4 of the angle: equidistant, Kannala-Brandt
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache
from math import inf, isfinite

import numpy as np
from jaxtyping import Float, Float32, Real

from mmadlib.data.images import mark_invalid
from mmadlib.errors import DataError, explain

LENSES = {"brown": (4, 5, 8, 12), "inverse": (4, 5), "fisheye": (4,)}  # lens -> numbers of coefficients that OpenCV knows
LEAST_FOCAL = 10.0  # pixels: below that lengths are parts of the picture's width, or metres
AGREE = 0.01  # pixels by which a ray may miss its pixel when it is projected again
UNTIL = (50, 1e-9)  # iterations for the inverse of a lens, and the error at z = 1 that is small enough
PIECE = 2**16  # points at once: OpenCV returns 36 derivatives of each, too
MARGIN = 1.05  # of the widest ray of a picture: beyond it the polynomial of a lens folds points back into view
OFF_CENTRE = 0.2  # of a side: a principal point farther from the middle belongs to another picture, or to a cut one

Rigid = tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class Camera:
    """One camera. Raises DataError for values that no camera has; `source` is what the message names."""

    fx: float  # pixels
    fy: float
    cx: float
    cy: float
    width: int = 0  # of its pictures; 0: not told
    height: int = 0
    distortion: tuple[float, ...] = ()  # in OpenCV's order
    model: str = "brown"  # of LENSES
    depth_scale: float | None = None  # metres a step of its depth pictures; None: not told
    extrinsics: Rigid | None = None  # (4, 4), from the frame of reference (a depth camera's) to this one's, metres
    reach: float = inf  # length of x, y at z = 1 beyond which the lens is not described ("metric radius")
    name: str = ""
    source: str = "camera"

    def __post_init__(self) -> None:
        if found := _fault(self):
            raise DataError(explain(self.source, *found))

    @property
    def matrix(self) -> Float[np.ndarray, "3 3"]:
        return np.array([[self.fx, 0, self.cx], [0, self.fy, self.cy], [0, 0, 1]], np.float64)

    @property
    def ideal(self) -> bool:
        """Whether the lens does nothing."""
        return not any(self.distortion)

    def of_size(self, height: int, width: int, scaled: bool = False) -> Camera:
        """The camera of pictures of this size.

        scaled: the pictures show all that the camera saw, made smaller or larger by one factor (binned, resized); never
        assumed, because a part cut out of the picture may have the same shape. Raises DataError for any other size.
        """
        told, asked = f"{self.width} x {self.height}", f"{width} x {height}"
        if not (self.width and self.height):
            if abs(self.cx - (width - 1) / 2) > OFF_CENTRE * width or abs(self.cy - (height - 1) / 2) > OFF_CENTRE * height:
                fault = f"has its centre at ({self.cx:g}, {self.cy:g}), far from the middle of a picture of {asked} pixels"
                raise DataError(explain(self.source, fault, "give the numbers of that picture; where it is so, write width "
                                                            "and height into the file"))
            return replace(self, width=width, height=height)
        if (self.width, self.height) == (width, height):
            return self
        fault = f"is of pictures of {told} pixels, these have {asked}"
        factor = Fraction(width, self.width)
        if factor != Fraction(height, self.height):
            raise DataError(explain(self.source, fault, "give the numbers of this size: shapes differ, so a part was cut out"))
        if not scaled:
            raise DataError(explain(self.source, f"{fault}, {factor} times the size",
                                    "give scaled=True of convert depth (--scaled) if they show the whole view, resized; if a "
                                    "part was cut out, give the numbers of that size"))
        f = float(factor)
        return replace(self, fx=self.fx * f, fy=self.fy * f, cx=(self.cx + 0.5) * f - 0.5, cy=(self.cy + 0.5) * f - 0.5,
                       width=width, height=height)


def _fault(camera: Camera) -> tuple[str, str] | None:
    """(fault, remedy) of impossible values."""
    lengths = camera.fx, camera.fy
    if not all(isfinite(v) for v in (*lengths, camera.cx, camera.cy, *camera.distortion)):
        return "holds a NaN or infinity", "calibrate the camera again"
    if min(lengths) <= 0:
        return f"has focal lengths {lengths[0]:g}, {lengths[1]:g}", "both must be positive; zeros stand for: not calibrated"
    if min(lengths) < LEAST_FOCAL:
        return (f"has focal lengths {lengths[0]:g}, {lengths[1]:g}: parts of the picture's width or metric, not pixels",
                "give pixels: fx, cx times the width, fy, cy times the height")
    if min(camera.width, camera.height) < 0:
        return f"has pictures of {camera.width} x {camera.height} pixels", "write the size of its pictures"
    if camera.model not in LENSES:
        return f"has a lens of the kind {camera.model!r}", f"known are {', '.join(LENSES)}"
    if camera.distortion and len(camera.distortion) not in LENSES[camera.model]:
        return (f"has {len(camera.distortion)} coefficients of distortion",
                f"the lens {camera.model!r} has {' or '.join(map(str, LENSES[camera.model]))}")
    if camera.depth_scale is not None and not 0 < camera.depth_scale < inf:
        return f"has the depth scale {camera.depth_scale:g}", "it is metres a step, e.g. 0.001 for millimetres"
    return None


def points_of(depth: Float32[np.ndarray, "H W"], camera: Camera) -> Float32[np.ndarray, "H W 3"]:
    """The organised cloud of a depth picture in metres; depth that is not finite or not above 0 gives (0, 0, 0).

    The lens is removed from the rays: pixel (v, u) keeps its place and lies where it is, so nothing is resampled and a picture
    on the grid of the depth fits as it is. No valid point has a coordinate of exactly 0. Raises DataError for another size
    than the camera's.
    """
    at = rays(camera.of_size(*depth.shape))
    with np.errstate(invalid="ignore"):
        valid = np.isfinite(depth) & (depth > 0) & np.isfinite(at).all(-1)
        xyz = np.dstack([at * depth[..., None], depth]).astype(np.float32)
    return mark_invalid(xyz, valid)


@lru_cache(maxsize=4)
def rays(camera: Camera) -> Float[np.ndarray, "H W 2"]:
    """x and y at z = 1 of every pixel; NaN where the lens does not say. The camera's size must be known."""
    pixels = np.stack(np.meshgrid(np.arange(camera.width), np.arange(camera.height)), -1).reshape(-1, 2)
    found = _rays_at(pixels, camera).reshape(camera.height, camera.width, 2)
    found.flags.writeable = False
    return found


def _rays_at(pixels: Real[np.ndarray, "N 2"], camera: Camera) -> Float[np.ndarray, "N 2"]:
    stored = (pixels - (camera.cx, camera.cy)) / (camera.fx, camera.fy)
    at = stored
    if not camera.ideal:
        inverse = camera.model == "inverse"
        at = _bend(stored, camera) if inverse else _straighten(stored, camera)
        again = _straighten(at, camera) if inverse else _bend(at, camera)
        off = np.linalg.norm((again - stored) * (camera.fx, camera.fy), axis=1)
        at[~(off <= AGREE)] = np.nan  # no ray, or none that the iteration found
    at[np.linalg.norm(at, axis=1) > camera.reach] = np.nan
    return at


def project(points: Float[np.ndarray, "N 3"], camera: Camera) -> Float[np.ndarray, "N 2"]:
    """Pixels (u, v) of points in the camera's frame; NaN behind it, and outside of what its lens shows."""
    with np.errstate(divide="ignore", invalid="ignore"):
        at = points[:, :2] / points[:, 2:]
        at[~((points[:, 2] > 0) & (np.linalg.norm(at, axis=1) <= _widest(camera)))] = np.nan
    seen = np.isfinite(at).all(1)
    if not camera.ideal and seen.any():
        at[seen] = _straighten(at[seen], camera) if camera.model == "inverse" else _bend(at[seen], camera)
    return at * (camera.fx, camera.fy) + (camera.cx, camera.cy)


@lru_cache(maxsize=4)
def _widest(camera: Camera) -> float:
    """Length of the longest ray at the rim of a picture, with a margin; `reach` of an ideal lens, which folds nothing."""
    if camera.ideal:
        return camera.reach
    u, v = np.meshgrid(np.arange(camera.width), np.arange(camera.height))
    rim = (u % (camera.width - 1) == 0) | (v % (camera.height - 1) == 0)
    lengths = np.linalg.norm(_rays_at(np.column_stack([u[rim], v[rim]]), camera), axis=1)
    return float(np.nanmax(lengths)) * MARGIN if np.isfinite(lengths).any() else camera.reach


def _bend(at: Float[np.ndarray, "N 2"], camera: Camera) -> Float[np.ndarray, "N 2"]:
    """The lens' polynomial, at z = 1 on both sides."""
    import cv2  # here, because pictures of ideal cameras do without

    known, one = np.array(camera.distortion, np.float64), np.eye(3)
    if camera.model == "fisheye":
        return cv2.fisheye.distortPoints(at[:, None], one, known)[:, 0]
    nothing, points = np.zeros(3), np.column_stack([at, np.ones(len(at))])
    pieces = np.array_split(points, len(at) // PIECE + 1)
    return np.concatenate([cv2.projectPoints(piece, nothing, nothing, one, known)[0][:, 0] for piece in pieces])


def _straighten(at: Float[np.ndarray, "N 2"], camera: Camera) -> Float[np.ndarray, "N 2"]:
    """The inverse of `_bend`, by iteration."""
    import cv2

    known, one = np.array(camera.distortion, np.float64), np.eye(3)
    until = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, *UNTIL)
    if camera.model == "fisheye":
        return cv2.fisheye.undistortPoints(at[:, None], one, known, criteria=until)[:, 0]
    return cv2.undistortPointsIter(at[:, None], one, known, np.eye(3), one, until)[:, 0]
