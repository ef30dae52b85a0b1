"""Letters on pictures: DejaVu Sans, which comes with matplotlib; names that it has no letters for are told by number."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from PIL import ImageFont

from mmadlib.names import printable

FONTS = "mpl-data/fonts/ttf"


@cache
def font(size: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    """The font at a size in pixels."""
    return ImageFont.truetype(str(_file("DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf")), size,
                              layout_engine=ImageFont.Layout.BASIC)


def drawable(text: str, number: int | None = None) -> str:
    """Text that the font can draw: as it stands, or with `number` and the part of it that can be drawn.

    >>> drawable("Träger 7", 3), drawable("部品_01", 3), drawable("部品", 3)
    ('Träger 7', '#3 _01', '#3')
    """
    text = printable(text)
    kept = "".join(c for c in text if ord(c) in _letters())
    if len(kept) == len(text):
        return text
    return kept if number is None else f"#{number} {kept.strip()}".strip()


def fitted(text: str, width: float, length: Callable[[str], float]) -> str:
    """Text cut in its middle to be no longer than `width`, where `length` measures it."""
    if length(text) <= width:
        return text
    low, high = 0, len(text)
    while low < high:  # the most letters that fit
        keep = (low + high + 1) // 2
        low, high = (keep, high) if length(_cut(text, keep)) <= width else (low, keep - 1)
    return _cut(text, low)


def _cut(text: str, keep: int) -> str:
    return f"{text[:(keep + 1) // 2]}…{text[len(text) - keep // 2:]}"


def _file(name: str) -> Path:
    spec = find_spec("matplotlib")
    return Path(spec.submodule_search_locations[0], FONTS, name)  # type: ignore[union-attr,index]  # matplotlib is required


@cache
def _letters() -> frozenset[int]:
    from matplotlib.ft2font import FT2Font  # here, because it takes a moment

    return frozenset(FT2Font(str(_file("DejaVuSans.ttf"))).get_charmap())
