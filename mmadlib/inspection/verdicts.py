"""What is said of a part: verdict, score, p-value, regions; and the thresholds behind it with what they promise."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float32

GOOD, BAD, NOT_COMPARABLE = "good", "bad", "not comparable"
SPEAKS = ("colour", "shape", "both", "relation")  # which modality shows a region, by the parts of the method


@dataclass(frozen=True)
class Region:
    """A connected place above the pixel threshold, on the pixel grid of the scan.

    box       (top, left, bottom, right), bottom and right exclusive
    peak      highest value of the map in it;   peak_at   (row, column) of it
    pixels    its area in pixels;   area_mm2   in square millimetres on the surface, None where xyz is not metric
    speaks    one of SPEAKS; "" where the method cannot tell
    """

    box: tuple[int, int, int, int]
    peak: float
    peak_at: tuple[int, int]
    pixels: int
    area_mm2: float | None = None
    speaks: str = ""


@dataclass(frozen=True)
class Thresholds:
    """Above what a part is bad and a pixel is outlined, and what that promises.

    image, pixel    thresholds of score and map: above them is bad; in a ranking without fit, the cut at the largest gap
    asked           the false alarm rate that was asked for
    promised        at most this share of good parts is called bad for its score (missing points come on top), if they are
                    exchangeable with the good parts that were given: `asked` where there were enough of them,
                    1 / (parts + 1) where not; None for a ranking, which promises nothing
    parts           good parts that the thresholds rest on;   needed   how many the asked rate needs
    how             one sentence for people: where the thresholds come from and what they promise
    """

    image: float
    pixel: float
    asked: float
    promised: float | None
    parts: int
    needed: int
    how: str


@dataclass(frozen=True, eq=False)
class Verdict:
    """What is said of one part.

    part        its name (the file name of its picture without suffix);   path   its picture
    verdict     good | bad | not comparable;   reason   one sentence: why not comparable or bad, or ""
    score       by the method's own rule; NaN where the part is not comparable
    p_value     share of good parts that would score as high, at least 1 / (parts + 1); None in a ranking or not comparable
    map         higher is more anomalous, on the pixel grid of the scan; NaN outside what was looked at
    foreground  the pixels that were looked at, holes of the part filled
    regions     places above the pixel threshold, highest peak first; before them a hole without points that made it bad
    speaks      the modality that speaks for the first region, one of SPEAKS or ""
    warnings    what a person should know: a hole in the part, a much smaller foreground, a table that is still there
    """

    part: str
    verdict: str
    score: float
    p_value: float | None
    map: Float32[np.ndarray, "H W"]
    foreground: Bool[np.ndarray, "H W"]
    regions: tuple[Region, ...] = ()
    reason: str = ""
    speaks: str = ""
    warnings: tuple[str, ...] = field(default_factory=tuple)
    path: Path | None = None
    holed: bool = False  # bad for missing points, whatever its score

    def __repr__(self) -> str:
        p = "" if self.p_value is None else f", p {self.p_value:.3f}"
        return f"Verdict({self.part}: {self.verdict}, score {self.score:.4g}{p}, {len(self.regions)} regions)"
