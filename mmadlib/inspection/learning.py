"""From good parts to what an inspector knows: how to look at them, their features, a model, held-out scores, ranges."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Bool

from mmadlib.errors import DataError, TrainingError, explain
from mmadlib.features import Extractor, Features
from mmadlib.inspection.calibration import Calibration
from mmadlib.inspection.comparable import part_traits, ranges_of, scan_traits, unlike
from mmadlib.inspection.folding import held_out
from mmadlib.inspection.foreground import Rule, look
from mmadlib.inspection.judging import Known
from mmadlib.inspection.looking import alone, good_warnings
from mmadlib.inspection.scan_grid import map_of, peak_of
from mmadlib.inspection.scans import Scans
from mmadlib.inspection.speaking import levels_of
from mmadlib.methods import Method, Scores
from mmadlib.progress import bar


@dataclass(eq=False)
class Seen:
    """The good parts as the rule looks at them, one entry each; the scans themselves are not kept."""

    features: list[Features] = field(default_factory=list)
    outlines: list[Bool[np.ndarray, "_H _W"]] = field(default_factory=list)
    traits: list[dict[str, float]] = field(default_factory=list)
    gaps: list[float] = field(default_factory=list)
    said: list[tuple[float, tuple[str, ...]]] = field(default_factory=list)
    missing: set[str] = field(default_factory=set)
    marks: list[str] = field(default_factory=list)  # digests of what was scanned, by which a part is known again

    @property
    def warnings(self) -> list[tuple[str, ...]]:
        return good_warnings(self.said)


def seen(found: Scans, rule: Rule, extractor: Extractor, progress: bool = True) -> Seen:
    """Look at good parts, one after the other. Raises what reading, isolation and extraction raise: all of them are needed."""
    all_of = Seen()
    for i in bar(range(len(found)), "features", progress):
        sample = found.samples[i]
        this = look(sample, rule)
        all_of.features.append(extractor(this.sample))
        all_of.outlines.append(this.outline)
        all_of.traits.append(scan_traits(sample) | part_traits(this))
        all_of.gaps.append(this.gap / max(1, int(this.outline.sum())))
        all_of.said.append(alone(this, rule))
        all_of.missing.add(sample.missing)
        all_of.marks.append(hashlib.blake2b(sample.rgb.tobytes() + sample.xyz.tobytes(), digest_size=16).hexdigest())
    if len(all_of.missing) > 1:
        raise DataError("good parts: some have colour and 3D, some only one of them; give parts of one kind")
    return all_of


def learned(method: str, good: Seen, further: Seen | None, names: list[str], rule: Rule, pad: str, *, asked: float,
            folds: int | None, seed: int, device: str, settings: Mapping[str, Any], jobs: int,
            progress: bool) -> tuple[Method, Known]:
    """The model of the good parts and what goes with it. further: good parts that only the threshold rests on, by `names`."""
    if len(good.features) < 2 and further is None:
        raise TrainingError("one good part: no part is left to say what scores good parts have; give two, better 19 and more, "
                            "or calibration=, a folder of further good parts")
    known = set(good.marks)
    twice = [name for name, mark in zip(names, further.marks, strict=True) if mark in known] if further is not None else []
    if twice:
        raise DataError(explain(f"calibration part {twice[0]}", "is one of the good parts, whose scores a model knows",
                                f"give further parts, none of the good ones ({len(twice)} are)"))
    model, scores = held_out(method, good.features, folds=folds if further is None else 0, seed=seed, device=device,
                             settings=settings, jobs=jobs, progress=progress)
    traits, gaps, outlines, used = list(good.traits), list(good.gaps), good.outlines, 0
    if further is not None:
        ranges = ranges_of(good.traits)
        for name, found in zip(names, further.traits, strict=True):
            if reason := unlike(found, ranges):
                raise DataError(explain(f"calibration part {name}", reason, "give further parts of the same kind"))
        scores = [model.score(f) for f in bar(further.features, "calibration", progress)]
        traits, gaps, outlines = traits + further.traits, gaps + further.gaps, further.outlines
    else:
        used = _folds(method, good, folds)
    calibration, levels = calibrated(scores, outlines, pad, used)
    return model, Known(method, pad, rule, next(iter(good.missing)), ranges_of(traits), max(gaps), levels, calibration,
                        calibration.thresholds(asked))


def _folds(method: str, good: Seen, folds: int | None) -> int:
    from mmadlib.inspection.folding import folds_of

    return folds_of(method, len(good.features), folds) if len(good.features) > 1 else 0


def calibrated(scores: list[Scores], outlines: list[Bool[np.ndarray, "_H _W"]], pad: str,
               folds: int) -> tuple[Calibration, dict[str, float]]:
    """Held-out scores and peaks, and the levels of the method's parts."""
    peaks = [peak_of(map_of(s, outline, pad), outline) for s, outline in zip(scores, outlines, strict=True)]
    levels = levels_of([s.parts for s in scores], [s.map > 0 for s in scores])
    return Calibration(np.array([s.image for s in scores], np.float64), np.array(peaks, np.float64), folds), levels
