"""A few small parts with what was said of them, without an inspector."""

import numpy as np
from samples import dome

from mmadlib.inspection.verdicts import Region, Thresholds, Verdict

THRESHOLDS = Thresholds(1.0, 0.8, 0.05, 0.05, 20, 19, "Twenty good parts; at most 5 % of such are called bad.")
HOSTILE = "</script><img src=x onerror=alert(1)>"
NAMES = ("plate", HOSTILE, "=1+1", "Träger 部品")
SCORES = (0.4, 2.5, 1.3, float("nan"))


def part(name=NAMES[0], score=SCORES[0], seed=0, size=64):
    """(sample, verdict): bad above 1, with one region of 3 x 5 pixels, whose peak is the score; not comparable without one."""
    sample = dome(size, seed)
    values = np.where(sample.valid, 0.2, np.nan).astype(np.float32)
    regions = ()
    if score > 1:
        values[30:33, 20:25] = 0.9
        values[31, 22] = score
        regions = (Region((30, 20, 33, 25), score, (31, 22), 15, 9.6, "shape"),)
    if np.isnan(score):
        return sample, Verdict(name, "not comparable", score, None, np.full_like(values, np.nan), np.zeros_like(sample.valid),
                               reason="its extent is 1000 times that of the good parts")
    kind = "bad" if score > 1 else "good"
    return sample, Verdict(name, kind, score, 1 / 21 if score > 1 else 0.5, values, sample.valid, regions,
                           "above the threshold" if regions else "", "shape" if regions else "",
                           ("a hole",) if seed == 2 else ())


def parts():
    """(samples, verdicts), one of NAMES each."""
    made = [part(name, score, i) for i, (name, score) in enumerate(zip(NAMES, SCORES, strict=True))]
    return [sample for sample, _ in made], [verdict for _, verdict in made]
