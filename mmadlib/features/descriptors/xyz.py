"""3D descriptors: signed curvatures, slope, roughness and height differences at three scales, 15 numbers a token, no weights.

Around every token the cloud is a surface r(u, v) over the pixel grid; a quadratic is fitted to r with Gaussian weights, over
valid object pixels only. Its fundamental forms give the principal curvatures (Besl & Jain, Computer Vision, Graphics, and
Image Processing 33, 1986; Koenderink, Solid Shape, 1990). Radii are shares of the object's extent and every number is
divided by its radius, so nothing depends on the unit or the origin of the cloud. Signs matter: a bump (towards the camera)
has positive curvatures and a positive height difference, a pit negative ones.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float, Float32, Float64, Int64

from mmadlib.features.descriptors.fpfh import FPFH_CHANNELS, fpfh_tokens
from mmadlib.features.descriptors.mask import GRID, object_mask, tokens_on
from mmadlib.features.descriptors.windows import windows

if TYPE_CHECKING:
    from mmadlib.prepare.grid import Grid

SCALES = (0.01, 0.02, 0.04)  # window sigmas as shares of the object's extent, the root of its area in pixels
OUTER = 0.08  # what the height at the third scale is compared with
POWERS = ((0, 0), (1, 0), (0, 1), (2, 0), (1, 1), (0, 2))  # of (row, column): 1, v, u, v^2, uv, u^2
BEND = 0.01  # ridge on the quadratic terms: where a window holds too few pixels the surface is a plane

XYZ_CHANNELS = tuple(f"{name}_{i}" for i in range(len(SCALES)) for name in ("k1", "k2", "slope", "rough", "height"))


def xyz_descriptors(grid: Grid, fpfh: bool = False) -> Float32[np.ndarray, "56*56 15+33*{fpfh}"]:
    """Descriptors of a loaded sample, raw and without unit; channels in `XYZ_CHANNELS`.

    k1 >= k2  principal curvatures times the window's radius      slope   angle to the object's plane, radians
    rough     deviation from the local plane / radius             height  height less the height at twice the radius / radius

    fpfh: 33 channels more, see `fpfh_tokens`. Tokens off the object are zero. The picture is not looked at.
    """
    mask = object_mask(grid.valid)
    weight = mask & grid.valid
    on = np.flatnonzero(tokens_on(mask))
    out = np.zeros((GRID * GRID, len(XYZ_CHANNELS) + fpfh * len(FPFH_CHANNELS)), np.float32)
    if len(on) == 0 or weight.sum() < len(POWERS):
        return out
    points = object_frame(grid.xyz, weight)
    extent = max(np.sqrt(mask.sum()), 1 / SCALES[0])  # a window of less than a pixel would see nothing
    fits = [Fit(points, weight, share * extent, on) for share in (*SCALES, OUTER)]
    parts = [_statistics(fit, outer) for fit, outer in pairwise(fits)]
    if fpfh:
        parts.append(fpfh_tokens(points, weight)[on])
    out[on] = np.concatenate(parts, axis=1)
    return out


def object_frame(xyz: Float[np.ndarray, "S S 3"], weight: Bool[np.ndarray, "S S"],
                 rounds: int = 8) -> Float64[np.ndarray, "3 S S"]:
    """The cloud in its object's own frame: two axes along its plane, then the height towards the camera.

    The table is gone when descriptors are computed, so the reference comes from the object: a total least squares plane,
    refitted with Cauchy weights about the median distance so that bumps and pits do not tilt it. The origin is the mean
    point; pixels off `weight` are zero.
    """
    cloud = xyz[weight].astype(np.float64)
    cloud -= cloud.mean(0)
    trust = np.ones(len(cloud))
    for _ in range(rounds):
        arm = cloud - trust @ cloud / trust.sum()
        axes = np.linalg.eigh((arm * trust[:, None]).T @ arm)[1][:, ::-1]
        height = arm @ axes[:, 2]
        height -= np.median(height)
        trust = 1 / (1 + (height / max(2 * np.median(np.abs(height)), 1e-12)) ** 2)
    axes[:, 2] *= -1 if axes[2, 2] > 0 else 1  # z points away from the camera
    points = np.zeros((3, *weight.shape))
    points[:, weight] = (cloud @ axes).T
    return points


class Fit:
    """Weighted local planes and quadratics of a surface at the tokens `on`.

    points with zeros off weight; sigma in px; coordinates are in sigmas from the token's centre.
    plane (n, 3, 3), quadratic (n, 6, 3): coefficients of x, y, height in the order of POWERS.
    rough (n,): root mean square of the height about the plane.
    """

    def __init__(self, points: Float64[np.ndarray, "3 S S"], weight: Bool[np.ndarray, "S S"], sigma: float,
                 on: Int64[np.ndarray, " n"]) -> None:
        window = windows(len(weight), sigma, powers=4)
        moment = _moments(weight[None].astype(np.float64), window, 4, on)
        mass = np.maximum(moment[0, 0], 1e-12)
        left = np.stack([np.stack([moment[a + c, b + d] for c, d in POWERS], -1) for a, b in POWERS], -2)[:, 0]
        left = left / mass[:, None]
        mixed = _moments(points, window, 2, on)
        right = np.stack([mixed[p] / mass for p in POWERS], 1)
        ridge = np.diag([1e-9, 1e-6, 1e-6, BEND, BEND, BEND])
        self.plane = np.linalg.solve(left[:, :3, :3] + ridge[:3, :3], right[:, :3])
        self.quadratic = np.linalg.solve(left + ridge, right)
        square = _moments(points[2:] ** 2, window, 0, on)[0, 0] / mass
        explained = (self.plane[:, :, 2] * right[:, :3, 2]).sum(1)
        self.rough = np.sqrt((square[:, 0] - explained).clip(0))


def _moments(images: np.ndarray, window: np.ndarray, degree: int, on: np.ndarray) -> dict[tuple[int, int], np.ndarray]:
    """{(p, q): sums (n, images) of images * v^p u^q over the windows of the tokens `on`}, p + q <= degree."""
    rows = window[: degree + 1, None] @ images
    return {(p, q): (rows[p] @ window[q].T).reshape(len(images), -1).T[on]
            for p in range(degree + 1) for q in range(degree + 1 - p)}


def _statistics(fit: Fit, outer: Fit) -> np.ndarray:
    """The five numbers of one scale, (n, 5)."""
    across = np.cross(fit.quadratic[:, 2], fit.quadratic[:, 1])
    area = np.linalg.norm(across, axis=1).clip(1e-15)
    side = np.sign(across[:, 2].sum()) or 1.0  # one sign for the cloud: a mirrored grid must not swap bump and pit
    normal = side * across / area[:, None]
    radius = np.sqrt(np.median(area))
    k1, k2 = _principal_curvatures(fit.quadratic, normal)
    slope = np.arccos(normal[:, 2].clip(-1, 1))
    height = fit.plane[:, 0, 2] - outer.plane[:, 0, 2]
    return np.stack([k1 * radius, k2 * radius, slope, fit.rough / radius, height / radius], axis=1)


def _principal_curvatures(q: np.ndarray, normal: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """k1 >= k2 (n,) from the two fundamental forms, positive where the surface bends away from the camera."""
    rv, ru = q[:, 1], q[:, 2]
    rvv, ruv, ruu = 2 * q[:, 3], q[:, 4], 2 * q[:, 5]
    E, F, G = ((a * b).sum(1) for a, b in ((ru, ru), (ru, rv), (rv, rv)))
    L, M, N = (-(r * normal).sum(1) for r in (ruu, ruv, rvv))
    det = (E * G - F**2).clip(1e-30)
    mean = (E * N - 2 * F * M + G * L) / (2 * det)
    gauss = (L * N - M**2) / det
    root = np.sqrt((mean**2 - gauss).clip(0))
    return mean + root, mean - root
