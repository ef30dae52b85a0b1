"""The lens of a camera by the name that its file gives it.

ROS         sensor_msgs/CameraInfo, distortion_model: plumb_bob, rational_polynomial, equidistant
RealSense   librealsense, rs_types.h, rs2_distortion: none, brown_conrady, modified_brown_conrady, inverse_brown_conrady,
            kannala_brandt4, ftheta; five coefficients k1 k2 p1 p2 k3, for a fisheye k1 k2 k3 k4 0
Kalibr      radtan, equidistant;   OpenCV writes no name, its calibration is the polynomial
"""

from __future__ import annotations

import re

from mmadlib.errors import DataError, explain

BROWN = ("", "plumbbob", "rationalpolynomial", "brownconrady", "modifiedbrownconrady", "radtan", "opencv", "brown", "pinhole",
         "radialtangential")
FISHEYE = ("equidistant", "fisheye", "kannalabrandt", "kannalabrandt4", "opencvfisheye")
INVERSE = ("inversebrownconrady",)
TANGENTIAL = slice(2, 4)


def lens(name: str, coefficients: tuple[float, ...], source: str) -> tuple[str, tuple[float, ...]]:
    """(model, distortion) of mmadlib.data.camera.Camera. A lens that does nothing has no coefficients, whatever its name.

    Raises DataError for a kind that OpenCV does not describe.
    """
    if not any(coefficients):
        return "brown", ()
    kind = re.sub("[^a-z0-9]", "", name.lower().rpartition(".")[2]).removeprefix("rs2distortion")
    if kind in FISHEYE:
        return "fisheye", _padded(coefficients, 4)
    if kind in INVERSE:
        return "inverse", _padded(coefficients, 5)
    if kind == "modifiedbrownconrady" and any(coefficients[TANGENTIAL]):
        raise DataError(explain(source, f"the lens {name!r} has tangential coefficients, which OpenCV applies in another way",
                                "have the camera's program remove the lens, or calibrate it with OpenCV"))
    if kind not in BROWN:
        raise DataError(explain(source, f"has a lens of the kind {name!r}",
                                "known are plumb_bob, rational_polynomial, equidistant, brown_conrady, inverse_brown_conrady, "
                                "kannala_brandt4; have the camera's program remove another one"))
    return "brown", _padded(coefficients, 5, 8, 12)


def _padded(coefficients: tuple[float, ...], *counts: int) -> tuple[float, ...]:
    """Without the zeros by which files pad to a fixed length."""
    return next((coefficients[:count] for count in counts if not any(coefficients[count:])), coefficients)
