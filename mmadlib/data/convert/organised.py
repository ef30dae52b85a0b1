"""Organised clouds in PLY and PCD files: a point for every pixel of a picture, row by row. Open3D reads the points.

PCD says its rows and columns (WIDTH, HEIGHT; pointclouds.org, "The PCD file format"). PLY has no entry for them; range
scanners write "obj_info num_cols", "num_rows", other programs a point for every pixel of the picture, those without a
measurement as zeros or NaN. A cloud whose points are just a list has no rows, and no picture can be laid over it.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from mmadlib.data.images import PIXELS
from mmadlib.errors import DataError, explain
from mmadlib.untrusted import regular

KINDS = (".ply", ".pcd")
HEADER = 65536  # bytes within which a header ends
NEAR = 0.1  # of the cloud's extent: neighbours in a row lie closer, points in another order do not
HELP = ("export it as organised (PCD with WIDTH and HEIGHT, PLY with a point for every pixel, invalid ones as zeros or NaN), "
        "or export the depth picture with its intrinsics")


def read_organised(path: Path, picture: tuple[int, int] | None = None) -> Float32[np.ndarray, "H W 3"]:
    """The points in the unit of the file, NaN where the file has it.

    picture: rows and columns of its picture, which a PLY of as many points is taken to have. Raises DataError when the file is
    missing, truncated, damaged, or just a list of points.
    """
    regular(path)
    try:
        with path.open("rb") as file:
            header = file.read(HEADER)
    except OSError as err:
        raise DataError(explain(path, f"cannot be read ({err.strerror})", "check the file and its permissions")) from None
    pcd = path.suffix.lower() == ".pcd"
    count, shape = _pcd(path, header) if pcd else _ply(path, header)
    if shape is None and picture and count == picture[0] * picture[1]:
        shape = picture
    if shape is None or min(shape) < 2 or shape[0] * shape[1] != count:
        more = f", not the {picture[0]} x {picture[1]} of its picture" if picture and not pcd else ""
        raise DataError(explain(path, f"is a list of {count} points without rows and columns{more}", HELP))
    if count > PIXELS:
        raise DataError(explain(path, f"has {count} points, more than the {PIXELS} of the largest scans", "scale it down"))
    points = _points(path)
    if len(points) != count:
        raise DataError(explain(path, f"says that it has {count} points and holds {len(points)}", "copy the file again"))
    cloud = points.astype(np.float32).reshape(*shape, 3)
    _check_order(path, cloud)
    return cloud


def _pcd(path: Path, header: bytes) -> tuple[int, tuple[int, int]]:
    """Points, and rows and columns, by the header of a PCD file."""
    said = {}
    for line in header.decode("ascii", "replace").splitlines():
        name, _, value = line.strip().partition(" ")
        if name == "DATA":
            break
        said[name] = value.strip()
    try:
        width, height = int(said["WIDTH"]), int(said["HEIGHT"])
    except (KeyError, ValueError):
        raise DataError(explain(path, "is truncated or no PCD file", "copy the file again")) from None
    return width * height, (height, width)  # a list of points has one row


def _ply(path: Path, header: bytes) -> tuple[int, tuple[int, int] | None]:
    """Points, and rows and columns where it says them, by the header of a PLY file."""
    from mmadlib.data.convert.ply import least_size  # here: it loads Open3D

    head = header.partition(b"end_header")[0].decode("ascii", "replace")
    found = re.search(r"^element vertex (\d+)\s*$", head, re.MULTILINE)
    try:
        whole = path.stat().st_size >= least_size(header)
    except (ValueError, IndexError):
        whole = False
    if not found or not whole:
        raise DataError(explain(path, "is truncated or no PLY file", "copy the file again"))
    sides = {name: int(value) for name, value in re.findall(r"^(?:obj_info|comment) (\w+)[ :=]+(\d+)\s*$", head, re.MULTILINE)}
    for rows, columns in (("num_rows", "num_cols"), ("height", "width")):
        if rows in sides and columns in sides:
            return int(found[1]), (sides[rows], sides[columns])
    return int(found[1]), None


def _points(path: Path) -> np.ndarray:
    import open3d as o3d

    with o3d.utility.VerbosityContextManager(o3d.utility.VerbosityLevel.Error):
        cloud = o3d.io.read_point_cloud(path, format=path.suffix.lower()[1:], remove_nan_points=False,
                                        remove_infinite_points=False)
    return np.asarray(cloud.points)


def _check_order(path: Path, cloud: Float32[np.ndarray, "H W 3"]) -> None:
    """Raise DataError unless neighbours in rows and columns are neighbours in space."""
    valid = np.isfinite(cloud).all(-1) & (cloud != 0).any(-1)
    if valid.sum() < 2:
        raise DataError(explain(path, "holds no points", "copy the scan again"))
    extent = np.linalg.norm(np.ptp(cloud[valid], axis=0))
    for axis, both in ((0, valid[1:] & valid[:-1]), (1, valid[:, 1:] & valid[:, :-1])):
        steps = np.linalg.norm(np.diff(cloud, axis=axis)[both], axis=-1)
        if steps.size and np.median(steps) > NEAR * extent:
            raise DataError(explain(path, f"is a list of {valid.size} points in another order than that of pixels", HELP))
