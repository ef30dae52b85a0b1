"""Pictures of a view as data addresses for the page: small enough that a report of hundreds of parts still opens."""

from __future__ import annotations

import base64
import io

import numpy as np
from PIL import Image

from mmadlib.inspection.overlay import panel
from mmadlib.inspection.views import View

THUMB = 150  # pixels of each of the two halves of a thumbnail
TRIES = ((900, 78), (900, 66), (760, 62), (620, 58), (480, 55), (360, 50))  # longest side, quality; until small enough
ENOUGH = {"picture": 26_000, "relief": 18_000, "heat": 12_000}  # bytes


def thumbnail(view: View) -> str:
    """Picture and map side by side, regions outlined."""
    both = Image.new("RGB", (2 * THUMB + 2, THUMB), (255, 255, 255))
    for i, pixels in enumerate((view.picture, view.heat)):
        both.paste(panel(pixels, view, 2 * THUMB).resize((THUMB, THUMB), Image.Resampling.BOX), (i * (THUMB + 2), 0))
    return address(both, 74)


def large(view: View) -> list[str]:
    """Picture, relief and map, without outlines: the page draws those."""
    return [_small_enough(getattr(view, name), enough) for name, enough in ENOUGH.items()]


def address(image: Image.Image, quality: int) -> str:
    """A JPEG as a data address."""
    return _address(_jpeg(image, quality))


def _small_enough(pixels: np.ndarray, enough: int) -> str:
    image, found = Image.fromarray(pixels), b""
    for side, quality in TRIES:
        shown = image.copy()
        shown.thumbnail((side, side), Image.Resampling.BOX)
        found = _jpeg(shown, quality)
        if len(found) <= enough:
            break
    return _address(found)


def _jpeg(image: Image.Image, quality: int) -> bytes:
    out = io.BytesIO()
    image.save(out, "JPEG", quality=quality, optimize=True)
    return out.getvalue()


def _address(jpeg: bytes) -> str:
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}"
