"""Samples as the program of a depth camera would have stored them: the way back of `convert depth`, to try it without one.

    <dst>/rgb/000.jpg       colour, 8 bits
    <dst>/depth/000.png     depth along the camera's axis in whole steps, 16 bits, 0 where nothing came back
    <dst>/camera.json       the camera in the fields of librealsense's rs2_intrinsics, and metres a step
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import UInt16
from PIL import Image

from mmadlib.atomic import atomic, unwritable
from mmadlib.data.camera import Camera
from mmadlib.errors import DataError, explain
from mmadlib.paths import here
from mmadlib.sample import Sample
from mmadlib.untrusted import read_mapping

QUALITY = 95  # of the JPEG: what inspection programs take when they take JPEG
STEPS = np.iinfo(np.uint16).max
PIXEL_ERROR = 0.05  # pixels: a cloud farther from the camera's rays was not taken by it


def mvtec_camera(path: str | Path, depth_scale: float | None = None) -> Camera:
    """The camera of calibration/camera_parameters.json, as MVTec 3D-AD describes it: focus in m, sx and sy in m per pixel.

    The rendered data has such a file, too. Raises DataError where the file lacks a number, or has a lens that bends (kappa).
    """
    told = read_mapping(path)
    try:
        focus, sx, sy, cx, cy, kappa = (float(told[name]) for name in ("focus", "sx", "sy", "cx", "cy", "kappa"))
        width, height = int(told["image_width"]), int(told["image_height"])
        fx, fy = focus / sx, focus / sy
    except (KeyError, TypeError, ValueError, ZeroDivisionError) as err:
        raise DataError(explain(path, f"is no calibration of MVTec 3D-AD ({type(err).__name__}: {err})",
                                "focus, sx, sy, cx, cy, kappa, image_width and image_height are needed")) from None
    if kappa:
        raise DataError(explain(path, f"describes a lens that bends (kappa {kappa:g})", "give the ideal camera of the points"))
    return Camera(fx, fy, cx, cy, width, height, depth_scale=depth_scale, source=str(path))


def capture(samples: Sequence[Sample], dst: str | Path, camera: Camera) -> Path:
    """Write samples as numbered captures of one camera, which names its `depth_scale`; returns the camera's file.

    What was not measured has depth 0; masks and labels are not written: a camera knows none. Raises DataError for a sample of
    another size, of points off the camera's rays or farther away than 16 bits reach, OutputError where nothing can be written.
    """
    dst = here(dst)
    told = {"width": camera.width, "height": camera.height, "fx": camera.fx, "fy": camera.fy, "ppx": camera.cx,
            "ppy": camera.cy, "model": "none", "coeffs": [0.0] * 5, "depth_scale": camera.depth_scale}
    try:
        for number, sample in enumerate(samples):
            steps = depth_steps(sample, camera)
            with atomic(dst / "rgb" / f"{number:03d}.jpg") as path:
                Image.fromarray(sample.rgb).save(path, quality=QUALITY)
            with atomic(dst / "depth" / f"{number:03d}.png") as path:
                Image.fromarray(steps).save(path)
        with atomic(dst / "camera.json") as path:
            path.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    except OSError as err:
        raise unwritable(dst, err) from None
    return dst / "camera.json"


def depth_steps(sample: Sample, camera: Camera) -> UInt16[np.ndarray, "H W"]:
    """Depth of a sample in steps of `camera.depth_scale` metres, 0 where it is not valid. Raises DataError."""
    where, scale = sample.path or "sample", camera.depth_scale
    if sample.size != (camera.height, camera.width) or scale is None or not camera.ideal:
        raise DataError(explain(where, f"has {sample.size[1]} x {sample.size[0]} pixels, the camera {camera.width} x "
                                f"{camera.height} and the depth scale {scale}", "give the ideal camera that took it"))
    points = sample.xyz[sample.valid].astype(np.float64)
    row, column = np.nonzero(sample.valid)
    off = np.hypot(points[:, 0] / points[:, 2] * camera.fx + camera.cx - column,
                   points[:, 1] / points[:, 2] * camera.fy + camera.cy - row)
    if off.max(initial=0) > PIXEL_ERROR:
        raise DataError(explain(where, f"has points up to {off.max():.1f} pixels off the camera's rays",
                                "give the camera that took it"))
    steps = np.round(sample.xyz[..., 2].astype(np.float64) / scale)
    if steps.max(initial=0) > STEPS:
        raise DataError(explain(where, f"is {sample.xyz[..., 2].max():.2f} m deep, more than {STEPS} steps of {scale} m",
                                "give a larger depth_scale"))
    return np.where(sample.valid, steps, 0).astype(np.uint16)
