"""From scores to a verdict: score and p-value, places above the pixel threshold, points that are missing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from mmadlib.errors import DataError, MissingModality, MmadError, PreprocessError
from mmadlib.inspection.calibration import Calibration
from mmadlib.inspection.comparable import Ranges, part_traits, scan_traits, unlike
from mmadlib.inspection.foreground import Look, Rule, gap_of, look
from mmadlib.inspection.looking import warnings_of
from mmadlib.inspection.regions import pixel_areas, places, region
from mmadlib.inspection.scan_grid import map_of, parts_of
from mmadlib.inspection.speaking import SHAPE, speaks
from mmadlib.inspection.verdicts import BAD, GOOD, NOT_COMPARABLE, Region, Thresholds, Verdict
from mmadlib.methods import Scores
from mmadlib.sample import Sample

UNUSABLE = (DataError, PreprocessError, MissingModality)  # of one part; others end the whole
GAP_FACTOR, GAP_PLUS = 3.0, 0.004  # times the largest hole of a good part, and so much of the part, is too much missing


@dataclass(frozen=True, eq=False)
class Known:
    """What is known of good parts besides the method's own model.

    pad      of the grid;   rule  how the foreground is found;   missing  the modality that the good parts lack
    ranges   of what is compared before anything is scored;   gap  largest hole of a good part, as a share of it
    levels   of the method's parts on held-out good parts
    """

    method: str
    pad: str
    rule: Rule
    missing: str
    ranges: Ranges
    gap: float
    levels: dict[str, float]
    calibration: Calibration | None
    thresholds: Thresholds


def seen(sample: Sample, known: Known) -> tuple[Look | None, str]:
    """How the model looks at a scan, None where nothing can be looked at, and why it cannot be compared with the good ones."""
    if sample.missing != known.missing:
        return None, f"has no {sample.missing}" if sample.missing else f"has {known.missing}, which the good parts lack"
    if reason := unlike(scan_traits(sample), known.ranges):
        return None, reason
    try:
        found = look(sample, known.rule)
    except UNUSABLE as err:
        return None, short(err, sample.path)
    return found, unlike(part_traits(found), known.ranges)


def verdict(name: str, path: Path | None, read: Callable[[], Sample], score: Callable[[Sample], Scores],
            known: Known) -> Verdict:
    """The verdict on one part. read: gives the scan; score: judges it, its background removed. A part that cannot be read or
    is of another kind is not comparable; errors that are not of this part are raised."""
    try:
        sample = read()
    except UNUSABLE as err:
        return unusable(name, path, short(err, path))
    found, reason = seen(sample, known)
    if found is None or reason:
        return unusable(name, path, reason, sample, found, known)
    try:
        scores = score(found.sample)
    except UNUSABLE as err:
        return unusable(name, path, short(err, path), sample, found, known)
    return judged(name, path, found, scores, known)


def unusable(name: str, path: Path | None, reason: str, sample: Sample | None = None, found: Look | None = None,
             known: Known | None = None) -> Verdict:
    """A verdict without a score; its pictures are as large as the scan, 1 x 1 where that cannot be read."""
    size = (1, 1) if sample is None else sample.size
    outline = np.zeros(size, bool) if found is None else found.outline
    warned = warnings_of(found, known.ranges, known.rule) if found and known else ()
    return Verdict(name, NOT_COMPARABLE, float("nan"), None, np.full(size, np.nan, np.float32), outline, (), reason, "",
                   warned, path)


def judged(name: str, path: Path | None, found: Look, scores: Scores, known: Known) -> Verdict:
    """Of a part that was scored."""
    amap = map_of(scores, found.outline, known.pad)
    regions = outlined(found, amap, scores, known)
    share = found.gap / max(1, int(found.outline.sum()))
    holed = share > GAP_FACTOR * known.gap + GAP_PLUS
    if holed:
        _, place = gap_of(found.outline, found.sample.valid)
        regions = (region(place, amap, pixel_areas(found.sample), SHAPE), *regions)
    t, above = known.thresholds, scores.image > known.thresholds.image
    scored = f"scores {scores.image:.4g}, above {t.image:.4g}" if known.calibration else "ranks above the largest gap"
    reason = (f"{share:.1%} of the part is one hole without points, of good parts at most {known.gap:.1%}" if holed else
              scored if above else "")
    p = known.calibration.p_value(scores.image) if known.calibration else None
    return Verdict(name, BAD if above or holed else GOOD, float(scores.image), p, amap, found.outline, regions, reason,
                   regions[0].speaks if regions else "", warnings_of(found, known.ranges, known.rule), path, holed)


def outlined(found: Look, amap: np.ndarray, scores: Scores, known: Known) -> tuple[Region, ...]:
    """The places above the pixel threshold, highest peak first."""
    above = found.outline & (np.nan_to_num(amap, nan=-np.inf) > known.thresholds.pixel)
    if not above.any():
        return ()
    areas = None if found.sample.missing == "xyz" else pixel_areas(found.sample)
    parts = parts_of(scores, found.outline.shape, known.pad)
    made = [replace(region(place, amap, areas), speaks=speaks(known.method, parts, place, known.levels))
            for place in places(above)]
    return tuple(sorted(made, key=lambda r: (-r.peak, r.peak_at)))


def short(err: MmadError, path: Path | None) -> str:
    """The message without the path, which stands beside it."""
    text = " ".join(str(err).split())
    return text.removeprefix(f"{path}: ") if path else text
