"""Groups of points: farthest point sampling, nearest neighbours, three-neighbour interpolation.

Results are defined exactly, ties included, so that they are the same on every machine. All functions take (N, 3) arrays of
finite coordinates; nothing is scaled or centred.
"""

from __future__ import annotations

import hashlib

import numpy as np
from jaxtyping import Float, Float64, Int64
from scipy.spatial import cKDTree

from mmadlib.checks import whole
from mmadlib.errors import SettingsError

NEAR_ORIGIN = 1e-3  # squared distance to the sensor below which the reference CUDA kernel never picks a point
EPSILON = 1e-8  # added to squared distances before they are inverted
SPARE = 2  # neighbours asked for beyond k, to see ties at the k-th
ROWS = 64  # rows of a full distance matrix held at once
RANDOM_START = "random"


def first_point(points: Float[np.ndarray, "N 3"], start: int | str, seed: int = 0) -> int:
    """The index at which `farthest_points` starts: `start`, at most the last one.

    "random" draws it from `seed` and the coordinates: any point, always the same one for the same cloud. The released code
    of CMDR-IAD draws it anew every time (ECGAI-Research/CMDR-IAD).
    """
    if start != RANDOM_START:
        return min(int(start), len(points) - 1)
    content = hashlib.blake2b(np.ascontiguousarray(points, np.float32).tobytes(), digest_size=8).digest()
    return int(np.random.default_rng([seed, int.from_bytes(content, "little")]).integers(len(points)))


def farthest_points(points: np.ndarray, k: int, start: int = 0, near_origin: bool = False) -> Int64[np.ndarray, " {k}"]:
    """k indices: `start` first, then always the point farthest from all chosen ones, the first one on ties.

    Keeps a running minimum of float32 squared distances. near_origin: points with |p|^2 <= 1e-3 are never picked after the
    start (the rule of erikwijmans/Pointnet2_PyTorch, sampling_gpu.cu). Raises SettingsError when k exceeds the points.

    Whole-array NumPy in place: as fast as the libraries that keep this definition, and those that are faster break ties
    in an order of their own.
    """
    points, k = _points(points, "points"), whole("k", k, 1)
    if whole("start", start) >= len(points):
        raise SettingsError(f"start={start}: there are {len(points)} points")
    allowed = (points**2).sum(1) > (NEAR_ORIGIN if near_origin else -1)
    allowed[start] = True
    candidates = np.flatnonzero(allowed)
    if k > len(candidates):
        raise SettingsError(f"cannot choose {k} of {len(candidates)} points; ask for fewer centres")
    axes = np.ascontiguousarray(points[candidates].T)
    distance, away = np.full(len(candidates), np.inf, np.float32), np.empty_like(axes)
    chosen = np.empty(k, np.int64)
    current = int(np.searchsorted(candidates, start))
    for i in range(k):
        chosen[i] = current
        np.subtract(axes, axes[:, current, None], out=away)
        np.square(away, out=away)
        away[0] += away[1]
        away[0] += away[2]
        current = int(np.minimum(distance, away[0], out=distance).argmax())
    return candidates[chosen]


def nearest(points: np.ndarray, centres: np.ndarray, k: int) -> Int64[np.ndarray, "M {k}"]:
    """Indices of the k points nearest to each of M centres, by ascending distance, lower index first on ties.

    Raises SettingsError when k exceeds the points.
    """
    points, centres = _points(points, "points", np.float64), _points(centres, "centres", np.float64)
    if whole("k", k, 1) > len(points):
        raise SettingsError(f"cannot take the {k} nearest of {len(points)} points; ask for fewer neighbours")
    ask = min(k + SPARE, len(points))
    distance, index = map(np.asarray, cKDTree(points).query(centres, np.arange(1, ask + 1)))
    tied = (np.diff(distance, axis=1) == 0).any(1)
    order = np.lexsort((index[tied], distance[tied]))
    index[tied] = np.take_along_axis(index[tied], order, 1)
    # where the tie at the k-th neighbour reaches beyond the spare ones, lower indices may be missing
    crowded = np.flatnonzero((distance[:, -1] == distance[:, k - 1]) & (ask < len(points)))
    result = index[:, :k].astype(np.int64)
    for first in range(0, len(crowded), ROWS):
        rows = crowded[first:first + ROWS]
        apart = ((centres[rows, None] - points[None]) ** 2).sum(-1)
        result[rows] = np.argsort(apart, axis=1, kind="stable")[:, :k]
    return result


def three_nearest(points: np.ndarray,
                  centres: np.ndarray) -> tuple[Int64[np.ndarray, "N 3"], Float64[np.ndarray, "N 3"]]:
    """Index and weight: each of the N points as a blend of its three nearest centres.

    Weights are 1 / (d^2 + 1e-8), d^2 the squared distance, normalised to sum 1. With one or two centres the missing
    neighbours repeat the first centre with weight 0. Source: CVLAB-Unibo/crossmodal-feature-mapping
    utils/pointnet2_utils.py; distances are exact in float64, where the official float32 expansion |a|^2 - 2ab + |b|^2
    loses as much as the epsilon in metric coordinates.
    """
    points, centres = _points(points, "points", np.float64), _points(centres, "centres", np.float64)
    index = nearest(centres, points, min(3, len(centres)))
    closeness = 1 / (((points[:, None] - centres[index]) ** 2).sum(-1) + EPSILON)
    missing = ((0, 0), (0, 3 - index.shape[1]))
    return np.pad(index, missing), np.pad(closeness / closeness.sum(1, keepdims=True), missing)


def _points(points: np.ndarray, name: str, dtype: type = np.float32) -> np.ndarray:
    """(N, 3) array of `dtype` with at least one point, all finite, or SettingsError."""
    points = np.asarray(points, dtype=dtype)
    if points.ndim != 2 or points.shape[1] != 3 or len(points) == 0:
        raise SettingsError(f"{name} must have shape (N, 3) with N > 0, not {points.shape}")
    if not np.isfinite(points).all():
        raise SettingsError(f"{name} hold NaN or infinite coordinates; leave such points out")
    return points
