"""What a person is shown and warned of: a table that is still there, holes, a foreground unlike that of the good parts."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool

from mmadlib.inspection.comparable import Ranges
from mmadlib.inspection.foreground import Look, Rule
from mmadlib.sample import Sample

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SMALLER, LARGER = 0.8, 1.25  # of the good parts' foreground, beyond which a person should look
HOLE = 0.01  # share of a part; a larger hole without points is worth a word
APART = 0.6, 1.7  # of the middle of the good parts: one of them beyond these is not like the others


def warnings_of(found: Look, ranges: Ranges, rule: Rule) -> tuple[str, ...]:
    """Of one part, beside the good ones."""
    said, share = [*_table(found, rule)], float(found.outline.mean())
    low, high = ranges.get("share", (0.0, 1.0))
    if share < SMALLER * low:
        said.append(f"its foreground is small: {share:.1%} of the picture, of good parts {low:.1%} to {high:.1%}")
    if share > LARGER * high:
        said.append(f"its foreground is large: {share:.1%} of the picture, of good parts {low:.1%} to {high:.1%}")
    return (*said, *_hole(found))


def good_warnings(looks: Sequence[tuple[float, tuple[str, ...]]]) -> list[tuple[str, ...]]:
    """Of the good parts, each beside all: from share of the picture and what was said of it alone (`alone`)."""
    middle = float(np.median([share for share, _ in looks]))
    return [(*said, *((f"its foreground is {share:.1%} of the picture, of the good parts {middle:.1%} in the middle",)
                      if not APART[0] * middle <= share <= APART[1] * middle else ())) for share, said in looks]


def alone(found: Look, rule: Rule) -> tuple[float, tuple[str, ...]]:
    """Share of the picture, and what is to be said of a part by itself."""
    return float(found.outline.mean()), (*_table(found, rule), *_hole(found))


def _table(found: Look, rule: Rule) -> list[str]:
    if found.table and not rule.isolate and rule.fixed is None:
        return ["a plane fills the rim of the scan and isolation is off, so the table counts as part; give isolate=True"]
    return []


def _hole(found: Look) -> list[str]:
    share = found.gap / max(1, int(found.outline.sum()))
    return [f"a hole without points inside the part, {share:.1%} of it"] if share > HOLE else []


@dataclass(frozen=True, eq=False)
class Looked:
    """What the last fit or predict looked at; `show` reads the scans again."""

    samples: Sequence[Sample]
    foregrounds: Sequence[Bool[np.ndarray, "_H _W"]]
    names: Sequence[str]
    notes: Sequence[str]

    def show(self, count: int | None = None) -> Figure:
        """The contact sheet: picture, shaded relief and kept foreground of every part, or of the first so many."""
        from mmadlib.inspection.sheet import contact_sheet  # it draws, so it is imported when asked for

        if "ipykernel" in sys.modules:  # it tells a notebook how figures are shown, as the first one of pyplot would
            with suppress(ImportError):
                import_module("matplotlib_inline.backend_inline")
        return contact_sheet(self.samples[:count], self.foregrounds[:count], self.names[:count], self.notes[:count])

    def save(self, path: Path) -> list[Path]:
        """The same as PNG files of 40 parts at most: `path`, and path-2, path-3 ... beside it; returns them."""
        from mmadlib.inspection.sheet import save_sheet

        return save_sheet(path, self.samples, self.foregrounds, self.names, self.notes)
