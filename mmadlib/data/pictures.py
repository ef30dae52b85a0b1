"""Colour pictures as cameras and programs write them: PNG, JPEG, BMP, TIFF, WebP, to 8-bit RGB on the grid of the cloud.

CMYK and palettes are converted by their colour profile, without one by Pillow's rule. A picture that its EXIF orientation
calls turned is turned where only that makes it fit the cloud. Every fault becomes one DataError that names the file.
"""

from __future__ import annotations

import io
import re
import warnings
from pathlib import Path

import numpy as np
import tifffile
from jaxtyping import UInt8
from PIL import Image, ImageCms, ImageOps

from mmadlib.data.images import PIXELS
from mmadlib.data.reading import AS_IT_IS, Reading
from mmadlib.errors import DataError, explain
from mmadlib.untrusted import regular

KINDS = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")  # suffixes read here
FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "WEBP")
LOSSY = ("JPEG", "WEBP")
ORIENTATION = 0x0112  # EXIF tag
BACK = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # orientation -> the Transpose that undoes what Pillow does for it
ASPECT = 0.01  # by which the shapes of two pictures of one view may differ
PLAIN = ("RGB", "RGBA", "RGBX")
_COPY = "copy the file again"


def read_picture(path: Path, size: tuple[int, int], reading: Reading = AS_IT_IS) -> UInt8[np.ndarray, "H W 3"]:
    """The picture as RGB on a grid of `size` (rows, columns). An alpha channel is dropped.

    Raises DataError: no picture, more than 8 bits per channel, one channel only, an EXIF orientation that fits both ways,
    another size (resample=True brings it to the grid, if it shows the same view).
    """
    image = upright(open_picture(path), path, size, reading.orientation)
    return np.array(on_grid(to_rgb(image, path), path, size, reading.resample, "picture"))


def as_stored(path: Path, pixels: np.ndarray) -> bool:
    """Whether any program reads these pixels, (H, W) or (H, W, 3), from a picture: nothing was converted, turned or resampled.
    Raises DataError."""
    image = open_picture(path)
    plain = image.mode in ("L", *PLAIN) and "orientation" not in image.info and image.getexif().get(ORIENTATION, 1) == 1
    stored = np.array(image)
    return plain and np.array_equal(stored[..., :3] if stored.ndim == 3 else stored, pixels)


def open_picture(path: Path) -> Image.Image:
    """A picture as stored, unpacked, 8 bits per channel. Raises DataError."""
    regular(path)
    tag = _checked_tiff(path) if path.suffix.lower() in (".tif", ".tiff") else 0
    try:
        with warnings.catch_warnings(action="ignore"), Image.open(path, formats=FORMATS) as image:
            if image.width * image.height > PIXELS:
                raise _too_large(path, f"{image.height} x {image.width} pixels")
            deep = image.mode[:1] in ("I", "F") or (image.tile and ";16" in str(image.tile[0][3]))
            if deep:  # Pillow would drop the low bytes of a colour without a word
                raise _deep(path)
            image.load()
    except Image.DecompressionBombError as err:  # Pillow's own limit, which is higher, is reached first
        raise _too_large(path, f"{next(iter(re.findall(r'[0-9]+', str(err))), 'too many')} pixels") from None
    except (OSError, SyntaxError, ValueError) as err:
        raise DataError(explain(path, f"is truncated or no picture ({err})", _COPY)) from None
    if tag not in BACK:
        return image
    stored = image.transpose(Image.Transpose(BACK[tag]))  # Pillow turns TIFFs at once
    stored.info["orientation"] = tag
    return stored


def _checked_tiff(path: Path) -> int:
    """The orientation of a TIFF, whose bits Pillow does not always tell. Raises DataError for more than 8."""
    try:
        with tifffile.TiffFile(path, is_ome=False, is_mmstack=False, is_ndtiff=False) as file:
            page = file.pages.first
            bits, tag = getattr(page, "bitspersample", 8), getattr(page, "tags", {}).get(ORIENTATION)
            bits, found = max(bits) if isinstance(bits, tuple) else bits, int(getattr(tag, "value", 1))
    except Exception:  # whatever it is, Pillow says it
        return 0
    if bits > 8:
        raise _deep(path)
    return found


def _deep(path: Path) -> DataError:
    return DataError(explain(path, "holds 16 bits per colour channel, or more", "store it as an 8-bit picture"))


def _too_large(path: Path, what: str) -> DataError:
    return DataError(explain(path, f"has {what}, more than the {PIXELS} of the largest scans", "scale it down"))


def to_rgb(image: Image.Image, path: Path) -> Image.Image:
    """A picture in RGB: CMYK, palettes and LAB by their profile, without one by Pillow's rule. Raises DataError."""
    if image.mode in PLAIN:
        return image if image.mode == "RGB" else Image.fromarray(np.array(image)[..., :3])
    if image.mode in ("1", "L", "LA", "La"):
        raise DataError(explain(path, f"holds grey pixels, {image.width} x {image.height}",
                                "an 8-bit picture with three channels (RGB) is needed; store the grey three times if the "
                                "camera has no colour"))
    profile = image.info.get("icc_profile")
    if image.mode == "P":
        image = image.convert("RGBA" if "transparency" in image.info else "RGB").convert("RGB")
    if image.mode == "LAB" or (profile and image.mode in ("RGB", "CMYK")):
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile)) if profile else ImageCms.createProfile("LAB")
            image = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB") or image
        except (ImageCms.PyCMSError, OSError, ValueError, TypeError) as err:
            raise DataError(explain(path, f"is {image.mode} with a colour profile that cannot be used ({err})",
                                    "store it as RGB")) from None
    return image.convert("RGB")


def upright(image: Image.Image, path: Path, size: tuple[int, int], rule: str) -> Image.Image:
    """The picture as it lies on the cloud of `size`: turned by its EXIF orientation or as stored, see Reading.orientation.

    Raises DataError where both fit, which is so for squares and for pictures that stand on their head.
    """
    tag = image.info.get("orientation") or image.getexif().get(ORIENTATION, 1)
    if rule == "stored" or tag not in BACK:
        return image
    with_tag = image.getexif()
    with_tag[ORIENTATION] = tag
    turned = ImageOps.exif_transpose(image)
    if rule == "exif":
        return turned
    fits = [found for found in (image, turned) if same_shape((found.height, found.width), size)]
    if len(fits) == 2:
        fault = f"is stored turned, by its EXIF orientation {tag}, and fits the cloud ({size[0]} x {size[1]}) both ways"
        raise DataError(explain(path, fault, 'give orientation="exif" if the cloud lies as viewers show the picture, or '
                                             'orientation="stored" if it lies as the pixels are stored'))
    return fits[0] if fits else image


def same_shape(one: tuple[int, int], other: tuple[int, int]) -> bool:
    """Whether two grids have the same ratio of rows to columns, but for rounding."""
    return abs(one[0] * other[1] / (one[1] * other[0]) - 1) <= max(ASPECT, 1 / min(*one, *other))


def on_grid(image: Image.Image, path: Path, size: tuple[int, int], resample: bool, what: str) -> Image.Image:
    """The picture at `size`, larger ones by the mean over each pixel. Raises DataError where it has another size."""
    there = (image.height, image.width)
    if there == size:
        return image
    fault = f"sizes differ, {what} {there} and cloud {size}"
    if not same_shape(there, size):
        raise DataError(explain(path, fault, "they show different views: python -m mmadlib convert depth brings the picture "
                                             "of another camera to the grid of the depth, by the extrinsics of both"))
    if not resample:
        raise DataError(explain(path, fault, f"give resample=True to bring the {what} to the grid of the cloud, if both show "
                                             "the same view; for another camera: python -m mmadlib convert depth"))
    rule = Image.Resampling.BOX if there[0] >= size[0] else Image.Resampling.BILINEAR
    return image.resize((size[1], size[0]), rule)
