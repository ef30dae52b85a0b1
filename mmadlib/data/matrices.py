"""Numbers, matrices and rigid movements as camera files hold them. Every fault is one DataError that names file and entry.

OpenCV's FileStorage writes a matrix as a mapping of rows, cols, dt and data, row by row; Open3D (PinholeCameraIntrinsic) and
librealsense (rs2_extrinsics) write flat lists column by column. Which it is can be seen of a camera matrix and of a (4, 4)
movement by their last row; of nine numbers of a rotation it cannot, so the caller says it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import isfinite
from typing import Any

import numpy as np

from mmadlib.data.camera import Rigid
from mmadlib.errors import DataError, explain

FARTHEST = 1.0  # metres between two cameras that look at one part; more are millimetres
ORTHOGONAL = 1e-3


def number(value: Any, source: str, entry: str) -> float:
    """A finite number. Raises DataError."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not isfinite(value):
        raise DataError(explain(source, f"{entry} is {str(value)[:40]!r}", "a finite number is needed"))
    return float(value)


def numbers(value: Any, source: str, entry: str) -> tuple[float, ...]:
    """All numbers of a list, a list of lists or a matrix of OpenCV, in the order of the file; a number alone is one."""
    rows = value.get("data") if isinstance(value, Mapping) else value
    return tuple(number(v, source, entry) for v in _flat(rows))


def _flat(value: Any) -> Iterator[Any]:
    if isinstance(value, list):
        for inner in value:
            yield from _flat(inner)
    else:
        yield value


def square(value: Any, side: int, source: str, entry: str) -> np.ndarray:
    """(side, side), whose last row is zeros and a 1; turned over where that is the last column. Raises DataError."""
    found = numbers(value, source, entry)
    if len(found) != side * side:
        raise DataError(explain(source, f"{entry} has {len(found)} numbers", f"a {side} x {side} matrix has {side * side}"))
    matrix, last = np.reshape(found, (side, side)), np.eye(side)[-1]
    for turned in (matrix, matrix.T):
        if np.allclose(turned[-1], last, atol=1e-9):
            return turned
    raise DataError(explain(source, f"{entry} ends neither by row nor by column in {', '.join(f'{v:g}' for v in last)}",
                            "give the matrix of the camera, not that of a projection or its inverse"))


def rigid(value: Any, source: str, entry: str, by_column: bool = False, invert: bool = False) -> Rigid:
    """A movement (4, 4), metres, from a (4, 4) matrix or a mapping of rotation and translation.

    by_column: nine numbers of a rotation in one list go column by column. Raises DataError, also when it is no rotation, or
    so far that it must be in millimetres.
    """
    if isinstance(value, Mapping) and "data" not in value:
        turn, shift = _parts(value, source, entry)
        flat = isinstance(turn, list) and not any(isinstance(v, list) for v in turn)
        moved: np.ndarray = np.eye(4)
        rotation = numbers(turn, source, f"{entry} rotation")
        translation = numbers(shift, source, f"{entry} translation")
        if (len(rotation), len(translation)) != (9, 3):
            raise DataError(explain(source, f"{entry} has {len(rotation)} and {len(translation)} numbers",
                                    "a rotation has nine and a translation three"))
        moved[:3, :3] = np.reshape(rotation, (3, 3)).T if by_column and flat else np.reshape(rotation, (3, 3))
        moved[:3, 3] = translation
    else:
        moved = square(value, 4, source, entry)
    turned = moved[:3, :3]
    if not np.allclose(turned @ turned.T, np.eye(3), atol=ORTHOGONAL) or np.linalg.det(turned) < 0:
        raise DataError(explain(source, f"{entry} holds no rotation", "its columns are of length 1 and at right angles"))
    if (length := float(np.linalg.norm(moved[:3, 3]))) > FARTHEST:
        raise DataError(explain(source, f"{entry} moves by {length:g} m", "the translation is in metres, not millimetres"))
    return tuple(tuple(map(float, row)) for row in (np.linalg.inv(moved) if invert else moved))


def _parts(value: Mapping, source: str, entry: str) -> tuple[Any, Any]:
    named = {str(name).lower(): v for name, v in value.items()}
    turn, shift = (next((named[n] for n in names if n in named), None) for names in (("rotation", "r"), ("translation", "t")))
    if turn is None or shift is None:
        raise DataError(explain(source, f"{entry} has no rotation and translation", "give both, or a 4 x 4 matrix"))
    return turn, shift
