"""Which pixels of a scan are the part: the table is removed, holes inside the outline of the part stay part of it.

A dent that reaches down to the table is, to the plane fit of mmadlib.prepare.isolate, table: it would be cut out and the
part pass as good. So the outline that isolation keeps is filled, points within are put back where there are any, and where
there are none they are counted: missing points are evidence, not background.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool
from scipy.ndimage import binary_fill_holes, label

from mmadlib.data import layout
from mmadlib.errors import DataError, PreprocessError, SettingsError, explain
from mmadlib.prepare.constants import PUBLISHED
from mmadlib.prepare.isolate import find_object
from mmadlib.prepare.plane import rim_points
from mmadlib.sample import Sample

ISOLATE = "auto"  # or True, or False
RIM = 0.6  # share of the rim's points on one plane above which it is a table
LEAST = 0.02  # share of the points that must be off that plane, or it is the part itself that fills the picture
HALF = 0.5


@dataclass(frozen=True, eq=False)
class Rule:
    """How the foreground of every part is found, decided once from the good parts and kept with the model.

    isolate  remove the table;   bare  parts reach the front ends with `isolated` so, all alike
    fixed    the foreground of all parts, for a fixture; None: of each part its own
    """

    isolate: bool
    bare: bool
    fixed: Bool[np.ndarray, "H W"] | None = None


@dataclass(frozen=True, eq=False)
class Look:
    """A scan as the model looks at it. sample: all but the part is (0, 0, 0) if the rule says so; outline: the part, holes
    filled; table: a plane that fills the rim is in the picture; gap: pixels of the largest hole without points."""

    sample: Sample
    outline: Bool[np.ndarray, "H W"]
    table: bool
    gap: int


def check_isolate(isolate: Any) -> bool | str:
    """Raises SettingsError unless it is "auto", True or False."""
    if not (isinstance(isolate, bool) or isolate == ISOLATE):
        raise SettingsError(f'isolate={isolate!r}: "auto", True or False is needed')
    return isolate


def on_table(sample: Sample) -> Bool[np.ndarray, "H W"] | None:
    """The object on the plane that fills the rim of a scan; None where there is no such plane, or nothing stands on it."""
    if sample.isolated or sample.missing == "xyz" or layout.rim_points(sample.valid) < layout.RIM_POINTS:
        return None
    try:
        found = find_object(sample)
    except PreprocessError:
        return None
    rim = rim_points(sample.xyz, sample.valid, PUBLISHED.rim)
    flat = np.abs(rim @ found.plane[:3] + found.plane[3]) < PUBLISHED.plane_distance
    if flat.mean() < RIM or found.keep.sum() < LEAST * sample.valid.sum():
        return None
    return found.keep


def gap_of(outline: Bool[np.ndarray, "H W"], valid: Bool[np.ndarray, "H W"]) -> tuple[int, Bool[np.ndarray, "H W"]]:
    """Pixels of the largest connected place inside the outline without points, and that place."""
    places, count = label(outline & ~valid)
    if count == 0:
        return 0, np.zeros_like(outline)
    sizes = np.bincount(places.ravel())[1:]
    return int(sizes.max()), places == sizes.argmax() + 1


def look(sample: Sample, rule: Rule) -> Look:
    """A scan as the rule has it. Raises PreprocessError where the table cannot be removed, DataError for a picture of another
    size than the fixed foreground, or where nothing is left of the part."""
    where = sample.path or "sample"
    keep = on_table(sample)
    if rule.fixed is not None:
        if rule.fixed.shape != sample.size:
            raise DataError(explain(where, f"has {sample.size[0]} x {sample.size[1]} pixels, the fixture's foreground "
                                    "{} x {}".format(*rule.fixed.shape), "scan all parts alike, or leave fixture out"))
        outline = rule.fixed
    elif rule.isolate and not sample.isolated and sample.missing != "xyz":
        outline = binary_fill_holes(keep if keep is not None else find_object(sample).keep)
    else:
        outline = np.ones_like(sample.valid) if sample.missing == "xyz" else binary_fill_holes(sample.valid)
    valid = sample.valid & outline
    if not valid.any():
        raise DataError(explain(where, "has no point where the part should be", "check the scan"))
    seen = sample.with_(xyz=np.where(valid[..., None], sample.xyz, np.float32(0)), valid=valid, isolated=rule.bare)
    gap, _ = gap_of(outline, valid)
    return Look(seen, outline, keep is not None, 0 if sample.missing == "xyz" else gap)


def decide(samples: Sequence[Sample], isolate: bool | str = "auto", fixture: bool = False) -> Rule:
    """The rule for all parts from the good ones: "auto" removes a table that most of them stand on.

    fixture: the foreground is what is part in at least half of the good parts. Raises as `look`, DataError for good parts of
    several sizes in a fixture.
    """
    facts = [(isolate == "auto" and on_table(sample) is not None, sample.isolated) for sample in samples]
    tables, bare = np.mean(facts, axis=0)
    removed = bool(tables > HALF) if isolate == "auto" else bool(isolate)
    rule = Rule(removed, removed or bool(bare > HALF))
    if not fixture:
        return rule
    outlines = [look(sample, rule).outline for sample in samples]
    if len({outline.shape for outline in outlines}) > 1:
        raise DataError("good parts in a fixture: their pictures have several sizes; scan all alike, or leave fixture out")
    return Rule(removed, True, binary_fill_holes(np.mean(outlines, axis=0) >= HALF))
