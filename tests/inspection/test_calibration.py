"""Calibration: the promise holds for exchangeable scores; order statistic and p-value say the same."""

import numpy as np
import pytest
from scipy.stats import binomtest

from mmadlib.errors import SettingsError, TrainingError
from mmadlib.inspection.calibration import Calibration, check_rate, cut, needed, p_value, rank


def of(scores, folds=0):
    return Calibration(np.array(scores, float), np.array(scores, float), folds)


@pytest.mark.parametrize(("rate", "parts", "k"), [(0.05, 19, 1), (0.05, 18, 0), (0.05, 39, 2), (0.29, 99, 29), (0.1, 9, 1),
                                                  (0.07, 99, 7), (0.3, 9, 3)])
def test_the_rank_is_exact_whatever_floats_make_of_the_rate(rate, parts, k):
    assert rank(rate, parts) == k


@pytest.mark.parametrize(("rate", "parts"), [(0.05, 19), (0.01, 99), (0.1, 9), (0.3, 3), (0.5, 1)])
def test_the_rate_needs_so_many_parts_and_not_one_less(rate, parts):
    assert needed(rate) == parts
    assert rank(rate, parts) >= 1 > rank(rate, parts - 1)


def test_above_the_threshold_and_a_p_value_of_at_most_the_rate_are_the_same():
    rng = np.random.default_rng(0)
    for n in (1, 5, 19, 40):
        for rate in (0.05, 0.2, 0.5):
            held = rng.integers(0, 9, n).astype(float)  # with ties
            for score in np.arange(-1, 11, 0.5):
                if rank(rate, n):
                    assert (score > cut(held, rate)) == (p_value(score, held) <= rate)
                else:
                    assert (score > cut(held, rate)) == (p_value(score, held) == 1 / (n + 1))


@pytest.mark.parametrize(("n", "rate"), [(5, 0.05), (10, 0.05), (19, 0.05), (39, 0.05), (40, 0.1)])
def test_the_promise_holds_over_thousands_of_draws(n, rate):
    rng = np.random.default_rng(n)
    draws = 2000
    scores = rng.gamma(2.0, size=(draws, n + 1))
    bad = sum(new > cut(np.array(held), rate) for *held, new in scores)
    promised = of(scores[0, :-1]).thresholds(rate).promised
    law = max(1, rank(rate, n)) / (n + 1)  # what exchangeable scores give, at most what is promised
    interval = binomtest(bad, draws).proportion_ci(0.999)
    assert interval.low <= law <= interval.high
    assert law <= promised + 1e-12


def test_too_few_parts_are_said_to_be_too_few():
    few, enough = of(range(10), 10).thresholds(0.05), of(range(19), 10).thresholds(0.05)
    assert (few.promised, few.needed, few.parts, few.image) == (1 / 11, 19, 10, 9.0)
    assert few.how.startswith("Above the largest held-out good score")
    assert "19 good parts" in few.how and "approximation" in few.how
    assert enough.promised == enough.asked == 0.05 and enough.image == 18.0
    assert "largest" not in enough.how
    assert "proven" in of(range(19), 0).thresholds(0.05).how


def test_values_that_are_no_numbers_are_refused():
    for held in ([], [1.0, float("nan")], [1.0, float("inf")]):
        with pytest.raises(TrainingError, match="not finite"):
            of(held)


@pytest.mark.parametrize("rate", [0, 1, -0.1, 2, "5%", True, float("nan")])
def test_a_rate_is_a_share(rate):
    with pytest.raises(SettingsError, match="false_alarms"):
        check_rate(rate)
