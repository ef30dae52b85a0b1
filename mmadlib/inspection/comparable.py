"""Whether a scan is of the kind that the model learned from: units, size, distance, points, light and colour.

A score says something only of scans like the good ones. Millimetres for metres, another resolution, a lens cap, half the
points: such scans get no verdict but a reason. The ranges of the good parts are widened generously, as few good parts know
little of what else is normal: no good part of the same kind may ever fall outside.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from mmadlib.inspection.foreground import Look
from mmadlib.sample import Sample

Ranges = dict[str, tuple[float, float]]
UNITS = {1000: "millimetres instead of metres", 100: "centimetres instead of metres", 1 / 1000: "metres counted in thousands"}
DARK = 8.0  # grey levels that no scan's middle is below, but those of an unlit room or a lens cap


@dataclass(frozen=True)
class Trait:
    """What is measured and how far beyond the good parts it may go: a factor, and for levels up to 255 a sum.

    words  for people, with {found}, {low} and {high}
    """

    words: str
    factor: float = 0.0
    plus: float = 0.0
    digits: int = 3


TRAITS = {
    "height": Trait("has {found} rows of pixels, the good scans {low} to {high}: another resolution", 1.1, digits=4),
    "width": Trait("has {found} columns of pixels, the good scans {low} to {high}: another resolution", 1.1, digits=4),
    "distance": Trait("lies {found} m from the camera, the good scans {low} to {high}", 1.5),
    "view": Trait("is {found} m across, the good scans {low} to {high}", 1.8),
    "returns": Trait("has points at {found} of its pixels, the good scans {low} to {high}", 1.8),
    "light": Trait("has brightness {found} of 255, the good scans {low} to {high}", 3.0),
    "red_green": Trait("is {found} on the scale from green to red, the good scans {low} to {high}: other light or colour",
                       plus=25),
    "yellow_blue": Trait("is {found} on the scale from blue to yellow, the good scans {low} to {high}: other light or colour",
                         plus=25),
    "extent": Trait("shows a part {found} m across, the good ones {low} to {high}", 1.5),
    "points": Trait("shows a part of {found} points, the good ones {low} to {high}", 2.0),
    "share": Trait("shows a part that fills {found} of the picture, the good ones {low} to {high}", 2.0),
}


def scan_traits(sample: Sample) -> dict[str, float]:
    """Of the whole scan, before anything is removed from it."""
    lab = cv2.cvtColor(sample.rgb, cv2.COLOR_RGB2LAB).reshape(-1, 3).astype(np.float64)
    found = {"height": float(sample.size[0]), "width": float(sample.size[1])}
    if sample.missing != "rgb":
        found |= {"light": float(np.percentile(sample.rgb.mean(-1), 75)), "red_green": lab[:, 1].mean() - 128,
                  "yellow_blue": lab[:, 2].mean() - 128}
    if sample.missing != "xyz":
        points = sample.xyz[sample.valid]
        found |= {"returns": float(sample.valid.mean()), "distance": _middle(points), "view": _across(points)}
    return found


def part_traits(look: Look) -> dict[str, float]:
    """Of the part alone."""
    found = {"share": float(look.outline.mean())}
    if look.sample.missing != "xyz":
        points = look.sample.xyz[look.sample.valid]
        found |= {"extent": _across(points), "points": float(len(points))}
    return found


def _middle(points: np.ndarray) -> float:
    return float(np.median(np.linalg.norm(points.astype(np.float64), axis=1))) if len(points) else 0.0


def _across(points: np.ndarray) -> float:
    """Diagonal of the box that holds the middle 98 % of the points along each axis."""
    if not len(points):
        return 0.0
    low, high = np.percentile(points.astype(np.float64), (1, 99), axis=0)
    return float(np.linalg.norm(high - low))


def ranges_of(traits: Sequence[Mapping[str, float]]) -> Ranges:
    """Smallest and largest value of each trait that all good parts have."""
    return {name: (min(t[name] for t in traits), max(t[name] for t in traits))
            for name in TRAITS if all(name in t for t in traits)}


def unlike(found: Mapping[str, float], ranges: Ranges) -> str:
    """Why a scan cannot be compared with the good ones, by the first traits that are far outside; "" where it can."""
    reasons = [reason for name, value in found.items() if name in ranges
               and (reason := _outside(name, value, *ranges[name]))]
    return "; ".join(reasons[:2])


def _outside(name: str, value: float, low: float, high: float) -> str:
    """What is wrong with a trait. Levels end at 255: too much light is three quarters of the way there from the good ones."""
    trait = TRAITS[name]
    if trait.plus:
        spread = high - low
        below, above = low - trait.plus - spread, high + trait.plus + spread
    else:
        below, above = low / trait.factor, high * trait.factor
    if name == "light":
        below, above = max(below, min(DARK, low / 1.1)), min(above, (high + 3 * 255) / 4)
    if below <= value <= above:
        return ""
    words = trait.words.format(**{key: f"{number:.{trait.digits}g}"
                                  for key, number in (("found", value), ("low", low), ("high", high))})
    if name in ("distance", "view", "extent") and low > 0:
        ratio = value / ((low + high) / 2)
        near = [text for factor, text in UNITS.items() if 0.5 < ratio / factor < 2]
        words += f": {near[0]}?" if near else ""
    if name == "light" and value < low:
        words += ": too dark, is the lens covered?"
    return words
