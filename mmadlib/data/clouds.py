"""Clouds of one's own parts: read as a Reading says, and looked at once before they are believed.

A point is invalid when all three coordinates are 0 or one is not finite, or when it holds a declared marker. Valid points with
a coordinate of exactly 0 stay: an ideal camera has x = 0 in its middle column.
"""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float32

from mmadlib.data import suspicions
from mmadlib.data.arrays import CONVERT, read_array
from mmadlib.data.images import check_points, mark_invalid
from mmadlib.data.reading import AS_IT_IS, UNITS, Reading
from mmadlib.errors import DataError, explain

FEW = 2e-3  # share of valid points below which something is probably wrong
SATURATED = 2**16 - 1  # the largest value of 16 bits: too far, or not measured

Cloud = tuple[Float32[np.ndarray, "H W 3"], Bool[np.ndarray, "H W"]]


def read_cloud(path: Path, reading: Reading = AS_IT_IS) -> Cloud:
    """(xyz in metres, camera frame, invalid points (0, 0, 0); valid). No valid point has a coordinate of exactly 0.

    Raises DataError when the file is missing, damaged or no organised cloud, when depth has no camera, when fewer than
    MIN_POINTS are valid, and for what looks like a marker, another unit or other axes and was not declared. Warns where hardly
    a point is valid.
    """
    return cloud_of(path, read_array(path), reading)


def cloud_of(path: Path, array: np.ndarray, reading: Reading = AS_IT_IS) -> Cloud:
    """`read_cloud` of an array (H, W, 3) or (H, W), in the unit of the file `path` that it was read from."""
    depth = array.ndim == 2
    if depth and reading.intrinsics is None:
        raise depth_without_camera(path)
    if not depth and array.dtype.kind != "f" and reading.units is None:
        remedy = 'coordinates must be floating point, float32 metres; give units="mm" (or m, cm, um) for whole numbers'
        raise DataError(explain(path, f"holds {array.dtype} values", remedy))
    with np.errstate(over="ignore", invalid="ignore"):  # what single precision cannot hold is as good as infinite
        points = np.atleast_3d(array).astype(np.float32)
    finite = np.isfinite(points).all(-1)
    if not finite.any():
        raise DataError(explain(path, "holds no finite point (all NaN or infinite)", "copy the file again"))
    valid = finite & (points != 0).any(-1)
    z = -1 if depth else reading.order[0][2]  # the file's column that is depth, whatever its axes
    for value in reading.markers:
        near = np.isclose(points, np.float32(value), rtol=1e-5, atol=0)
        valid &= ~(near[..., z] | near.all(-1))
    check_points(path, valid)
    if depth:
        return _from_depth(path, array, valid, reading)
    order, signs = reading.order
    points = points[..., order] * np.array(signs, np.float32)
    points[~valid] = 0
    valid = believed(path, points, valid, reading)
    return mark_invalid(points * np.float32(_factor(path, points[valid], reading)), valid), valid


def believed(path: Path, points: Float32[np.ndarray, "H W 3"], valid: Bool[np.ndarray, "H W"],
             reading: Reading, scale: float = 1.0) -> Bool[np.ndarray, "H W"]:
    """The valid points, once nothing undeclared is seen. Raises DataError that says all that is seen, and what to give."""
    seen, give = [], []
    look = valid
    if reading.invalid != "none":
        found = suspicions.markers(points[valid])
        zero = [m for m in found if m.value == 0]  # no surface passes through the camera itself
        if zero:
            valid = look = valid & (points[..., 2] != 0)
        if found := [m for m in found if m.value != 0]:
            total = np.count_nonzero(valid)
            for m in found:
                seen.append(f"{m.count} of {total} points ({100 * m.count / total:.1f} %) lie {m.where}, which looks like a "
                            "marker of points not measured")
                look = look & (points[..., 2] != np.float32(m.value))
            declared = [f"{v:g}" for v in (*reading.markers, *(m.value / scale * reading.order[1][2] for m in found))]
            said = declared[0] if len(declared) == 1 else f"[{', '.join(declared)}]"
            give.append(f'invalid={said} (or invalid="none" where it is a surface)')
    if reading.units is None:
        name, long, deep = suspicions.unit(points[look])
        if name != "m":
            others = [n for n in ("cm", "mm", "um") if n != name]
            seen.append(f"does not look like metres ({suspicions.sizes(long, deep, 'm')}), rather like "
                        f"{' or '.join(suspicions.sizes(long, deep, n) for n in (name, *others[:1]))}")
            give.append(f'units="{name}" (or another of {", ".join(UNITS)}; "m" if it is right)')
    if reading.axes is None and (turned := suspicions.axes(points, look)):
        seen.append("its axes are not those of a camera (x to the right, y down, z forward)")
        give.append(f'axes="{turned}" (axes="x,y,z" keeps it as it is)')
    if seen:
        raise DataError(explain(path, ", and ".join(seen), f"give {' and '.join(give)}"))
    if np.count_nonzero(valid) < FEW * valid.size:
        warnings.warn(explain(path, f"only {np.count_nonzero(valid)} of {valid.size} points are valid", "look at the scan"),
                      stacklevel=4)
    return valid


def _factor(path: Path, points: Float32[np.ndarray, "N 3"], reading: Reading) -> float:
    """Metres of the unit of the points."""
    name = reading.units or "m"
    found, long, deep = suspicions.unit(points)
    if name == "auto":
        return UNITS[found]
    if name != "m" and suspicions.too_small(long, deep, name):
        raise DataError(explain(path, f"does not look like {suspicions.sizes(long, deep, name)}",
                                "give another unit, or leave units out if it is in metres"))
    return UNITS[name]


def depth_without_camera(path: Path) -> DataError:
    """The error for depth pictures in the place of clouds, without a camera."""
    return DataError(explain(path, "is a depth picture, one number a pixel; points need the focal length and centre of its "
                                   "camera", f'give intrinsics="camera.json" (fx, fy, cx, cy), or: {CONVERT}'))


def _from_depth(path: Path, array: np.ndarray, valid: Bool[np.ndarray, "H W"], reading: Reading) -> Cloud:
    """Points of a depth picture. Raises DataError, also where nothing says what a step of it is."""
    from mmadlib.data.camera import points_of
    from mmadlib.data.intrinsics import read_camera

    assert reading.intrinsics is not None
    if array.dtype == np.uint16:
        valid = valid & (array != SATURATED)
    scale = reading.depth_scale or UNITS.get(str(reading.units))
    camera, whole = read_camera(Path(reading.intrinsics), size=array.shape, depth_scale=scale), array.dtype.kind != "f"
    units: str | None = "m"
    if scale is None:
        scale, units = (camera.depth_scale if whole else 1.0), None if whole else reading.units
    if scale is None:
        raise DataError(explain(path, f"holds {array.dtype} steps of depth, and neither the intrinsics nor an option says how "
                                      "long a step is", 'give depth_scale=0.001 (metres a step) or units="mm"'))
    xyz = points_of(np.where(valid, array, 0).astype(np.float32) * np.float32(scale), camera)
    valid = (xyz != 0).any(-1)
    check_points(path, valid)
    reading = replace(reading, units=units, axes="x,y,z")
    valid = believed(path, xyz, valid, reading, scale)
    return mark_invalid(xyz * np.float32(_factor(path, xyz[valid], reading)), valid), valid
