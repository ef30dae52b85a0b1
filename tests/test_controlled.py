"""The rendered data are a controlled experiment: each defect shows in its modality and in no other.

Few samples a category, so averages over categories are tested; notebook 01 shows the same with all samples. Clean parts are
the twins of the defects, which makes blindness exact: an RGB detector must give a dent and its twin the same score.
"""

import numpy as np
import pytest

from mmadlib.data import load, rendered_plan
from mmadlib.features import Extractor, extract_all, family
from mmadlib.methods import METHODS
from mmadlib.metrics import image_auroc

SHOTS, PAIRS = 4, 4  # training samples; defects of a kind, each with its twin


class Bench:
    """Descriptors of the few samples of one category, and detectors fitted on its normal ones."""

    def __init__(self, category: str, root) -> None:
        self.category, self.root, self.extractor = category, root, Extractor(*family("descriptors"))
        self.train = self.features(load("rendered", category, "train", root=root).take(range(SHOTS)))
        self.clean = {d: self.features(self.twins(d)) for d in rendered_plan.TWINNED}
        self.models = {}

    def features(self, samples) -> list:
        found = extract_all(samples, self.extractor, cache=None, progress=False)
        return [found[i] for i in range(len(found))]

    def twins(self, defect: str):
        twins = load("rendered", self.category, "twins", root=self.root)
        return twins.take([i for i, e in enumerate(twins.entries) if e.extra["twin_of"].split("/")[1] == defect][:PAIRS])

    def defects(self, defect: str, count: int = PAIRS) -> list:
        return self.features(load("rendered", self.category, "test", root=self.root).where(defect=defect)[:count])

    def auroc(self, bank: str, bad: list, good: list) -> float:
        if bank not in self.models:
            self.models[bank] = METHODS["nearest"](bank=bank).fit(self.train, progress=False)
        score = [self.models[bank].score(f).image for f in (*good, *bad)]
        return image_auroc(np.array(score), np.repeat([0, 1], [len(good), len(bad)]))


@pytest.fixture(scope="module")
def benches(tmp_path_factory) -> dict[str, Bench]:
    root = tmp_path_factory.mktemp("rendered")
    return {category: Bench(category, root) for category in rendered_plan.CATEGORIES}


@pytest.mark.parametrize(("defect", "seeing", "blind"), [("stain", "rgb", "xyz"), ("dent", "xyz", "rgb")])
def test_one_modality_sees_the_defect_and_the_other_is_blind(benches, defect, seeing, blind):
    seen = {}
    for category, bench in benches.items():
        bad = bench.defects(defect)
        everything_clean = [f for clean in bench.clean.values() for f in clean]
        seen[category] = bench.auroc(seeing, bad, everything_clean)
        assert 0.45 <= bench.auroc(blind, bad, bench.clean[defect]) <= 0.55, f"{category}: {defect} leaks into {blind}"
    assert np.mean(list(seen.values())) >= 0.85, seen


def test_a_relation_shows_only_to_both_modalities_together(benches):
    bench = benches["keyed"]
    bad, good = bench.defects("relation", 12), [f for clean in bench.clean.values() for f in clean]
    assert bench.auroc("joint", bad, good) >= 0.90
    assert bench.auroc("max", bad, good) <= 0.65
