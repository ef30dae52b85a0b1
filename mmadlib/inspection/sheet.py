"""Contact sheets: picture, shaded relief and what was kept of every part, to be looked at before anything is believed."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool
from PIL import Image, ImageDraw

from mmadlib.errors import MmadError
from mmadlib.inspection.colours import BADGE, INK, OUTLINE, PAPER
from mmadlib.inspection.lettering import drawable, fitted, font
from mmadlib.inspection.overlay import save
from mmadlib.inspection.relief import relief
from mmadlib.sample import Sample

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SIDE, GAP, LABEL, NOTE = 132, 14, 24, 16  # pixels: a picture's side, between parts, the name, a line of notes
PAGE = 40  # parts on one page
UNREAD = (1, 1)  # the size of what is said of a part that could not be read
DPI = 100


def contact_sheet(samples: Sequence[Sample], foregrounds: Sequence[Bool[np.ndarray, "H W"]], names: Sequence[str],
                  notes: Sequence[str]) -> Figure:
    """All parts on one figure: picture, shaded relief, what was kept in colour on grey; the name above, its note below.

    notes   one a part, "" where there is nothing to say; a part with one has an orange frame
    """
    from matplotlib.figure import Figure  # here, because it takes a moment; no pyplot, so nothing is shown twice

    tiles = [tile(shown(samples, i, kept.shape), kept) for i, kept in enumerate(foregrounds)]
    image = page(tiles, names, notes)
    figure = Figure(figsize=(image.width / DPI, image.height / DPI), dpi=DPI)
    figure.set_layout_engine("none")
    axes = figure.add_axes((0, 0, 1, 1), frameon=False, xticks=[], yticks=[])
    axes.imshow(np.asarray(image), aspect="auto", interpolation="antialiased")
    return figure


def save_sheet(path: str | Path, samples: Sequence[Sample], foregrounds: Sequence[Bool[np.ndarray, "H W"]],
               names: Sequence[str], notes: Sequence[str]) -> list[Path]:
    """The same as PNG files of at most PAGE parts: `path`, and path-2, path-3 ... beside it; returns them."""
    pages = Pages(Path(path), len(names))
    for i, (kept, name, note) in enumerate(zip(foregrounds, names, notes, strict=True)):
        pages.add(tile(shown(samples, i, kept.shape), kept), name, note)
    return pages.written


def shown(samples: Sequence[Sample], i: int, size: tuple[int, ...]) -> Sample:
    """Sample i, or an empty one of that size where the part cannot be read: it is listed, too, and its note says why."""
    if size != UNREAD:
        with suppress(MmadError):
            return samples[i]
    return Sample(np.full((*size, 3), 222, np.uint8), np.zeros((*size, 3), np.float32))


class Pages:
    """Writes a page as soon as its last part was added, so that a thousand parts take the memory of PAGE."""

    def __init__(self, path: Path, count: int) -> None:
        self.path, self.left, self.written = path, count, list[Path]()
        self._waiting: list[tuple[Image.Image, str, str]] = []

    def add(self, strip: Image.Image, name: str, note: str) -> None:
        """One more part, drawn by `tile`."""
        self._waiting.append((strip, name, note))
        self.left -= 1
        if len(self._waiting) == PAGE or not self.left:
            number = len(self.written) + 1
            place = self.path if number == 1 else self.path.with_name(f"{self.path.stem}-{number}{self.path.suffix}")
            tiles, names, notes = zip(*self._waiting, strict=True)
            save(page(tiles, names, notes, (number - 1) * PAGE + 1), place)
            self.written.append(place)
            self._waiting.clear()


def tile(sample: Sample, kept: Bool[np.ndarray, "H W"]) -> Image.Image:
    """Picture, relief and what was kept of one part, side by side, as an RGB picture."""
    step = max(1, max(sample.size) // (3 * SIDE))
    rgb, xyz, valid, inside = (a[::step, ::step] for a in (sample.rgb, sample.xyz, sample.valid, kept))
    grey = (rgb @ np.array([0.3, 0.59, 0.11]) * 0.25 + 180).astype(np.uint8)
    mine = np.where(inside[..., None], rgb, grey[..., None])
    mine[inside & ~valid] = OUTLINE  # holes that count as part of it
    strip = Image.new("RGB", (3 * SIDE + 8, SIDE), PAPER)
    for i, pixels in enumerate((rgb, relief(xyz, valid), mine)):
        picture = Image.fromarray(pixels)
        zoom = SIDE / max(picture.size)
        size = (max(1, round(picture.width * zoom)), max(1, round(picture.height * zoom)))
        picture = picture.resize(size, Image.Resampling.BICUBIC if zoom > 1 else Image.Resampling.BOX)
        strip.paste(picture, (i * (SIDE + 4) + (SIDE - size[0]) // 2, (SIDE - size[1]) // 2))
    return strip


def page(tiles: Sequence[Image.Image], names: Sequence[str], notes: Sequence[str], first: int = 1) -> Image.Image:
    """Tiles in columns, the name of each above and its note below; `first` is the number of the first part."""
    columns = min(len(tiles), 1 + (len(tiles) > 3) + (len(tiles) > 12)) or 1
    wide = 3 * SIDE + 8
    told = [_lines(note) for note in notes]
    rows = range(0, len(tiles), columns)
    highs = [LABEL + SIDE + max(map(len, told[i:i + columns])) * NOTE + GAP for i in rows]
    image = Image.new("RGB", (columns * (wide + GAP) + GAP, sum(highs) + 2 * GAP), PAPER)
    draw = ImageDraw.Draw(image)
    draw.text((image.width - GAP, image.height - 6), "picture, shaded relief, what is looked at (cyan: no point)",
              BADGE["not comparable"] if any(notes) else INK, font(11), "rb")
    for i, (strip, name, note) in enumerate(zip(tiles, names, notes, strict=True)):
        left, top = GAP + i % columns * (wide + GAP), GAP // 2 + sum(highs[:i // columns])
        text = fitted(drawable(name, first + i), wide, lambda t: draw.textlength(t, font(13, True)))
        draw.text((left, top + LABEL / 2), text, INK, font(13, True), "lm")
        image.paste(strip, (left, top + LABEL))
        if note:
            draw.rectangle((left - 2, top + LABEL - 2, left + wide + 1, top + LABEL + SIDE + 1), outline=BADGE["bad"], width=2)
        for k, line in enumerate(told[i]):
            draw.text((left, top + LABEL + SIDE + 4 + k * NOTE), line, BADGE["bad"], font(12))
    return image


def _lines(note: str) -> list[str]:
    """A note in at most two lines that fit below a tile."""
    words, lines, wide = drawable(note).split(), [""], 3 * SIDE + 8
    for word in words:
        longer = f"{lines[-1]} {word}".strip()
        if font(12).getlength(longer) <= wide or not lines[-1]:
            lines[-1] = longer
        elif len(lines) == 2:
            lines[-1] += " …"
            break
        else:
            lines.append(word)
    return [fitted(line, wide, font(12).getlength) for line in lines if line]
