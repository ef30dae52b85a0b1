"""The constants of the published preprocessing of MVTec 3D-AD."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from mmadlib.data import layout
from mmadlib.errors import SettingsError, unknown


@dataclass(frozen=True)
class Constants:
    """The published constants; lengths in metres."""

    rim: int = layout.RIM_WIDTH  # width in pixels of the four border strips where only the table is seen
    ransac_distance: float = 0.004
    ransac_points: int = 50  # per hypothesis
    ransac_iterations: int = 1000
    plane_distance: float = 0.005  # points closer to the plane than this are table
    cluster_eps: float = 0.006
    cluster_points: int = 30
    min_rim_points: int = layout.RIM_POINTS  # fewer, corners counted once: no table in view, or processed already


PUBLISHED = Constants()


def constants_from(given: dict[str, Any]) -> Constants:
    """Published constants with some replaced; SettingsError on an unknown name or a value that is not positive."""
    known = {f.name: f.default for f in fields(Constants)}
    for name, value in given.items():
        if name not in known:
            raise unknown("preprocessing constant", name, known)
        whole = isinstance(known[name], int)
        if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)) or not value > 0:
            raise SettingsError(f"preprocessing constant {name}={value!r}: expected a positive {'int' if whole else 'float'}")
    return Constants(**given)
