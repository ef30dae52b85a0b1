"""The cameras within the values of a file, and one of them from its entries. The names of entries are in intrinsics.py."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from mmadlib.data.camera import Camera, Rigid
from mmadlib.data.lenses import lens
from mmadlib.data.matrices import number, numbers, rigid, square
from mmadlib.errors import DataError, explain

MATRIX = ("k", "cameramatrix", "intrinsicmatrix", "camk", "kmatrix", "intrinsics", "intrinsic", "cameraintrinsics",
          "cameraintrinsic")
PAIRS = (("focallength", "principalpoint"),)
LENS = ("d", "distortioncoefficients", "distcoeffs", "distortioncoeffs", "distcoefs", "distortion", "coeffs", "coefficients")
ONE_BY_ONE = ("k1", "k2", "p1", "p2", "k3", "k4", "k5", "k6")
KIND = ("distortionmodel", "model")
SIZES = (("width", "height"), ("imagewidth", "imageheight"), ("w", "h"))
SCALE = ("depthunits", "depthunit", "depthscale")
STEREO = (("m", "d"), ("k", "d"), ("cameramatrix", "distcoeffs"))  # OpenCV's stereo calibration: M1 D1 M2 D2 R T
PLACES = {"extrinsics": False, "extrinsic": False, "extrinsicmatrix": False, "tcncnm1": False, "depthtocolor": False,
          "depthtocolour": False, "depthtorgb": False, "colortodepth": True, "colourtodepth": True, "rgbtodepth": True}
LEVELS = 8
HANDED_ON = (*SCALE, *PLACES, *KIND, *(side for pair in SIZES for side in pair), "resolution", *LENS)


@dataclass(frozen=True)
class Found:
    """A camera within a file: its name there, its entries by folded name, and whose kind of file."""

    name: str
    values: Mapping
    kind: str = "plain"


def fold(name: Any) -> str:
    """The name of an entry as it is compared.

    >>> fold("Camera_Matrix"), fold("cameraMatrix")
    ('cameramatrix', 'cameramatrix')
    """
    return re.sub("[^a-z0-9]", "", str(name).lower())


def find(values: Any, source: str, name: str = "", above: Mapping | None = None, level: int = 0) -> Iterator[Found]:
    """All cameras; what stands beside them (size, lens, scale, place) counts for those that do not say it themselves."""
    if isinstance(values, list) and level < LEVELS:
        for i, inner in enumerate(values):
            if isinstance(inner, (dict, list)):
                said = next((inner[key] for key in ("name", "camera_name", "id") if key in inner), i) \
                    if isinstance(inner, dict) else i
                yield from find(inner, source, f"{name}.{said}".strip("."), above, level + 1)
    if not isinstance(values, Mapping) or level >= LEVELS:
        return
    own = {fold(key): value for key, value in values.items()}
    if len(own) < len(values):
        raise DataError(explain(source, f"holds two entries of one name among {', '.join(map(str, values))}", "keep one"))
    known = {**(above or {}), **own}
    stereo = [(m, d) for m, d in STEREO if isinstance(own.get(f"{m}1"), (list, Mapping))]  # a number k1 is of a lens
    if stereo:
        (m, d), second = stereo[0], {"extrinsics": {"rotation": own.get("r"), "translation": own.get("t")}}
        for digit, place in (("1", {}), ("2", second if {"r", "t"} <= {*own} else {})):
            if f"{m}{digit}" in own:
                yield Found(digit, known | place | {"k": own[f"{m}{digit}"], "d": own.get(f"{d}{digit}", [])})
    elif _is_camera(own):
        yield Found(name, known)
    else:
        handed = {key: value for key, value in known.items() if key in HANDED_ON}
        for key, value in values.items():
            same = fold(key) in MATRIX  # "intrinsics" within "depth" is the camera "depth"
            yield from find(value, source, name if same and name else f"{name}.{key}".strip("."), handed, level + 1)


def _is_camera(own: Mapping) -> bool:
    return {"fx", "fy"} <= {*own} or any(set(pair) <= {*own} for pair in PAIRS) or any(
        isinstance(own.get(name), list) or (isinstance(own.get(name), Mapping) and "data" in own[name]) for name in MATRIX)


def camera_of(found: Found, source: str, rectified: bool = False, scale_told: bool = False) -> Camera:
    """The camera of a mapping. Raises DataError."""
    values = found.values
    fx, fy, cx, cy = _lengths(values, source, rectified)
    width, height = _size(values, source)
    binned = [name for name in ("binningx", "binningy") if values.get(name, 0) not in (0, 1)]
    roi = values.get("roi")
    if binned or (isinstance(roi, Mapping) and any(roi.get(side) for side in ("x_offset", "y_offset"))):
        raise DataError(explain(source, "describes a picture that is binned or cut out (binning, roi)",
                                "give the numbers of the picture as it is, with binning 1 and no offset"))
    model, distortion = ("brown", ()) if rectified else lens(*_lens(values, source), source)
    return Camera(fx, fy, cx, cy, width, height, distortion, model, None if scale_told else _scale(values, source),
                  _place(values, source), name=found.name, source=source)


def _lengths(values: Mapping, source: str, rectified: bool) -> tuple[float, ...]:
    """fx fy cx cy."""
    if rectified:
        held = next((values[name] for name in ("p", "projectionmatrix") if name in values), None)
        twelve = numbers(held, source, "P") if held is not None else ()
        if len(twelve) != 12:
            raise DataError(explain(source, "has no projection matrix P of 3 x 4", "leave rectified (--rectified) away"))
        return twelve[0], twelve[5], twelve[2], twelve[6]
    if {"fx", "fy"} <= {*values}:
        centre = next((pair for pair in (("cx", "cy"), ("ppx", "ppy")) if {*pair} <= {*values}), None)
        if centre is None:
            raise DataError(explain(source, "has no principal point", "give cx and cy in pixels"))
        return tuple(number(values[name], source, name) for name in ("fx", "fy", *centre))
    for pair in PAIRS:
        if {*pair} <= {*values}:
            found = [numbers(values[name], source, name) for name in pair]
            if [len(one) for one in found] not in ([1, 2], [2, 2]):
                raise DataError(explain(source, f"{pair[0]}, {pair[1]} have not two numbers each", "give x and y of both"))
            return (*(found[0] * 2)[:2], *found[1])
    entry = next(name for name in MATRIX if isinstance(values.get(name), (list, Mapping)))
    if len(four := numbers(values[entry], source, entry)) == 4:
        return four
    matrix = square(values[entry], 3, source, entry)
    if abs(matrix[0, 1]) > 1e-6 * abs(matrix[0, 0]) or matrix[1, 0]:
        raise DataError(explain(source, f"{entry} has skew {matrix[0, 1]:g}", "calibrate without: cameras of today have none"))
    return float(matrix[0, 0]), float(matrix[1, 1]), float(matrix[0, 2]), float(matrix[1, 2])


def _size(values: Mapping, source: str) -> tuple[int, int]:
    """Width and height; 0, 0 where the file does not say."""
    pair = next((pair for pair in SIZES if {*pair} <= {*values}), None)
    found = tuple(number(values[side], source, side) for side in pair) if pair else (
        numbers(values["resolution"], source, "resolution") if "resolution" in values else (0.0, 0.0))
    if len(found) != 2 or any(side != int(side) for side in found):
        raise DataError(explain(source, f"has the size {found}", "two whole numbers are needed, width and height"))
    return int(found[0]), int(found[1])


def _lens(values: Mapping, source: str) -> tuple[str, tuple[float, ...]]:
    """Name and coefficients."""
    entry = next((name for name in LENS if values.get(name) is not None), "")
    kind, held = next((values[name] for name in KIND if name in values), ""), values.get(entry, [])
    if isinstance(held, Mapping) and "data" not in held:
        inner = {fold(key): value for key, value in held.items()}
        kind = next((inner[name] for name in KIND if name in inner), kind)
        held = next((inner[name] for name in LENS if name in inner), None)
        values = inner if held is None else values
    if held or held == 0:
        return str(kind), numbers(held, source, entry)
    named = [number(values.get(name, 0), source, name) for name in ONE_BY_ONE]
    return str(kind), tuple(named)


def _scale(values: Mapping, source: str) -> float | None:
    """Metres a step. RealSense and most programs write that, 0.001 or 0.0001; Open3D, TUM and others steps a metre, 1000 or
    5000; of what lies between, such as the 1.0 of BOP, which counts millimetres, nobody can tell."""
    entry = next((name for name in SCALE if values.get(name) is not None), "")
    if not entry:
        return None
    value = number(values[entry], source, entry)
    if value >= 100:
        return 1 / value
    if not 0 < value <= 0.1:
        raise DataError(explain(source, f"the depth scale is {value:g}, neither metres a step (0.001) nor its inverse (1000)",
                                "give metres a step: depth_scale=... (--depth-scale)"))
    return value


def _place(values: Mapping, source: str) -> Rigid | None:
    entry = next((name for name in PLACES if values.get(name) is not None), "")
    return rigid(values[entry], source, entry, by_column="ppx" in values, invert=PLACES[entry]) if entry else None
