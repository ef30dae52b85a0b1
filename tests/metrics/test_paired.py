"""The difference of two AUROCs on the same images, and its interval."""

import numpy as np
import pytest

from mmadlib.errors import MetricUndefined, SettingsError
from mmadlib.metrics import bootstrap_auroc, image_auroc
from mmadlib.metrics.paired import auroc_gap

LABELS = np.arange(80) % 2


def scores(strength: float, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=len(LABELS)) + strength * LABELS


def test_the_difference_is_that_of_the_two_numbers_and_changes_sign_with_the_sides():
    a, b = scores(2.0), scores(0.5, 1)
    gap, low, high = auroc_gap(a, b, LABELS)
    assert gap == image_auroc(a, LABELS) - image_auroc(b, LABELS) and 0 < low < gap < high
    assert auroc_gap(b, a, LABELS) == pytest.approx((-gap, -high, -low))


def test_against_scores_without_information_it_is_the_interval_of_one_auroc():
    a = scores(1.0)
    low, high = bootstrap_auroc(a, LABELS)
    assert auroc_gap(a, np.zeros(80), LABELS)[1:] == pytest.approx((low - 0.5, high - 0.5))


def test_what_both_find_hard_cancels():
    hard = 2 * scores(0.0)
    a, b = hard + 2 * LABELS, hard + 1.5 * LABELS
    together = np.diff(auroc_gap(a, b, LABELS)[1:])
    apart = np.hypot(np.diff(bootstrap_auroc(a, LABELS)), np.diff(bootstrap_auroc(b, LABELS, seed=1)))
    assert together < 0.6 * apart
    assert auroc_gap(a, 10 * a - 3, LABELS) == (0, 0, 0)  # scales do not matter


def test_seeds_and_levels():
    a, b = scores(1.0), scores(1.0, 1)
    assert auroc_gap(a, b, LABELS) == auroc_gap(a, b, LABELS) != auroc_gap(a, b, LABELS, seed=1)
    assert np.diff(auroc_gap(a, b, LABELS, level=0.5)[1:]) < np.diff(auroc_gap(a, b, LABELS)[1:])


def test_ties_count_one_half():
    assert auroc_gap([0, 1, 1, 1], [0, 1, 0, 1], [0, 1, 0, 1])[0] == 0.75 - 1


@pytest.mark.parametrize(("labels", "error"), [([0, 0, 0, 0], MetricUndefined), ([0, 1, 2, 0], SettingsError),
                                               ([0, 1], SettingsError)])
def test_what_has_no_auroc_is_refused(labels, error):
    with pytest.raises(error):
        auroc_gap(np.arange(4), np.arange(4), labels)
