"""Reading single files: pictures, organised clouds and masks. Every fault becomes one DataError that names the file.

The kind and the size of a file are looked at before anything of it is unpacked."""

from __future__ import annotations

import logging
import re
import warnings
from collections.abc import Iterable, Sequence
from math import prod
from pathlib import Path

import numpy as np
import tifffile
from jaxtyping import Bool, Float, Float32, UInt8, UInt16
from PIL import Image

from mmadlib.errors import DataError, explain
from mmadlib.untrusted import regular

PIXELS = 50_000_000  # of a picture or cloud: 1.2 GB of coordinates in double precision; the datasets read here have 20 million
FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "PPM", "GIF", "WEBP")  # not all that Pillow knows: it opens EPS by running a program
MIN_POINTS = 50  # fewer than one plane hypothesis needs: nothing can be computed on such a cloud

# for data whose mask levels are not documented; 1..127 would be a defect for "> 0" and normal for "> 127", the two tests in
# use, so such a mask is refused rather than guessed
BRIGHT = (0, *range(128, 256))

logging.getLogger("tifffile").addHandler(logging.NullHandler())  # of a damaged file one error speaks, not a log

_COPY = "copy the file again from the source of the dataset"
_ONE_CHANNEL = "store one channel: 0 normal, 255 defect"
_NEAR_ZERO = np.float32(1e-10)  # metres


def read_pixels(path: str | Path) -> np.ndarray:
    """A picture as stored: uint8 (H, W) or (H, W, 3 or 4), or uint16 (H, W).

    Raises DataError when the file is missing, truncated, no picture, has more than PIXELS, or holds more than 8 bits per
    colour channel.
    """
    regular(path)
    try:
        with warnings.catch_warnings(action="ignore", category=Image.DecompressionBombWarning), \
                Image.open(path, formats=FORMATS) as image:
            _check_size(path, (image.height, image.width))
            raw = str(image.tile[0][3]) if image.tile else ""
            if image.mode in ("RGB", "RGBA") and ";16" in raw:  # Pillow would drop the low byte without a word
                raise DataError(explain(path, "holds 16 bits per colour channel", "store it as an 8-bit picture"))
            image.load()
    except Image.DecompressionBombError as err:  # Pillow's own limit, which is higher, is reached first
        _check_size(path, [int(n) for n in re.findall(r"[0-9]+", str(err))[:1]])
        raise DataError(explain(path, f"is no picture to be read ({err})", _COPY)) from None
    except (OSError, SyntaxError, ValueError) as err:
        raise DataError(explain(path, f"is truncated or no picture ({err})", _COPY)) from None
    plain = image.convert("L" if image.mode == "1" else "RGB") if image.mode in ("1", "P") else image
    return np.array(plain, dtype=np.uint16) if plain.mode.startswith("I") else np.array(plain)


def read_rgb(path: str | Path) -> UInt8[np.ndarray, "H W 3"]:
    """An 8-bit colour picture; an alpha channel is dropped. Raises DataError."""
    pixels = read_pixels(path)
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] not in (3, 4):
        raise DataError(explain(path, f"holds {pixels.dtype} pixels of shape {pixels.shape}",
                                "an 8-bit picture with three channels (RGB) is needed"))
    return np.ascontiguousarray(pixels[..., :3])


def read_gray16(path: str | Path) -> UInt16[np.ndarray, "H W"]:
    """A 16-bit picture of one channel (depth, disparity). Raises DataError."""
    pixels = read_pixels(path)
    if pixels.dtype != np.uint16:
        raise DataError(explain(path, f"holds {pixels.dtype} pixels of shape {pixels.shape}",
                                "a 16-bit grey picture is needed; an 8-bit copy has lost the depth"))
    return pixels


def _check_size(path: str | Path, sides: Sequence[int], what: str = "pixels") -> None:
    """Raise DataError for more than PIXELS, or three times as many values."""
    limit = PIXELS if what == "pixels" else 3 * PIXELS
    if prod(sides) > limit:
        raise DataError(explain(path, f"has {' x '.join(map(str, sides))} {what}, more than the {limit} of the largest scans",
                                "scale it down; the limit is mmadlib.data.images.PIXELS"))


def read_mask(path: str | Path, values: Iterable[int] = (0, 255),
              size: tuple[int, int] | None = None) -> Bool[np.ndarray, "H W"]:
    """A ground-truth mask: True where the 8-bit value is above 0.

    values: the levels that the dataset documents; anything else raises DataError, as do more than 8 bits, colours and another
    size (rows, columns) than that of the picture. Three equal channels are read as one, an opaque alpha channel is dropped.
    """
    pixels = read_pixels(path)
    if size and pixels.shape[:2] != size:  # first of all: a mask that was scaled has strange values, too
        raise DataError(explain(path, f"sizes differ, mask {pixels.shape[:2]} and picture {size}",
                                "mask and picture must share one pixel grid"))
    if pixels.ndim == 3:
        if pixels.shape[2] in (2, 4) and pixels[..., -1].min() < 255:  # drawn in the grey or in the alpha? nobody says
            raise DataError(explain(path, "is a mask with an alpha channel, transparent in places", _ONE_CHANNEL))
        pixels, colours = pixels[..., 0], pixels[..., :3 if pixels.shape[2] > 2 else 1]
        if (colours != pixels[..., None]).any():
            raise DataError(explain(path, "is a mask in colours", _ONE_CHANNEL))
    if pixels.dtype != np.uint8:
        raise DataError(explain(path, f"is a mask of {pixels.dtype} values", "store 8 bits: 0 normal, 255 defect"))
    found = np.flatnonzero(np.bincount(pixels.ravel(), minlength=256))
    strange = np.setdiff1d(found, list(values))
    if strange.size:
        shown = ", ".join(map(str, strange[:5]))
        least = 127 if found.max() > 127 else 0  # JPEG leaves a fringe of low values around what is white
        raise DataError(explain(path, f"is a mask with undocumented values ({shown})",
                                f"write 0 for normal and 255 for defects, e.g. (mask > {least}) * numpy.uint8(255)"))
    return pixels > 0


def read_xyz(path: str | Path) -> Float32[np.ndarray, "H W 3"]:
    """An organised cloud in the unit of the file; a point with a NaN or infinity becomes (0, 0, 0).

    Raises DataError when the file is missing, truncated, compressed by an unknown codec, not floating point, not
    (H, W, 3), has more than PIXELS, or holds fewer than MIN_POINTS valid points.
    """
    regular(path)
    try:
        xyz = _tiff(path)
    except DataError:
        raise
    except Exception as err:  # tifffile raises what its codecs raise
        remedy = "install imagecodecs" if "imagecodecs" in str(err) else _COPY
        raise DataError(explain(path, f"is truncated or no TIFF ({err})", remedy)) from None
    if xyz.ndim != 3 or xyz.shape[2] != 3:
        raise DataError(explain(path, f"has shape {xyz.shape}", "an organised cloud has three channels, (H, W, 3)"))
    if xyz.dtype.kind != "f":
        raise DataError(explain(path, f"holds {xyz.dtype} values", "coordinates must be floating point, float32 metres"))
    with np.errstate(over="ignore"):  # what single precision cannot hold is as good as infinite
        xyz = xyz.astype(np.float32)
    finite = np.isfinite(xyz).all(-1)
    if not finite.any():
        raise DataError(explain(path, "holds no finite point (all NaN or infinite)", _COPY))
    xyz[~finite] = 0
    check_points(path, (xyz != 0).any(-1))
    return xyz


def _tiff(path: str | Path) -> np.ndarray:
    """The first picture of a TIFF file, unpacked once its header says that it is no larger than a scan.

    Formats whose descriptions name other files to be read are read as plain TIFF.
    """
    with tifffile.TiffFile(path, is_ome=False, is_mmstack=False, is_ndtiff=False) as file:
        page = file.pages.first
        assert isinstance(page, tifffile.TiffPage)
        tile = (page.tilelength, page.tilewidth) if page.is_tiled else ()
        for sides in (tile, file.series[0].shape):
            _check_size(path, sides, "values")
        return file.series[0].asarray()


def check_points(path: str | Path, valid: Bool[np.ndarray, "H W"]) -> None:
    """Raise DataError when a cloud has fewer than MIN_POINTS valid points."""
    count = int(np.count_nonzero(valid))
    if count < MIN_POINTS:
        raise DataError(explain(path, f"has {count} valid points of {valid.size}, at least {MIN_POINTS} are needed",
                                "leave the sample out or copy the file again"))


def mark_invalid(xyz: Float[np.ndarray, "H W 3"], valid: Bool[np.ndarray, "H W"]) -> Float32[np.ndarray, "H W 3"]:
    """The cloud with invalid points exactly (0, 0, 0), and no valid point with a coordinate of exactly 0.

    The protocol calls a point valid when all three coordinates are non-zero, which drops points on an axis (the centre row
    and column of an ideal camera); these are moved by a tenth of a nanometre.
    """
    xyz = np.where(xyz == 0, _NEAR_ZERO, xyz).astype(np.float32)
    xyz[~valid] = 0
    return xyz
