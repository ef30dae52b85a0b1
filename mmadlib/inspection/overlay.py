"""One picture a part: photograph, shaded relief and map side by side, regions outlined, one colour scale for all parts."""

from __future__ import annotations

import math
import zlib
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from mmadlib.inspection.colours import BADGE, CASING, INK, LINE, OUTLINE, PAPER, QUIET, Scale, palette
from mmadlib.inspection.lettering import drawable, fitted, font
from mmadlib.inspection.verdicts import BAD, GOOD, NOT_COMPARABLE, Region, Verdict
from mmadlib.inspection.views import View

PANEL, GAP, HEAD, FOOT, BAR = 400, 16, 74, 96, 96  # pixels: a panel's side, between, above, below, and the colour bar
TITLES = ("picture", "shaded relief (orange: no point)", "anomaly map")
NOTHING = dict.fromkeys((GOOD, BAD), "no region above the pixel threshold") | {NOT_COMPARABLE: "not judged"}


def overlay(view: View, verdict: Verdict, scale: Scale, number: int, badge: str = "") -> Image.Image:
    """The overlay of one part as an RGB picture, of one size for all parts.

    number   of the part in its report: what it is called where the font lacks the letters of its name
    badge    what is written for the verdict, by default the verdict itself
    """
    image = Image.new("RGB", (3 * PANEL + 4 * GAP + BAR, HEAD + PANEL + FOOT), PAPER)
    draw = ImageDraw.Draw(image)
    _head(draw, verdict, number, badge or verdict.verdict, image.width)
    for i, pixels in enumerate((view.picture, view.relief, view.heat)):
        corner = (GAP + i * (PANEL + GAP), HEAD)
        image.paste(panel(pixels, view, PANEL), corner)
        draw.text((corner[0], HEAD + PANEL + 6), TITLES[i], QUIET, font(13))
    _bar(image, draw, scale, 4 * GAP + 3 * PANEL)
    _foot(draw, verdict, image.width)
    return image


def save(image: Image.Image, path: Path) -> None:
    """Write a picture as PNG, quickly rather than small: runs of equal bytes alone are packed well."""
    image.save(path, "PNG", compress_level=1, compress_type=zlib.Z_RLE)


def panel(pixels: np.ndarray, view: View, side: int, lines: bool = True) -> Image.Image:
    """One picture of a view with its regions outlined, in the middle of a square of `side` pixels."""
    height, width = pixels.shape[:2]
    zoom = side / max(height, width)
    size = (max(1, round(width * zoom)), max(1, round(height * zoom)))
    smooth = Image.Resampling.BICUBIC if zoom > 1 else Image.Resampling.BOX
    shown = Image.fromarray(pixels).resize(size, smooth)
    if lines:
        draw = ImageDraw.Draw(shown)
        for colour, thick in ((CASING, 4), (OUTLINE, 2)):
            for ring in (ring for region in view.rings for ring in region):
                draw.line([(float(x) * zoom, float(y) * zoom) for x, y in ring], colour, thick, joint="curve")
    square = Image.new("RGB", (side, side), (240, 242, 245))
    square.paste(shown, ((side - size[0]) // 2, (side - size[1]) // 2))
    return square


def area(region: Region) -> str:
    """The area of a region for people, in square millimetres where they are known."""
    return f"{region.pixels} px" if region.area_mm2 is None else f"{region.area_mm2:.3g} mm²"


def figures(verdict: Verdict) -> str:
    """Score and p-value for people; a dash where there is none."""
    score = "–" if math.isnan(verdict.score) else f"{verdict.score:.4g}"
    return f"score {score}" + ("" if verdict.p_value is None else f"   p {verdict.p_value:.3f}")


def _head(draw: ImageDraw.ImageDraw, verdict: Verdict, number: int, badge: str, width: int) -> None:
    wide = draw.textlength(badge, font(15, True)) + 24
    draw.rounded_rectangle((GAP, 14, GAP + wide, 42), 14, BADGE[verdict.verdict])
    draw.text((GAP + wide / 2, 28), badge, PAPER, font(15, True), "mm")
    told, left = figures(verdict), GAP + wide + 14
    room = width - left - draw.textlength(told, font(15)) - 2 * GAP
    name = fitted(drawable(verdict.part, number), room, lambda t: draw.textlength(t, font(19, True)))
    draw.text((left, 28), name, INK, font(19, True), "lm")
    draw.text((width - GAP, 28), told, INK, font(15), "rm")
    draw.text((GAP, 58), _fit(draw, verdict.reason, width), QUIET, font(13), "lm")


def _foot(draw: ImageDraw.ImageDraw, verdict: Verdict, width: int) -> None:
    told = [f"{area(r)}{f', {r.speaks}' if r.speaks else ''} at row {r.peak_at[0]}, column {r.peak_at[1]}"
            for r in verdict.regions[:3]]
    many = len(verdict.regions)
    more = f"   and {many - 3} more" if many > 3 else ""
    text = f"{many} region{'s' * (many != 1)}: {';   '.join(told)}{more}" if many else NOTHING[verdict.verdict]
    draw.text((GAP, HEAD + PANEL + 42), _fit(draw, text, width), INK, font(13), "lm")
    draw.text((GAP, HEAD + PANEL + 66), _fit(draw, "   ".join(verdict.warnings), width), BADGE["bad"], font(13), "lm")


def _fit(draw: ImageDraw.ImageDraw, text: str, width: int) -> str:
    return fitted(drawable(text), width - 2 * GAP, lambda t: draw.textlength(t, font(13)))


def _bar(image: Image.Image, draw: ImageDraw.ImageDraw, scale: Scale, left: int) -> None:
    """The colour bar: its ends, and the threshold where it lies."""
    column = np.repeat(palette()[::-1][:, None], 18, 1)
    image.paste(Image.fromarray(column).resize((18, PANEL - 24), Image.Resampling.BILINEAR), (left, HEAD + 12))
    draw.rectangle((left, HEAD + 12, left + 17, HEAD + PANEL - 13), outline=LINE)
    draw.text((left + 24, HEAD + 12), f"{scale.high:.3g}", QUIET, font(12), "lm")
    draw.text((left + 24, HEAD + PANEL - 13), f"{scale.low:.3g}", QUIET, font(12), "lm")
    if math.isfinite(scale.threshold):
        y = HEAD + PANEL - 13 - float(scale.place(scale.threshold)) * (PANEL - 25)
        draw.line((left - 5, y, left + 22, y), CASING, 4)
        draw.line((left - 5, y, left + 22, y), OUTLINE, 2)
        draw.text((left + 26, y - 8), f"{scale.threshold:.3g}", INK, font(12, True), "lm")
        draw.text((left + 26, y + 7), "threshold", QUIET, font(11), "lm")
