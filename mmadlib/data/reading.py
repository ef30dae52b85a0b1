"""Reading: how the files of one's own parts are to be read, where they do not say so themselves.

Every field is a keyword of `mmadlib.data.parts.parts` and of load("folder", ...), and so an entry of `reader` in a sweep. What
is left out is looked at and never guessed in silence: a cloud in millimetres, or one with a marker, is an error that names the
field to give.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from mmadlib.checks import one_of
from mmadlib.errors import SettingsError
from mmadlib.untrusted import parse_yaml

UNITS = {"m": 1.0, "cm": 1e-2, "mm": 1e-3, "um": 1e-6}  # name -> metres
ORIENTATIONS = ("auto", "stored", "exif")
MASKS = ("auto", "white", "black")
MASK_RULES = ("nearest", "any")
AXES = tuple(sign + name for name in "xyz" for sign in ("", "-"))


@dataclass(frozen=True)
class Reading:
    """How files are read. Raises SettingsError or UnknownName for a value that means nothing.

    units        of clouds and of depth: m | cm | mm | um, believed; "auto": as every cloud looks; None: metres, and an error
                 where they do not look like it
    invalid      a number, or several, that mark points not measured, in the unit of the file: a point is invalid where z, or
                 all three coordinates, have this value; "none": there is no such marker, whatever it looks like
    axes         the file's axes in the order of the camera frame (x right, y down, z forward), e.g. "x,-y,-z" for a file with
                 y up and z backward, "-y,-z,x" for x forward, y left, z up; "x,y,z": as they are, whatever it looks like
    intrinsics   file that describes the depth camera: xyz/ (or depth/) holds depth pictures
    depth_scale  metres of one step of the depth pictures; None: the intrinsics file or `units` says
    orientation  of pictures that are stored turned, by their EXIF orientation: auto (as the cloud lies; an error where both
                 ways fit) | stored (as the pixels are) | exif (as viewers show them)
    resample     whether a picture, or a mask, of another size shows the same view: it is brought to the grid of the cloud
    masks        auto (white marks the defect; an error where it covers most of the part) | white | black (marks the defect)
    mask_rule    how masks are reduced to the grid of the features: nearest (as published; defects between its pixels vanish) |
                 any (a pixel that covers a defect pixel is defect)
    isolated     whether the background is (0, 0, 0) already; None: the rim of every cloud tells
    """

    units: str | None = None
    invalid: float | tuple[float, ...] | str | None = None
    axes: str | None = None
    intrinsics: str | Path | None = field(default=None, repr=False)  # a path says nothing of what is in it
    depth_scale: float | None = None
    orientation: str = "auto"
    resample: bool = False
    masks: str = "auto"
    mask_rule: str = "nearest"
    isolated: bool | None = None

    def __post_init__(self) -> None:
        if self.units is not None:
            one_of("units", self.units, (*UNITS, "auto"))
        one_of("orientation", self.orientation, ORIENTATIONS)
        one_of("masks", self.masks, MASKS)
        one_of("mask_rule", self.mask_rule, MASK_RULES)
        if isinstance(self.invalid, Iterable) and not isinstance(self.invalid, str):
            object.__setattr__(self, "invalid", tuple(self.invalid))
        if self.invalid is not None and self.invalid != "none" and not all(map(_number, self.markers)):
            raise SettingsError(f"invalid={self.invalid!r}: a number such as -1, a list of numbers, or 'none'")
        if self.axes is not None:
            named = [name.strip() for name in str(self.axes).split(",")]
            if sorted(name[-1:] for name in named) != ["x", "y", "z"] or not set(named) <= set(AXES):
                raise SettingsError(f"axes={self.axes!r}: x, y and z, each once, with a minus where turned, such as 'x,-y,-z'")
            object.__setattr__(self, "axes", ",".join(named))
        if self.depth_scale is not None and not (_number(self.depth_scale) and self.depth_scale > 0):
            raise SettingsError(f"depth_scale={self.depth_scale!r}: metres of one step, such as 0.001 for millimetres")
        for name in ("resample", "isolated"):
            if not (isinstance(value := getattr(self, name), bool) or (value is None and name == "isolated")):
                raise SettingsError(f"{name}={value!r}: expected True or False")

    @property
    def markers(self) -> tuple[Any, ...]:
        """The values of `invalid`."""
        if self.invalid is None or self.invalid == "none":
            return ()
        return self.invalid if isinstance(self.invalid, tuple) else (self.invalid,)

    @property
    def order(self) -> tuple[tuple[int, ...], tuple[float, ...]]:
        """Columns of the file in the order of the camera frame, and their signs."""
        named = (self.axes or "x,y,z").split(",")
        return tuple("xyz".index(n[-1]) for n in named), tuple(-1.0 if n[0] == "-" else 1.0 for n in named)


AS_IT_IS = Reading()


def reading_of(options: dict[str, Any]) -> Reading:
    """A Reading from keywords. Raises UnknownName for one that it does not have."""
    for name in options:
        one_of("option of reading", name, [f.name for f in fields(Reading)])
    return Reading(**options)


def reading_from(pairs: Iterable[str]) -> dict[str, Any]:
    """Keywords of a Reading from texts as on a command line, "units=mm", "invalid=-1", "invalid=[-1, 2.5]".

    Raises SettingsError or UnknownName.
    """
    options: dict[str, Any] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        try:
            options[name] = parse_yaml(text)
        except ValueError:
            equals = ""
        if not equals:
            raise SettingsError(f"{pair}: expected key=value, such as units=mm")
    reading_of(options)
    return options


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
