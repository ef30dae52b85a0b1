"""Masks as annotation tools write them: lossless 0 and 255, JPEG at half its range, with an alpha channel or a palette.

White marks the defect. A mask that covers most of the part is an error, because then the tool probably marks what is good;
it is inverted only when one asks for it. Every fault becomes one DataError that names the file.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from jaxtyping import Bool, UInt8
from PIL import Image
from scipy.ndimage import binary_erosion, binary_fill_holes

from mmadlib.data.pictures import LOSSY, open_picture, same_shape, upright
from mmadlib.data.reading import AS_IT_IS, Reading
from mmadlib.errors import DataError, explain

HALF = 127  # of the range of 8 bits: values above it are white
DARK = 32  # a colour of a palette that is darker is no colour
MOST, NEARLY_ALL = 0.5, 0.85  # of the part, or of the frame: more than a defect covers that reaches its outline, and any
ROUND = 0.75  # of the outline that a defect reaches
_LEVELS = "write 0 for normal and 255 for defects, e.g. (mask > 127) * numpy.uint8(255)"


def read_own_mask(path: Path, valid: Bool[np.ndarray, "H W"], reading: Reading = AS_IT_IS) -> Bool[np.ndarray, "H W"]:
    """True where the mask marks a defect, on the grid of the cloud whose valid points are given.

    Another size is an error; with resample=True a larger mask is reduced so that no marked pixel disappears. Raises DataError.
    """
    image = open_picture_of_mask(path)
    lossy, size = image.format in LOSSY, valid.shape
    image = upright(image, path, size, reading.orientation)
    there = (image.height, image.width)
    if there != size and not (reading.resample and same_shape(there, size)):  # first: a scaled mask has strange values, too
        raise DataError(explain(path, f"sizes differ, mask {there} and cloud {size}",
                                "mask and cloud must share one pixel grid; give resample=True if both show the same view"))
    white = _white(image, path, lossy)
    if reading.masks == "black":
        white = ~white
    if there != size:
        white = np.array(Image.fromarray(white.astype(np.float32)).resize(size[::-1], Image.Resampling.BOX)) > 0
    if reading.masks == "auto":
        _check_share(path, white, valid)
    return white


def open_picture_of_mask(path: Path) -> Image.Image:
    """`open_picture`, where 16 bits are another mistake than in a picture."""
    try:
        return open_picture(path)
    except DataError as err:
        if "16 bits" not in str(err):
            raise
        raise DataError(explain(path, "is a mask of uint16 values or more", "store 8 bits: 0 normal, 255 defect")) from None


def _white(image: Image.Image, path: Path, lossy: bool) -> Bool[np.ndarray, "H W"]:
    """Where a mask is white."""
    grey = _grey(image, path, lossy)
    if lossy:
        if 0 < (top := int(grey.max())) <= HALF:
            raise DataError(explain(path, f"is a compressed mask whose brightest value is {top}", _LEVELS))
        return grey > HALF
    found = np.flatnonzero(np.bincount(grey.ravel(), minlength=256))
    strange = np.setdiff1d(found, (0, 255))
    if strange.size:
        shown = ", ".join(map(str, strange[:5]))
        advice = _LEVELS if strange.max() > HALF else _LEVELS.replace("> 127", "> 0")
        raise DataError(explain(path, f"is a mask with undocumented values ({shown})", advice))
    return grey > HALF


def _grey(image: Image.Image, path: Path, lossy: bool) -> UInt8[np.ndarray, "H W"]:
    """A mask as one channel: three equal ones are one, colours of a palette are white, what is transparent is black."""
    palette = image.mode == "P"
    if palette:
        image = image.convert("RGBA" if "transparency" in image.info else "RGB")
    pixels = np.array(image.convert("L") if image.mode in ("1", "CMYK") else image)
    pixels = pixels[..., None] if pixels.ndim == 2 else pixels
    colours = pixels[..., :3] if pixels.shape[2] > 2 else pixels[..., :1]
    alpha = pixels[..., -1] if pixels.shape[2] in (2, 4) else None
    grey = colours.max(-1)
    if (grey - colours.min(-1)).max() > (HALF if lossy else 0):  # compression tints grey a little
        if not palette:
            raise DataError(explain(path, "is a mask in colours", "store one channel: 0 normal, 255 defect"))
        grey = np.where(grey >= DARK, 255, grey)  # annotation tools paint each kind of defect in a colour of its own, on black
    if alpha is not None and (alpha < 255).any():
        seen = (grey.astype(np.uint16) * alpha + 127) // 255
        if not seen.any():
            raise DataError(explain(path, "is a mask that is black where it is not transparent; the defect may be drawn in "
                                          "its alpha channel", "store one channel without alpha: 0 normal, 255 defect"))
        grey = seen.astype(np.uint8)
    return grey


def _check_share(path: Path, white: Bool[np.ndarray, "H W"], valid: Bool[np.ndarray, "H W"]) -> None:
    """Raise DataError for a mask that covers most of the part or of the frame, and most of its outline.

    A large defect, such as a pothole that fills most of a tile, ends within the tile; an inverted mask goes round.
    """
    for name, region in (("frame", np.ones_like(valid)), ("part", binary_fill_holes(valid))):
        outline = region & ~binary_erosion(region)
        share, edge = white[region].mean(), white[outline].mean()
        if share > NEARLY_ALL or (share > MOST and edge > ROUND):
            count = f"{np.count_nonzero(white & region)} of {np.count_nonzero(region)}"
            raise DataError(explain(path, f"is a mask that is white on {count} pixels of the {name} ({100 * share:.1f} %) and "
                                          "may be inverted",
                                    'white must mark the defect; give masks="black" if black marks it, masks="white" if it '
                                    "is right as it is"))
