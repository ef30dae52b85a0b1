"""The calibration that an Azure Kinect holds: k4a_device_get_raw_calibration, and calibration.json of a recording.

CalibrationInformation > Cameras: one each of Purpose CALIBRATION_CameraPurposeDepth and ...PhotoVideo (colour), with
SensorWidth, SensorHeight, Rt (from the device's frame to the camera's, rotation row by row, metres), MetricRadius, and
Intrinsics of 14 ModelParameters cx cy fx fy k1 k2 k3 k4 k5 k6 codx cody p2 p1. Lengths are parts of the sensor's sides,
counted from the corner of the upper left pixel; each mode of the camera bins the sensor and cuts a picture out. Source:
Azure-Kinect-Sensor-SDK, src/calibration/calibration.c and src/transformation/mode_specific_calibration.c.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmadlib.data.camera import Camera
from mmadlib.data.matrices import number, numbers, rigid
from mmadlib.errors import DataError, explain

ROOT = "CalibrationInformation"
PURPOSES = {"CALIBRATION_CameraPurposeDepth": "depth", "CALIBRATION_CameraPurposePhotoVideo": "color"}
MODELS = ("CALIBRATION_LensDistortionModelBrownConrady",)

# width and height of a picture -> those of the binned sensor, and what is cut off at the left and the top
MODES = {"depth": {(320, 288): ((512, 512), (96, 90)), (640, 576): ((1024, 1024), (192, 180)),
                   (512, 512): ((512, 512), (0, 0)), (1024, 1024): ((1024, 1024), (0, 0))},
         "color": {(1280, 720): ((1280, 960), (0, 120)), (1920, 1080): ((1920, 1440), (0, 180)),
                   (2560, 1440): ((2560, 1920), (0, 240)), (3840, 2160): ((3840, 2880), (0, 360)),
                   (2048, 1536): ((2048, 1536), (0, 0)), (4096, 3072): ((4096, 3072), (0, 0))}}
DEPTH_SCALE = 0.001  # "depth image pixels are in millimetres", k4a_capture_get_depth_image
UNKNOWN_RADIUS, USUAL_RADIUS = 1e-4, 1.7  # calibration.c: 0 stands for a radius that was not estimated


def cameras(values: Mapping, source: str) -> dict[str, Mapping]:
    """The cameras of a calibration by our name, "depth" and "color". Raises DataError when there is none."""
    inner = values[ROOT]
    listed = inner.get("Cameras") if isinstance(inner, Mapping) else None
    found = {PURPOSES[camera["Purpose"]]: camera for camera in listed or () if isinstance(camera, Mapping)
             and camera.get("Purpose") in PURPOSES} if isinstance(listed, list) else {}
    if not found:
        raise DataError(explain(source, f"{ROOT} holds no depth and no colour camera", "export the calibration again"))
    return found


def camera(values: Mapping, name: str, source: str, size: tuple[int, int] | None = None) -> Camera:
    """One camera for pictures of a size (rows, columns), which tells the mode; None: all pixels of its sensor.

    Raises DataError when a value is missing, the lens is another one, or no mode has this size.
    """
    inner = _mapping(values, "Intrinsics", source)
    parameters = numbers(inner.get("ModelParameters"), source, "ModelParameters")
    if len(parameters) != 14 or inner.get("ModelType") not in MODELS:
        raise DataError(explain(source, f"the {name} camera has {len(parameters)} parameters of {inner.get('ModelType')}",
                                f"14 of {MODELS[0]} are read"))
    cx, cy, fx, fy, k1, k2, k3, k4, k5, k6, codx, cody, p2, p1 = parameters
    if codx or cody:
        raise DataError(explain(source, f"the {name} camera's lens has a centre of its own", "that model is not read"))
    sides = [number(values.get(side), source, side) for side in ("SensorWidth", "SensorHeight")]
    picture = (size[1], size[0]) if size else max(MODES[name])
    (width, height), (left, top) = MODES[name].get(picture) or _no_mode(picture, name, source)
    if sides[0] * 9 == sides[1] * 16:  # an old calibration of the colour camera describes the middle of its sensor
        cy, fy = (cy * 2304 + 384) / 3072, fy * 2304 / 3072
    radius = number(values.get("MetricRadius", 0), source, "MetricRadius")
    return Camera(fx * width, fy * height, cx * width - left - 0.5, cy * height - top - 0.5, *picture,
                  (k1, k2, p1, p2, k3, k4, k5, k6), depth_scale=DEPTH_SCALE if name == "depth" else None,
                  extrinsics=rigid(_mapping(values, "Rt", source), source, f"Rt of the {name} camera"),
                  reach=radius if radius > UNKNOWN_RADIUS else USUAL_RADIUS, name=name, source=source)


def _no_mode(picture: tuple[int, int], name: str, source: str) -> Any:
    modes = ", ".join(f"{w} x {h}" for w, h in MODES[name])
    raise DataError(explain(source, f"an Azure Kinect has no {name} pictures of {picture[0]} x {picture[1]} pixels",
                            f"its modes have {modes}; a picture cut or resized needs an intrinsics file of its own"))


def _mapping(values: Mapping, name: str, source: str) -> Mapping:
    found = values.get(name)
    if not isinstance(found, Mapping):
        raise DataError(explain(source, f"a camera of it has no {name}", "export the calibration again"))
    return found
