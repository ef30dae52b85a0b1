"""What a finer grid sees, and costs: rendered parts at several sizes, on data seed 0.

`python benchmarks/own_sizes.py [--method cpir]` writes results/own_parts/sizes.csv, a row a category and size: processor
seconds of a new part (features, map, verdict; median), how many of the defects are found (called bad) and outlined (the box
of a region meets the true one), and the smallest of these in mm2. Times are of one machine: read them as ratios.
"""

from __future__ import annotations

import argparse
import sys
import time

from mmadlib.pinned import pin

pin()  # before anything loads numpy
# ruff: noqa: E402

import numpy as np
import pandas as pd

from mmadlib.atomic import atomic
from mmadlib.data import Samples, load
from mmadlib.inspection import Inspector
from mmadlib.inspection.verdicts import BAD, Verdict
from mmadlib.paths import RESULTS, shown
from mmadlib.sample import Sample

FILE = RESULTS / "own_parts" / "sizes.csv"
SIZES = (112, 168, 224, 336)  # the rendered scans have 224 pixels a side
CATEGORIES = ("keyed", "organic")
GOOD_PARTS, GOOD_ONES, OF_A_KIND = 10, 8, 4


def some_parts(category: str) -> tuple[Samples, Samples]:
    """Good parts to fit on and new ones: good ones and defects of every kind."""
    good, test = load("rendered", category, "train").take(range(GOOD_PARTS)), load("rendered", category, "test")
    kinds = dict.fromkeys(e.defect for e in test.entries)
    places = [i for kind in kinds for i in [i for i, e in enumerate(test.entries) if e.defect == kind]
              [:GOOD_ONES if kind == "good" else OF_A_KIND]]
    return good, test.take(places)


def outlined(verdict: Verdict, sample: Sample) -> bool:
    """Whether the box of one of the regions meets the true defect."""
    return any(sample.mask[top:bottom, left:right].any() for top, left, bottom, right in (r.box for r in verdict.regions))


def measure(method: str, category: str, size: int) -> dict[str, object]:
    """One row."""
    good, new = some_parts(category)
    inspector, seconds, found, areas, alarms = Inspector(method, options={"size": size}, seed=0), [], [], [], 0
    inspector.fit(good, progress=False)
    for i in range(len(new)):
        start = time.process_time()  # of one thread, as all is pinned; other work on the machine does not count
        (verdict,) = inspector.predict(new.take([i]), progress=False)
        seconds.append(time.process_time() - start)
        sample = new[i]
        if sample.label == 0:
            alarms += verdict.verdict == BAD
            continue
        found.append(verdict.verdict == BAD and outlined(verdict, sample))
        areas.append(surface(sample))
    hit = np.array(areas)[np.array(found)]
    return {"method": method, "category": category, "size": size, "part_s": round(float(np.median(seconds)), 2),
            "defects": len(found), "found": int(np.sum(found)), "false_alarms": alarms, "of_good": len(new) - len(found),
            "smallest_mm2": round(float(hit.min()), 1) if hit.size else float("nan"),
            "smallest_there_mm2": round(min(areas), 1)}


def surface(sample: Sample) -> float:
    """Area of the true defect, mm2: its pixels by the size of one at its median depth."""
    z = float(np.median(sample.xyz[sample.valid & sample.mask, 2])) if (sample.valid & sample.mask).any() else np.nan
    x = sample.xyz[..., 0]
    both = sample.valid[:, 1:] & sample.valid[:, :-1]
    step = float(np.median(np.diff(x, axis=1)[both] / sample.xyz[:, 1:, 2][both])) * z * 1000
    return float(sample.mask.sum()) * step**2


def main(argv: list[str] | None = None) -> int:
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("--method", default="cpir")
    args.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    args.add_argument("--category", nargs="+", default=CATEGORIES)
    given = args.parse_args(argv)
    rows = []
    for category in given.category:
        for size in given.sizes:
            rows.append(measure(given.method, category, size))
            print(rows[-1], flush=True)
    with atomic(FILE) as path:
        pd.DataFrame(rows).to_csv(path, index=False, lineterminator="\n")
    print(f"written: {shown(FILE)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
