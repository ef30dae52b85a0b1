"""Points of a PLY file. Open3D reads it; what Open3D does not report, a file that ends early, is checked here."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import open3d as o3d
from jaxtyping import Float32

from mmadlib.errors import DataError, explain
from mmadlib.untrusted import regular

HEADER = 65536  # bytes within which a header ends
BYTES = {name: size for size, names in {1: "char uchar int8 uint8", 2: "short ushort int16 uint16",
                                        4: "int uint int32 uint32 float float32", 8: "double float64"}.items()
         for name in names.split()}


def read_ply(path: str | Path) -> Float32[np.ndarray, "N 3"]:
    """Points, N > 0, in file order and unit. Raises DataError when missing, truncated, empty, not finite."""
    path, size = Path(path), regular(path)
    try:
        with path.open("rb") as file:
            header = file.read(HEADER)
    except OSError as err:
        raise DataError(explain(path, f"cannot be read ({err.strerror})", "check the folder and the file name")) from None
    try:
        whole = size >= least_size(header)
    except (ValueError, IndexError):
        whole = False
    if not whole:
        raise DataError(explain(path, "is truncated or no PLY file", "copy the scan again"))
    with o3d.utility.VerbosityContextManager(o3d.utility.VerbosityLevel.Error):
        points = np.asarray(o3d.io.read_point_cloud(path, format="ply").points).astype(np.float32)
    if len(points) == 0 or not np.isfinite(points).all():
        raise DataError(explain(path, "holds no points or infinite ones", "copy the scan again"))
    return points


def least_size(header: bytes) -> float:
    """Bytes that a PLY file beginning like this has at least; infinite without a PLY header.

    Exact for binary files whose first element is a vertex of scalar properties, as scanners write them; in text, a number
    and a separator take two bytes. Raises ValueError or IndexError on a garbled header.
    """
    head, end, _ = header.partition(b"end_header")
    if not end or not head.startswith(b"ply"):
        return np.inf
    vertices, row, inside, binary = 0, 0, False, b"format binary" in head
    for line in head.decode("ascii", "replace").splitlines():
        words = line.split() or [""]
        if words[0] == "element":
            inside = words[1:2] == ["vertex"]
            vertices = int(words[2]) if inside else vertices
        elif inside and words[0] == "property":
            row += BYTES.get(words[1], 0) if binary else 2
    return len(head) + len(end) + vertices * max(row, 1)  # not even a list takes no byte
