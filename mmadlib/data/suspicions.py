"""What a cloud shows of how it was stored: markers of points not measured, the unit, the axes.

A cloud is looked at once before it is believed. Every rule asks for more than a good scan can show, real or rendered, so that
nothing is suspected without reason; what cannot be told from the points is not asked about.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations

import numpy as np
from jaxtyping import Bool, Float, Float32

from mmadlib.data.reading import UNITS

ONE_PLACE = 3  # points at one and the same place far off, or SAME anywhere: no surface
SAME, SAME_SHARE = 30, 5e-4
PLANE, PLANE_SHARE = 50, 5e-3  # points at one and the same z far off the others
FAR = 1.5  # times the depth of the others
LONG, DEEP = 5.0, 8.0  # metres of a part's diagonal and its depth, above which a cloud is hardly in metres
SMALL, NEAR = 2e-4, 5e-3  # metres of the same, below which it was in a larger unit than was said
ALONG, ACROSS = 0.85, 0.3  # share of a step from pixel to pixel that lies along an axis that goes with it, or does not
LOOK, QUICK = 200_000, 20_000  # points that the unit and the axes, and the place of the others, are told from
ENDS = 4  # nearest and farthest z that are looked at

Points = Float32[np.ndarray, "_ 3"]


@dataclass(frozen=True)
class Marker:
    """A value that stands for points not measured, how many there are, and where they lie."""

    value: float
    count: int
    where: str


def markers(points: Points) -> list[Marker]:
    """Markers among finite points, most frequent first: one place shared by many points, or one z far off all others."""
    z = points[:, 2]
    values, counts = np.unique(z, return_counts=True)
    ends = np.r_[np.arange(len(values))[:ENDS], np.arange(len(values))[-ENDS:]]
    likely = dict.fromkeys([*np.argsort(counts)[::-1][:2 * ENDS].tolist(), *ends.tolist()])  # frequent z, near and far ones
    found: list[Marker] = []
    for i in (i for i in likely if counts[i] >= ONE_PLACE):
        others = points[~np.isin(z, [values[i], *(m.value for m in found)])]
        if len(others) >= SAME and (marker := _marker(points[z == values[i]], others, len(points))):
            found.append(marker)
    return sorted(found, key=lambda m: -m.count)


def _marker(at: Points, others: Points, total: int) -> Marker | None:
    """The marker that points at one z are, or None."""
    value, count, place = float(at[0, 2]), len(at), np.median(at, 0)
    together, far = int(np.count_nonzero((at == place).all(1))), _far(value, others[:: len(others) // QUICK + 1])
    if together >= (ONE_PLACE if far else max(SAME, SAME_SHARE * total, count / 2)):  # half: a plane in whole steps is none
        return Marker(value, count, "at ({:g}, {:g}, {:g})".format(*map(float, place)))
    if far and count >= max(PLANE, PLANE_SHARE * total):
        return Marker(value, count, f"at z = {value:g} exactly, far off all others, as on a far plane")
    return None


def _far(value: float, others: Points) -> bool:
    """Whether a z lies farther off the others than they are apart, and much nearer or farther than all of them."""
    low, high = np.percentile(others, (1, 99), axis=0)
    gap = max(value - high[2], low[2] - value)
    if gap <= np.linalg.norm(high - low) / 2:
        return False
    if low[2] > 0:  # depth: a table is not that much farther than what stands on it
        return value > FAR * high[2] or value < low[2] / FAR
    return gap > 3 * np.linalg.norm(high - low)


def unit(points: Points) -> tuple[str, float, float]:
    """(likely unit, diagonal, median depth) of points in the unit of the file; "m" where nothing speaks against it."""
    points = points[:: len(points) // LOOK + 1]
    low, high = np.percentile(points[:, :2], (2, 98), axis=0)
    long, deep = float(np.linalg.norm(high - low)), float(np.median(np.abs(points[:, 2])))
    if long <= LONG and deep <= DEEP:
        return "m", long, deep
    measure, steps = (deep, (150, 2e4)) if deep > long / 5 else (long, (20, 5e3))  # a height map says nothing by its depth
    return ("cm" if measure < steps[0] else "mm" if measure < steps[1] else "um"), long, deep


def too_small(long: float, deep: float, name: str) -> bool:
    """Whether a cloud in a unit is smaller, or nearer, than any scan."""
    return deep * UNITS[name] < NEAR if deep > long / 5 else long * UNITS[name] < SMALL


def sizes(long: float, deep: float, name: str) -> str:
    """What a cloud would be in a unit, for people."""
    return f"{name}: {length(long * UNITS[name])} long at {length(deep * UNITS[name])}"


def length(metres: float) -> str:
    """A length in a unit that suits it.

    >>> length(0.4), length(123.0)
    ('400 mm', '123 m')
    """
    return f"{metres:.3g} m" if metres >= 1 else f"{1000 * metres:.3g} mm"


def axes(xyz: Float32[np.ndarray, "H W 3"], valid: Bool[np.ndarray, "H W"]) -> str | None:
    """Axes that bring the cloud into the camera frame, as Reading.axes; None where it lies so, or nothing can be said.

    In the camera frame x grows from column to column and y from row to row; z may do either on a tilted part. Signs of a depth
    are asked about only where all points lie before the camera, or all behind it, farther than they are apart.
    """
    slopes = np.column_stack([_slope(xyz, valid), _slope(xyz.swapaxes(0, 1), valid.T)][::-1])
    lengths = np.linalg.norm(slopes, axis=0)
    if not (lengths > 0).all():
        return None
    along = slopes / lengths  # (3, 2): share of a step to the right, and down, along each axis
    depth_sign = _depth_signs(xyz[valid][:: np.count_nonzero(valid) // LOOK + 1])
    if along[0, 0] > ACROSS and along[1, 1] > ACROSS and depth_sign[2] >= 0:
        return None
    for order in sorted(permutations(range(3))):  # as it is comes first
        right, down = along[order[0], 0], along[order[1], 1]
        if min(abs(right), abs(down)) >= ALONG or (order == (0, 1, 2) and min(abs(right), abs(down)) > ACROSS):
            signs = [np.sign(right), np.sign(down), depth_sign[order[2]]]
            if signs[2] == 0:  # a height map: as a right-handed frame has it
                signs[2] = np.sign(right) * np.sign(down) * np.linalg.det(np.eye(3)[list(order)])
            found = ",".join(("-" if sign < 0 else "") + "xyz"[column] for sign, column in zip(signs, order, strict=True))
            return None if found == "x,y,z" else found
    return None


def _slope(xyz: Float32[np.ndarray, "R C 3"], valid: Bool[np.ndarray, "R C"]) -> Float[np.ndarray, " 3"]:
    """By how much x, y and z grow from row to row: the median over pairs some rows apart; a few stray points do not count."""
    apart = max(1, len(xyz) // 20)
    both = valid[apart:] & valid[:-apart]
    steps = (xyz[apart:] - xyz[:-apart])[both]
    return np.median(steps[:: len(steps) // LOOK + 1], axis=0) / apart if len(steps) else np.zeros(3)


def _depth_signs(points: Float[np.ndarray, "N 3"]) -> list[int]:
    """1 or -1 for each axis along which all points lie on one side, farther off than they are apart across; 0 elsewhere."""
    low, high = np.percentile(points, (2, 98), axis=0)
    apart = np.sort(high - low)[1]
    return [int(np.sign(a)) if a * b > 0 and min(abs(a), abs(b)) > apart else 0 for a, b in zip(low, high, strict=True)]
