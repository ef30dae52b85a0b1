"""A camera from the file that a camera's program, a calibration or a person wrote, JSON or YAML.

    matrix       K, k, camera_matrix, cameraMatrix, cam_K, intrinsic_matrix, intrinsics: 3 x 3 in rows or flat (Open3D's by
                 column), OpenCV's matrix of rows, cols and data, or four numbers fx fy cx cy (Kalibr)
    numbers      fx fy with cx cy, or with ppx ppy as librealsense's rs2_intrinsics; focal_length, principal_point
    size         width height, image_width image_height, resolution (width first)
    lens         D, dist_coeffs, distortion_coefficients, distortion, coeffs, or k1 k2 p1 p2 k3 ..., of the kind that
                 distortion_model or model names, see mmadlib.data.lenses
    depth        depth_units or depth_scale; see `_scale` for the two senses in use
    place        extrinsics, depth_to_color (from the depth camera's frame to this one's), color_to_depth, T_cn_cnm1, R and T
                 of OpenCV's stereo calibration: mmadlib.data.matrices.rigid

Sources: sensor_msgs/CameraInfo and the calibration files of ROS' camera_calibration; librealsense rs_types.h; OpenCV
FileStorage; Open3D PinholeCameraIntrinsic; mmadlib.data.azure. Case and underscores of names do not matter. A file of several
cameras holds them by name, in a list, or by a digit behind M and D.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from mmadlib.data import azure
from mmadlib.data.camera import Camera
from mmadlib.data.entries import Found, camera_of, find
from mmadlib.errors import DataError, explain
from mmadlib.untrusted import parse_json, parse_yaml, read_text

ROLES = {"depth": ("depth", "stereo", "infra1", "cam0", "left"), "colour": ("color", "colour", "rgb")}
KINDS = (".json", ".yaml", ".yml")
REMEDY = "give a JSON or YAML file with fx, fy, cx, cy in pixels, width, height and depth_units in metres"
# what OpenCV writes and YAML does not know: its own version line, and the kind of its matrices; and the line by which
# `ros2 topic echo` ends a message
_FOREIGN = re.compile(r"^%YAML:1\.[0-9]\s*$|!!opencv-(?:nd-)?matrix\b|\n---\s*\Z", re.MULTILINE)


def read_camera(path: str | Path, camera: str = "", role: str = "depth", size: tuple[int, int] | None = None,
                scaled: bool = False, rectified: bool = False, depth_scale: float | None = None) -> Camera:
    """The camera of a file.

    camera       its name in a file of several, a part of it will do; empty: the one whose name says its role
    role         depth | colour
    size         rows and columns of its pictures, checked; it tells the mode of an Azure Kinect
    scaled       they show the whole view made smaller or larger, see Camera.of_size
    rectified    they were rectified (ROS image_rect): P counts, and no lens
    depth_scale  metres a step, in place of what the file says

    Raises DataError when the file is missing or no JSON or YAML, holds no such camera or impossible values.
    """
    source = str(path)
    found = _choose(_cameras(read_values(path), source), camera, role, source)
    if found.kind == "azure":
        made = azure.camera(found.values, found.name, source, size)
    else:
        made = camera_of(found, source, rectified, scale_told=depth_scale is not None)
        made = replace(made, extrinsics=None) if role == "depth" else made  # its frame is the one of reference
    if depth_scale is not None:
        made = replace(made, depth_scale=depth_scale)
    return made.of_size(*size, scaled=scaled) if size else made


def read_values(path: str | Path) -> Any:
    """Plain values of a JSON or YAML file, OpenCV's FileStorage included. Raises DataError."""
    suffix = Path(path).suffix.lower()
    if suffix not in KINDS:
        raise DataError(explain(path, "is no JSON or YAML by its name", REMEDY))
    text = read_text(path, remedy=REMEDY).rstrip("\0")  # the Azure Kinect's calibration ends in one
    try:
        return parse_json(text) if suffix == ".json" else parse_yaml(_FOREIGN.sub("", text))
    except ValueError as err:
        raise DataError(explain(path, f"is not {'JSON' if suffix == '.json' else 'YAML'} of plain values ({err})",
                                REMEDY)) from None


def _cameras(values: Any, source: str) -> list[Found]:
    if isinstance(values, Mapping) and azure.ROOT in values:
        return [Found(name, inner, "azure") for name, inner in azure.cameras(values, source).items()]
    found = list(find(values, source))
    if not found:
        there = ", ".join(map(str, values)) if isinstance(values, Mapping) else "no named values"
        raise DataError(explain(source, f"holds no focal length and no camera matrix, but {there[:200] or 'nothing'}", REMEDY))
    return found


def _choose(found: list[Found], camera: str, role: str, source: str) -> Found:
    """The camera asked for, or the only one, or the only one whose name says its role."""
    names = ", ".join(repr(one.name) for one in found)
    if camera:
        fits = [one for one in found if one.name.casefold() == camera.casefold()]
        fits = fits or [one for one in found if camera.casefold() in one.name.casefold()]
    else:
        fits = found if len(found) == 1 else _of_role(found, role)
    if len(fits) != 1:
        fault = f"holds {'several cameras' if fits or not camera else f'no camera {camera!r}'}: {names}"
        raise DataError(explain(source, fault, "name one: camera=... of convert depth (--camera, or --colour-name)"))
    return fits[0]


def _of_role(found: list[Found], role: str) -> list[Found]:
    for word in ROLES[role]:
        if fits := [one for one in found if word in one.name.casefold()]:
            return fits
    return []
