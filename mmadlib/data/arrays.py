"""Arrays of points and of depth as stored: TIFF, .npy without pickle, depth as PNG. One DataError names the file."""

from __future__ import annotations

import warnings
from math import prod
from pathlib import Path

import numpy as np
import tifffile
from PIL import Image

from mmadlib.data.images import PIXELS
from mmadlib.errors import DataError, explain
from mmadlib.untrusted import regular

KINDS = (".tif", ".tiff", ".npy")  # of clouds, and of depth
DEPTH_KINDS = (*KINDS, ".png")
_COPY = "copy the file again"
CONVERT = ("python -m mmadlib convert depth SRC DST --intrinsics FILE makes clouds of depth pictures and of organised .ply "
           "and .pcd files")
UNORGANISED = "a cloud has rows and columns, (H, W, 3): export it as organised (a point for every pixel), or as depth"


def read_array(path: Path) -> np.ndarray:
    """The array of a file, (H, W, 3) or (H, W), as stored. Raises DataError for another shape, or values of another kind."""
    regular(path)
    suffix = path.suffix.lower()
    try:
        array = np.asarray(_npy(path) if suffix == ".npy" else _png(path) if suffix == ".png" else _tiff(path))
    except DataError:
        raise
    except Exception as err:  # tifffile raises what its codecs raise
        kind = {".npy": ".npy array", ".png": "picture"}.get(suffix, "TIFF")
        remedy = "install imagecodecs" if "imagecodecs" in str(err) else _COPY
        raise DataError(explain(path, f"is truncated or no {kind} ({' '.join(str(err).split())})", remedy)) from None
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[..., 0]
    if array.ndim == 2 and array.shape[1] == 3:
        raise DataError(explain(path, f"has shape {array.shape}: a list of points without rows and columns", UNORGANISED))
    if array.ndim == 3 and array.shape[0] == 3 and array.shape[2] != 3:
        fault = f"has shape {array.shape}: coordinates come first"
        raise DataError(explain(path, fault, "store numpy.moveaxis(cloud, 0, -1)"))
    if array.ndim != 2 and array.shape[2:] != (3,):
        raise DataError(explain(path, f"has shape {array.shape}", "an organised cloud has three channels, (H, W, 3)"))
    if array.dtype.kind not in "fiu":
        raise DataError(explain(path, f"holds {array.dtype} values", "coordinates must be floating point, float32 metres"))
    return array


def _check_size(path: Path, shape: tuple[int, ...]) -> None:
    if prod(shape) > 3 * PIXELS:
        raise DataError(explain(path, f"has {' x '.join(map(str, shape))} values, more than the {3 * PIXELS} of the largest "
                                      "scans", "scale it down; the limit is mmadlib.data.images.PIXELS"))


def _npy(path: Path) -> np.ndarray:
    """An array of numbers; objects would need pickle, which runs what the file says."""
    with warnings.catch_warnings(action="ignore"):
        array = np.lib.format.open_memmap(path, mode="r")
    if array.dtype.hasobject or array.dtype.kind not in "fiu":
        raise DataError(explain(path, f"holds {array.dtype} values", "coordinates must be floating point, float32 metres"))
    _check_size(path, array.shape)
    return np.array(array)


def _png(path: Path) -> np.ndarray:
    with warnings.catch_warnings(action="ignore"), Image.open(path, formats=("PNG",)) as image:
        _check_size(path, (image.height, image.width))
        if not image.mode.startswith("I"):
            raise DataError(explain(path, f"holds {image.mode} pixels of 8 bits or fewer, no depth",
                                    "store depth as a 16-bit grey picture; an 8-bit copy has lost it"))
        return np.array(image, dtype=np.uint16)


def _tiff(path: Path) -> np.ndarray:
    """The first picture of a TIFF, unpacked once its header says that it is no larger than a scan (data.images)."""
    with tifffile.TiffFile(path, is_ome=False, is_mmstack=False, is_ndtiff=False) as file:
        page = file.pages.first
        assert isinstance(page, tifffile.TiffPage)
        tile = (page.tilelength, page.tilewidth) if page.is_tiled else ()
        for sides in (tile, file.series[0].shape):
            _check_size(path, sides)
        return file.series[0].asarray()
