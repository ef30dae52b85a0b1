"""False alarms: how many good parts that no model has seen an Inspector calls bad, beside what it promised.

    python benchmarks/false_alarms.py nearest --parts 5 10 20 40 --draws 5

A draw takes so many of the 90 good parts of a rendered category (train, validation, test/good of data seed 0), learns from
them with a threshold, and judges all the others. Draws of a category overlap, so they are not independent; an interval is from
the spread of the categories' rates. results/own_parts/false_alarms_<method>.csv holds a row a draw, and what stands there is
not measured again:

    category, draw, parts      what was drawn: the first `parts` of permutation number `draw`
    promised, false_alarms, of what was promised for 5 %, how many good parts were called bad for their score, of how many
    holes, not_comparable      good parts called bad for missing points, and those that got no verdict; both should be 0
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import numpy as np
from scipy.stats import t

from mmadlib.data import load
from mmadlib.features import Extractor, extract_all, family
from mmadlib.inspection.comparable import part_traits, ranges_of, scan_traits, unlike
from mmadlib.inspection.folding import folds_of, held_out
from mmadlib.inspection.foreground import Look, decide, look
from mmadlib.inspection.judging import GAP_FACTOR, GAP_PLUS
from mmadlib.inspection.learning import calibrated
from mmadlib.paths import CACHE, RESULTS
from mmadlib.progress import bar

CATEGORIES = ("keyed", "free", "shape", "organic", "plain")
ASKED = 0.05
COLUMNS = ("category", "draw", "parts", "promised", "false_alarms", "of", "holes", "not_comparable")
DRAWS = 12  # stream of random numbers


def good_parts(category: str, cache: Path = CACHE):
    """Features, looks and traits of all good parts of a category, the table removed as the Inspector does it."""
    samples = [sample for split in ("train", "validation", "test") for sample in load("rendered", category, split)
               .where(defect="good")]
    rule = decide(samples[:10])
    looks: list[Look] = [look(sample, rule) for sample in bar(samples, f"{category}: look")]
    features = extract_all([found.sample for found in looks], Extractor(*family("learned"), isolate=False), cache, keep=100)
    traits = [scan_traits(sample) | part_traits(found) for sample, found in zip(samples, looks, strict=True)]
    return [features[i] for i in range(len(features))], looks, traits


def measure(method: str, parts: int, draw: int, features, looks, traits, jobs: int = 1) -> dict[str, float]:
    """One draw: learn from so many good parts, judge the others."""
    order = np.random.default_rng([draw, DRAWS]).permutation(len(features)).tolist()
    good, others = order[:parts], order[parts:]
    model, held = held_out(method, [features[i] for i in good], seed=draw, jobs=jobs)
    calibration, _ = calibrated(held, [looks[i].outline for i in good], "edge", folds_of(method, parts))
    thresholds, ranges = calibration.thresholds(ASKED), ranges_of([traits[i] for i in good])
    gaps = [found.gap / found.outline.sum() for found in looks]
    limit = GAP_FACTOR * max(gaps[i] for i in good) + GAP_PLUS
    alarms = sum(model.score(features[i]).image > thresholds.image for i in bar(others, f"{method}: judge"))
    return {"promised": round(thresholds.promised, 4), "false_alarms": alarms, "of": len(others),
            "holes": sum(gaps[i] > limit for i in others),
            "not_comparable": sum(bool(unlike(traits[i], ranges)) for i in others)}


def summary(rows: list[dict[str, str]]) -> list[str]:
    """Rate of each number of parts, its 95 % interval, and what was promised."""
    lines = []
    for parts in sorted({int(row["parts"]) for row in rows}):
        these = [row for row in rows if int(row["parts"]) == parts]
        rates = {c: np.mean([int(r["false_alarms"]) / int(r["of"]) for r in these if r["category"] == c])
                 for c in {row["category"] for row in these}}
        values = np.array(list(rates.values()))
        half = t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / len(values) ** 0.5 if len(values) > 1 else np.nan
        lines.append(f"{parts:3d} parts: {values.mean():.3f} +- {half:.3f} (promised {float(these[0]['promised']):.3f}; "
                     f"{len(these)} draws, {sum(int(r['of']) for r in these)} judgements; "
                     f"{sum(int(r['holes']) for r in these)} for holes, "
                     f"{sum(int(r['not_comparable']) for r in these)} not comparable)")
    return lines


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("method")
    arguments.add_argument("--parts", type=int, nargs="+", default=[5, 10, 20, 40])
    arguments.add_argument("--draws", type=int, default=5)
    arguments.add_argument("--categories", nargs="+", default=CATEGORIES)
    arguments.add_argument("--jobs", type=int, default=1)
    given = arguments.parse_args()
    path = RESULTS / "own_parts" / f"false_alarms_{given.method}.csv"
    rows = list(csv.DictReader(path.open())) if path.is_file() else []
    there = {(row["category"], int(row["draw"]), int(row["parts"])) for row in rows}
    for category in given.categories:
        wanted = [(draw, parts) for draw in range(given.draws) for parts in given.parts
                  if (category, draw, parts) not in there]
        if not wanted:
            continue
        features, looks, traits = good_parts(category)
        for draw, parts in wanted:
            found = measure(given.method, parts, draw, features, looks, traits, given.jobs)
            rows.append({"category": category, "draw": str(draw), "parts": str(parts)} | {k: str(v) for k, v in found.items()})
            print(category, draw, parts, found, flush=True)
            rows.sort(key=lambda row: (CATEGORIES.index(row["category"]), int(row["draw"]), int(row["parts"])))
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("w", newline="") as file:
                writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
                writer.writeheader()
                writer.writerows(rows)
    print(*summary(rows), sep="\n")


if __name__ == "__main__":
    main()
