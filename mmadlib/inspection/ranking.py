"""No good part at all: the parts of a batch judge each other, and the largest gap in their scores cuts the ranking.

There is no promise: nobody said which parts are good. A score is of this batch alone (mmadlib.methods.musc).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from mmadlib.errors import DataError, explain
from mmadlib.features import Extractor
from mmadlib.inspection.foreground import Look, decide, look
from mmadlib.inspection.judging import UNUSABLE, Known, judged, short, unusable
from mmadlib.inspection.scan_grid import map_of, peak_of
from mmadlib.inspection.scans import Scans
from mmadlib.inspection.speaking import levels_of
from mmadlib.inspection.verdicts import Thresholds, Verdict
from mmadlib.methods import BATCH_METHODS
from mmadlib.progress import bar
from mmadlib.sample import Sample

ALIASES = {"musc_v2": "musc"}  # what the paper calls it -> its name here
HOW = ("A ranking of this batch, cut at the largest gap in the upper half of its scores: no good part was given, so nothing "
       "is promised.")


def gap_cut(scores: np.ndarray) -> float:
    """The middle of the largest gap between neighbours in the upper half of the sorted scores.

    >>> gap_cut(np.array([1.0, 1.2, 1.1, 1.3, 3.0]))
    2.15
    """
    upper = np.sort(scores)[(len(scores) - 1) // 2:]
    if len(upper) < 2:
        return float(upper[0])
    widest = int(np.diff(upper).argmax())
    return float((upper[widest] + upper[widest + 1]) / 2)


def ranked(method: str, found: Scans, extractor: Extractor, isolate: bool | str, fixture: bool, *, seed: int, device: str,
           settings: Mapping[str, Any], progress: bool) -> tuple[list[Verdict], Known]:
    """Verdicts on a batch, and the thresholds of the cut. Raises DataError where no part can be read, TrainingError where
    fewer can be used than the method compares."""
    whole: dict[int, Sample] = {}
    unread: dict[int, str] = {}
    for i in bar(range(len(found)), "read", progress):
        try:
            whole[i] = found.samples[i]
        except UNUSABLE as err:
            unread[i] = short(err, found.paths[i])
    if not whole:
        first = min(unread)
        raise DataError(explain(found.paths[first] or found.names[first], unread[first], "no part can be read"))
    rule = decide(list(whole.values()), isolate, fixture)
    looks: dict[int, Look] = {}
    features = {}
    for i in bar(list(whole), "features", progress):
        try:
            looks[i] = look(whole[i], rule)
            features[i] = extractor(looks[i].sample)
        except UNUSABLE as err:
            unread[i] = short(err, found.paths[i])
    scores = dict(zip(features, BATCH_METHODS[method](seed=seed, device=device, **settings).score_batch(
        list(features.values()), progress), strict=True))
    peaks = {i: peak_of(map_of(s, looks[i].outline, extractor.options.pad), looks[i].outline) for i, s in scores.items()}
    image = gap_cut(np.array([s.image for s in scores.values()]))
    below = [i for i, s in scores.items() if s.image <= image]
    thresholds = Thresholds(image, max(peaks[i] for i in below), float("nan"), None, 0, 0, HOW)
    gaps = [looks[i].gap / looks[i].outline.sum() for i in below]
    levels = levels_of([scores[i].parts for i in below], [scores[i].map > 0 for i in below])
    known = Known(method, extractor.options.pad, rule, "", {}, float(max(gaps)), levels, None, thresholds)
    verdicts = [judged(found.names[i], found.paths[i], looks[i], scores[i], known) if i in scores else
                unusable(found.names[i], found.paths[i], unread[i], whole.get(i), looks.get(i), known)
                for i in range(len(found))]
    return verdicts, known
