"""The promise on parts: of new good parts no more are called bad than was said, over many draws of the good ones."""

import numpy as np
import pytest
from scenes import parts
from scipy.stats import binomtest

from mmadlib.errors import SettingsError
from mmadlib.features import Extractor
from mmadlib.inspection.folding import folds_of, groups, held_out
from mmadlib.inspection.foreground import decide, look
from mmadlib.inspection.learning import calibrated
from mmadlib.methods import METHODS

GOOD, DRAWS = 4, 60


@pytest.fixture(scope="module")
def features():
    """Of thirty good parts."""
    samples = parts(30, size=56)
    rule, extractor = decide(samples[:3]), Extractor("descriptors", "descriptors", size=56, isolate=False)
    looks = [look(sample, rule) for sample in samples]
    return [extractor(found.sample) for found in looks], [found.outline for found in looks]


def draw(features, seed):
    """Thresholds and model from GOOD parts at random, their training scores, and the score of another one."""
    found, outlines = features
    *good, new = np.random.default_rng(seed).permutation(len(found))[:GOOD + 1].tolist()
    model, held = held_out("nearest", [found[i] for i in good], settings={"size": 500}, seed=seed, progress=False)
    calibration, _ = calibrated(held, [outlines[i] for i in good], "edge", GOOD)
    own = [model.score(found[i]).image for i in good[:1]] if seed < 20 else []
    return calibration.thresholds(0.2), model.score(found[new]).image, own


def test_no_more_good_parts_are_called_bad_than_promised(features):
    """One new part a draw, so draws are nearly independent; a threshold from training scores would call all of them bad."""
    drawn = [draw(features, seed) for seed in range(DRAWS)]
    assert {t.promised for t, _, _ in drawn} == {0.2}
    alarms = sum(new > t.image for t, new, _ in drawn)
    assert binomtest(alarms, DRAWS, 0.2, alternative="greater").pvalue > 0.001
    assert 0 < alarms  # it is a rate, not a wall
    assert all(new > max(own) for _, new, own in drawn if own)


def test_every_part_is_scored_by_a_model_without_it(monkeypatch, features):
    found, _ = features
    seen = []
    genuine = METHODS["nearest"].fit

    def fit(self, given, progress=True):
        seen.append({found.index(f) for f in given})
        return genuine(self, given, progress)

    monkeypatch.setattr(METHODS["nearest"], "fit", fit)
    model, scores = held_out("nearest", found[:5], folds=2, seed=3, progress=False)
    apart = groups(5, 2, 3)
    assert seen == [set(range(5)) - set(some) for some in apart] + [set(range(5))]
    again = METHODS["nearest"](seed=3).fit([found[i] for i in range(5) if i not in apart[0]], progress=False)
    assert [again.score(found[i]).image for i in apart[0]] == [scores[i].image for i in apart[0]]
    assert len(scores) == 5 and model.fitted


@pytest.mark.parametrize(("method", "count", "folds"), [("nearest", 7, 7), ("nearest", 40, 10), ("cpir", 3, 3),
                                                        ("cpir", 10, 5)])
def test_what_trains_is_left_out_in_groups_what_does_not_one_by_one(method, count, folds):
    assert folds_of(method, count) == folds
    assert sorted(i for group in groups(count, folds) for i in group) == list(range(count))
    with pytest.raises(SettingsError, match="folds"):
        folds_of(method, count, 1)
