"""scores.csv: one line a part, plain numbers, names that no spreadsheet calculates."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from pathlib import Path

from mmadlib.inspection.verdicts import Verdict
from mmadlib.names import cell

COLUMNS = ("part", "score", "p_value", "verdict", "reason", "regions", "largest_mm2", "largest_pixels", "peak", "peak_row",
           "peak_column", "speaks", "warnings", "picture", "overlay", "map")


def write_scores(path: Path, verdicts: Sequence[Verdict], stems: Sequence[str]) -> None:
    """One line a part, in the order given; what is not known is empty.

    largest_*   of its largest region;   peak*   of its highest, on the pixel grid of the scan
    picture     the file name of its picture;   overlay, map   files of the report
    """
    with path.open("w", encoding="utf-8", newline="") as file:
        lines = csv.writer(file, lineterminator="\n")
        lines.writerow(COLUMNS)
        lines.writerows(_line(v, stem) for v, stem in zip(verdicts, stems, strict=True))


def _line(v: Verdict, stem: str) -> list[str]:
    largest = max(v.regions, key=lambda r: r.pixels, default=None)
    highest = max(v.regions, key=lambda r: r.peak, default=None)
    area = "" if largest is None else _number(largest.area_mm2)
    numbers = [area, str(largest.pixels)] if largest else ["", ""]
    peak = [_number(highest.peak), *map(str, highest.peak_at)] if highest else ["", "", ""]
    return [cell(v.part), _number(v.score), _number(v.p_value), v.verdict, cell(v.reason), str(len(v.regions)), *numbers,
            *peak, v.speaks, cell("; ".join(v.warnings)), cell(v.path.name if v.path else ""), f"overlays/{stem}.png",
            f"maps/{stem}.tiff"]


def _number(value: float | None) -> str:
    return "" if value is None or not math.isfinite(value) else repr(float(value))
