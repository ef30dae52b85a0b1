"""One capture on one grid, that of its depth: points by the depth camera, colours and mask from the picture of any camera."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float32, UInt8

from mmadlib.data.arrays import read_array
from mmadlib.data.camera import Camera, points_of
from mmadlib.data.clouds import SATURATED, believed, cloud_of
from mmadlib.data.convert.organised import KINDS as CLOUD_KINDS
from mmadlib.data.convert.organised import read_organised
from mmadlib.data.convert.register import Places, register, sample, sample_mask
from mmadlib.data.convert.sources import Capture
from mmadlib.data.images import MIN_POINTS, check_points, mark_invalid
from mmadlib.data.intrinsics import read_camera
from mmadlib.data.masks import open_picture_of_mask, read_own_mask
from mmadlib.data.pictures import on_grid, open_picture, to_rgb, upright
from mmadlib.data.reading import Reading
from mmadlib.errors import DataError, explain

PLAUSIBLE = (0.02, 30.0)  # metres, of the median depth of a part before a camera


@dataclass(frozen=True)
class Rules:
    """How captures are read; written into the manifest.

    intrinsics    file of the depth camera, camera its name there (read_camera); not needed for clouds
    depth_scale   metres a step of the depth; None: the intrinsics file says it
    colour        file of the camera of the pictures, colour_name its name there; None: the pictures have the view of the depth
    resample      pictures of another size show the same view: they are brought to the grid of the depth
    scaled        depth pictures show the whole view made smaller or larger (Camera.of_size)
    rectified     depth pictures are rectified: P of a ROS file counts
    units, invalid, axes, orientation, masks   see data.reading.Reading; units and axes are of clouds
    """

    intrinsics: str | None = None
    camera: str = ""
    depth_scale: float | None = None
    colour: str | None = None
    colour_name: str = ""
    resample: bool = False
    scaled: bool = False
    rectified: bool = False
    units: str | None = None
    invalid: float | tuple[float, ...] | str | None = None
    axes: str | None = None
    orientation: str = "auto"
    masks: str = "auto"

    def __post_init__(self) -> None:
        if isinstance(self.invalid, list):
            object.__setattr__(self, "invalid", tuple(self.invalid))

    @property
    def reading(self) -> Reading:
        return Reading(self.units, self.invalid, self.axes, depth_scale=self.depth_scale, orientation=self.orientation,
                       resample=self.resample, masks=self.masks)


def geometry(capture: Capture, how: Rules) -> tuple[Float32[np.ndarray, "H W 3"], Camera | None]:
    """The cloud in metres, and the camera of a depth picture. Raises DataError."""
    path = capture.geometry
    if path.suffix.lower() in CLOUD_KINDS:
        picture = upright(open_picture(capture.rgb), capture.rgb, (1, 1), "stored")
        return cloud_of(path, read_organised(path, (picture.height, picture.width)), how.reading)[0], None
    array = read_array(path)
    if array.ndim == 3:
        return cloud_of(path, array, how.reading)[0], None
    if how.intrinsics is None:
        raise DataError(explain(path, "is a depth picture; points need the focal length and centre of its camera",
                                "give intrinsics=... (--intrinsics cam.json, with fx, fy, cx, cy)"))
    camera = _camera(how, array.shape)
    scale = _scale(path, array, camera)
    metres = np.where(array == SATURATED, 0, array) if array.dtype == np.uint16 else array
    for marker in how.reading.markers:
        metres = np.where(np.isclose(metres, marker, rtol=1e-5, atol=0), 0, metres)
    xyz = points_of(metres.astype(np.float32) * np.float32(scale), camera)
    valid = (xyz != 0).any(-1)
    check_points(path, valid)
    valid = believed(path, xyz, valid, replace(how.reading, units="m", axes="x,y,z"), scale)
    return mark_invalid(xyz, valid), camera


@lru_cache(maxsize=8)
def _camera(how: Rules, size: tuple[int, int]) -> Camera:
    assert how.intrinsics is not None
    return read_camera(Path(how.intrinsics), how.camera, size=size, scaled=how.scaled, rectified=how.rectified,
                       depth_scale=how.depth_scale)


@lru_cache(maxsize=8)
def _colour_camera(how: Rules, size: tuple[int, int]) -> Camera:
    assert how.colour is not None
    camera = read_camera(Path(how.colour), how.colour_name, "colour", size, depth_scale=how.depth_scale or 1.0)  # not used
    if camera.extrinsics is None:
        raise DataError(explain(how.colour, "does not say where the colour camera is",
                                "add extrinsics, from the depth camera's frame to its own: rotation and translation, metres"))
    return camera


def _scale(path: Path, array: np.ndarray, camera: Camera) -> float:
    """Metres a step. Raises DataError where nobody says it, and where the part would be out of reach."""
    with np.errstate(invalid="ignore"):
        measured = array[np.isfinite(array) & (array > 0)]
    if not measured.size:
        raise DataError(explain(path, "holds no depth at all", "leave the part out or copy the file again"))
    middle = float(np.median(measured))
    would = f"the median depth is {middle * 0.001:g} m at 0.001 metres a step, {middle:g} m at 1.0"
    remedy = "give depth_scale=0.001 (--depth-scale 0.001) for millimetres, 1.0 for metres"
    if camera.depth_scale is None:
        raise DataError(explain(path, f"holds steps, and {camera.source} does not say how long one is; {would}", remedy))
    if not PLAUSIBLE[0] <= middle * camera.depth_scale <= PLAUSIBLE[1]:
        fault = f"has a median depth of {middle * camera.depth_scale:g} m at {camera.depth_scale:g} metres a step"
        raise DataError(explain(path, f"{fault}; {would}", remedy))
    return camera.depth_scale


Dressed = tuple[UInt8[np.ndarray, "H W 3"], Float32[np.ndarray, "H W 3"], Bool[np.ndarray, "H W"] | None]


def dressed(capture: Capture, xyz: Float32[np.ndarray, "H W 3"], camera: Camera | None, how: Rules) -> Dressed:
    """Picture, cloud and mask on the grid of the cloud; points that a colour camera does not see are invalid. DataError."""
    size, valid = xyz.shape[:2], (xyz != 0).any(-1)
    image = to_rgb(upright(open_picture(capture.rgb), capture.rgb, size, how.orientation), capture.rgb)
    if how.colour is None:
        rgb = np.array(on_grid(image, capture.rgb, size, how.resample, "picture"))
        return rgb, xyz, None if capture.gt is None else read_own_mask(capture.gt, valid, how.reading)
    colour = _colour_camera(how, (image.height, image.width))
    places, seen = register(xyz, camera, colour)
    if np.count_nonzero(seen) < MIN_POINTS:
        fault = f"shows {np.count_nonzero(seen)} of {np.count_nonzero(valid)} points"
        raise DataError(explain(capture.rgb, fault, "check the extrinsics of the colour camera: from the depth camera's frame "
                                                    "to its own, translation in metres"))
    xyz = np.where(seen[..., None], xyz, np.float32(0))
    return sample(np.array(image), places, seen), xyz, _moved_mask(capture, (image.height, image.width), places, seen, how)


def _moved_mask(capture: Capture, size: tuple[int, int], places: Places, seen: Bool[np.ndarray, "H W"],
                how: Rules) -> Bool[np.ndarray, "H W"] | None:
    """The mask on the grid of the depth; one of the picture's size was drawn on the picture, and moves with it."""
    if capture.gt is None:
        return None
    there = open_picture_of_mask(capture.gt)
    if (there.height, there.width) != size:
        return read_own_mask(capture.gt, seen, how.reading)
    return sample_mask(read_own_mask(capture.gt, np.ones(size, bool), how.reading), places, seen)
