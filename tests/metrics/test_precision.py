"""Average precision and the largest F1 equal scikit-learn's, ties included; tables have them on request."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, precision_recall_curve

from mmadlib.errors import MetricUndefined, SettingsError, UnknownName
from mmadlib.metrics import evaluate_maps, image_ap, image_f1_max, pixel_ap, pixel_f1_max
from mmadlib.metrics.evaluate import EXTRA


def sklearn_f1_max(labels, scores) -> float:
    precision, recall, _ = precision_recall_curve(labels, scores)
    return max(2 * p * r / (p + r) for p, r in zip(precision, recall, strict=True) if p + r)


def scores_and_labels(case: str, n: int = 60):
    rng = np.random.default_rng(0)
    labels = rng.random(n) < 0.3
    noise = rng.normal(size=n)
    scores = {"plain": noise + labels, "ties": np.round(noise + labels), "blind": noise, "inverted": noise - 3 * labels,
              "perfect": noise + 9 * labels, "constant": np.ones(n), "two values": (noise + labels > 1).astype(float)}
    return scores[case], labels


@pytest.mark.parametrize("case", ["plain", "ties", "blind", "inverted", "perfect", "constant", "two values"])
def test_both_equal_scikit_learn_per_image_and_per_pixel(case):
    scores, labels = scores_and_labels(case)
    for ap, f1, given in ((image_ap, image_f1_max, (scores, labels)),
                          (pixel_ap, pixel_f1_max, (scores.reshape(3, 4, 5), labels.reshape(3, 4, 5)))):
        assert ap(*given) == pytest.approx(average_precision_score(labels, scores), abs=1e-12)
        assert f1(*given) == pytest.approx(sklearn_f1_max(labels, scores), abs=1e-12)


def test_by_hand():
    scores, labels = [4, 3, 3, 2, 1, 0], [1, 0, 1, 0, 1, 0]
    assert image_ap(scores, labels) == pytest.approx((1 + 2 / 3 + 3 / 5) / 3)  # precision at 4, at 3 (both), at 1
    assert image_f1_max(scores, labels) == pytest.approx(3 / 4)  # at 1: three of three found, two too many


def test_a_perfect_score_reads_one_and_a_constant_one_the_share_of_defects():
    labels = np.arange(8) < 2
    assert image_ap(labels, labels) == image_f1_max(labels, labels) == 1
    assert image_ap(np.ones(8), labels) == 1 / 4 and image_f1_max(np.ones(8), labels) == pytest.approx(2 / 5)


@pytest.mark.parametrize("metric", [image_ap, image_f1_max])
@pytest.mark.parametrize(("scores", "labels", "error", "words"), [
    ([1, 2], [0, 0], MetricUndefined, "no anomalous sample"), ([1, 2], [1, 1], MetricUndefined, "no normal sample"),
    ([1, np.nan], [0, 1], MetricUndefined, "image score 1 is NaN"), ([1, 2], [0, 2], SettingsError, "labels must be 0")])
def test_images_without_a_value_say_why(metric, scores, labels, error, words):
    with pytest.raises(error, match=words):
        metric(scores, labels)


@pytest.mark.parametrize("metric", [pixel_ap, pixel_f1_max])
@pytest.mark.parametrize(("damage", "words"), [((1, 0), "no mask holds a defect"), ((np.nan, 1), "NaN")])
def test_pixels_without_a_value_say_why(metric, damage, words):
    maps, masks = np.ones((2, 3, 3)), np.zeros((2, 3, 3))
    maps[0, 0], masks[0, 0] = damage
    with pytest.raises(MetricUndefined, match=words):
        metric(maps, masks)


@pytest.mark.parametrize("other_maps", [False, True])
def test_tables_have_them_on_request_from_the_maps_of_pixel_auroc(other_maps):
    scores, labels = scores_and_labels("ties")
    maps, masks = scores.reshape(4, 3, 5), labels.reshape(4, 3, 5)
    images, kinds = maps.max((1, 2)), [0, 1, 0, 1]
    keywords = {"pixel_maps": maps**3 - 5 * (maps == 1)} if other_maps else {}
    plain = evaluate_maps(maps, masks, images, kinds, **keywords)
    found = evaluate_maps(maps, masks, images, kinds, extra=EXTRA, **keywords)
    seen = keywords.get("pixel_maps", maps)
    assert set(found) == {*plain, *EXTRA} and {k: found[k] for k in plain} == plain
    assert [found[k] for k in EXTRA] == [image_ap(images, kinds), image_f1_max(images, kinds), pixel_ap(seen, masks),
                                         pixel_f1_max(seen, masks)]
    assert set(evaluate_maps(maps, masks, images, kinds, extra=["p_ap"])) == {*plain, "p_ap"}
    assert set(evaluate_maps(maps, masks, images, kinds, extra="i_ap")) == {*plain, "i_ap"}


@pytest.mark.parametrize("other_maps", [{}, {"pixel_maps": np.ones((2, 3, 3))}])
def test_on_request_too_what_has_no_value_is_nan_and_says_why(other_maps):
    reasons = {}
    found = evaluate_maps(np.ones((2, 3, 3)), np.zeros((2, 3, 3)), [1, 2], [0, 0], reasons=reasons, extra=EXTRA, **other_maps)
    assert all(np.isnan(found[name]) for name in EXTRA)
    assert "average precision needs both classes" in reasons["i_ap"] and "F1" in reasons["i_f1_max"]
    assert "no mask holds a defect" in reasons["p_ap"] and "no mask holds a defect" in reasons["p_f1_max"]


def test_an_unknown_request_is_refused_before_anything_is_computed():
    with pytest.raises(UnknownName, match="did you mean 'p_ap'"):
        evaluate_maps(None, None, None, None, extra=["p_app"])
