"""Metrics against recorded outputs of the official code (golden/aupro.npz), by hand-made cases and by invariants."""


import numpy as np
import pytest
import torch
from recorded import RECORDED
from sklearn.metrics import roc_auc_score

from mmadlib.errors import MetricUndefined, SettingsError
from mmadlib.metrics import aupro, bootstrap_auroc, evaluate_maps, image_auroc, pixel_auroc
from mmadlib.metrics.aupro import Pixels
from mmadlib.metrics.evaluate import LIMITS

GOLDEN = np.load(RECORDED / "aupro.npz")
SETS = range(8)  # plain, ties, zero background, weak, inverted, perfect, perfect but one hot pixel, constant


def golden(index: int, name: str) -> np.ndarray:
    return GOLDEN[next(k for k in (f"out.set{index}.{name}", f"in.set{index}.{name}") if k in GOLDEN)]


def random_set(n: int = 5, size: tuple[int, int] = (24, 30), seed: int = 0):
    """Maps with ties, masks with a defect in all but the first image, and a foreground."""
    rng = np.random.default_rng(seed)
    masks = np.zeros((n, *size), bool)
    masks[1:, 5:9, 6:12] = True
    masks[2:, 15:20, 20:23] = True
    maps = np.round(rng.random(masks.shape) + 0.4 * masks, 1)
    foreground = np.zeros(size, bool)
    foreground[3:22, 4:26] = True
    return maps, masks, np.broadcast_to(foreground, masks.shape)


@pytest.mark.parametrize("index", SETS)
def test_aupro_equals_the_official_routine_and_brute_force(index):
    maps, masks = golden(index, "scores"), golden(index, "masks")
    for i, limit in enumerate(LIMITS.values()):
        for name, thresholds in (("k99", 99), ("k100", 100), ("kall", int(golden(index, "n_ok_pixels")))):
            assert aupro(maps, masks, limit, thresholds) == pytest.approx(golden(index, f"aupro_{name}")[i], abs=1e-12)
        assert aupro(maps, masks, limit) == pytest.approx(golden(index, "aupro_exact")[i], abs=1e-10)


@pytest.mark.parametrize("index", SETS)
def test_published_curve(index):
    pixels = Pixels.collect(golden(index, "scores"), golden(index, "masks"))
    for thresholds in (99, 100):
        expected = golden(index, f"curve_k{thresholds}")[:2]
        if expected[0, 0] > expected[0, -1]:
            expected = expected[:, ::-1]
        np.testing.assert_allclose(pixels.curve(thresholds), expected, atol=1e-12, rtol=0)
    assert len(pixels.normal) == golden(index, "n_ok_pixels")


@pytest.mark.parametrize("index", SETS)
def test_auroc_equals_the_recorded_values(index):
    maps, masks = golden(index, "scores"), golden(index, "masks")
    assert pixel_auroc(maps, masks) == pytest.approx(golden(index, "pixel_auroc"), abs=1e-12)
    scores, labels = golden(index, "image_scores"), golden(index, "image_labels")
    assert image_auroc(scores, labels) == pytest.approx(golden(index, "image_auroc"), abs=1e-12)


def test_aupro_of_the_hand_made_map():
    scores, mask = (np.arange(100) / 100).reshape(10, 10), np.zeros(100, bool)
    mask[[98, 99, 0, 55]] = True
    for limit in (0.05, 0.3, 0.4375):
        assert aupro([scores], [mask.reshape(10, 10)], limit) == pytest.approx(1 / 3, abs=1e-12)
    assert aupro([scores], [mask.reshape(10, 10)], 1.0) == pytest.approx(0.5208333333333333, abs=1e-12)


def test_constant_maps_are_chance_exactly_and_zero_as_published():
    _, masks, _ = random_set()
    maps = np.ones(masks.shape)
    for limit in LIMITS.values():
        assert aupro(maps, masks, limit) == pytest.approx(limit / 2, abs=1e-12)
        assert aupro(maps, masks, limit, thresholds=99) == 0


def test_a_perfect_map_reads_one():
    _, masks, foreground = random_set()
    for limit in LIMITS.values():
        assert aupro(masks.astype(float), masks, limit) == pytest.approx(1, abs=1e-12)
        assert aupro(masks.astype(float), masks, limit, 99) == pytest.approx(1, abs=1e-12)
        assert aupro(masks.astype(float), masks, limit, foreground=foreground) == pytest.approx(1, abs=1e-12)


def test_many_thresholds_approach_the_closed_form():
    rng = np.random.default_rng(3)
    _, masks, _ = random_set(n=30)
    maps = rng.random(masks.shape) + 0.3 * masks
    for limit in LIMITS.values():
        assert aupro(maps, masks, limit, thresholds=20000) == pytest.approx(aupro(maps, masks, limit), abs=1e-3)


def test_published_one_percent_is_a_single_straight_segment():
    maps, masks, _ = random_set(n=20)
    fpr, pro = Pixels.collect(maps, masks).curve(99)
    assert fpr[0] == 0 and fpr[1] > 0.01
    at_limit = np.interp(0.01, fpr, pro)
    assert aupro(maps, masks, 0.01, thresholds=99) == pytest.approx((pro[0] + at_limit) / 2, abs=1e-12)


def test_pixel_auroc_counts_ties_half_like_scikit_learn():
    maps, masks, _ = random_set()
    assert pixel_auroc(maps, masks) == pytest.approx(roc_auc_score(masks.ravel(), maps.ravel()), abs=1e-12)
    scores, labels = [1, 1, 2, 0, 1, 3], [0, 1, 1, 0, 0, 0]
    assert image_auroc(scores, labels) == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)


@pytest.mark.parametrize("transform", [np.exp, lambda x: 3 * x - 7, lambda x: x**3])
def test_metrics_depend_on_the_order_of_scores_only(transform):
    maps, masks, foreground = random_set()
    for thresholds in (None, 99):
        kept = aupro(transform(maps), masks, 0.1, thresholds, foreground)
        assert kept == pytest.approx(aupro(maps, masks, 0.1, thresholds, foreground), abs=1e-12)
    assert pixel_auroc(transform(maps), masks) == pytest.approx(pixel_auroc(maps, masks), abs=1e-12)


def test_foreground_counts_false_positives_on_the_object_only():
    maps, masks, foreground = random_set()
    silent = np.where(foreground, maps, -1.0)  # nothing ever fires on the background
    whole, inside = aupro(silent, masks), aupro(silent, masks, foreground=foreground)
    assert inside < whole
    assert inside == pytest.approx(aupro(np.where(foreground, maps, 5.0), masks, foreground=foreground), abs=1e-12)


def test_regions_weigh_alike_touch_by_corners_and_end_with_the_image():
    scores, mask = np.zeros((8, 8)), np.zeros((8, 8), bool)
    mask[0, 0] = mask[4:, 4:] = True
    scores[0, 0] = 1  # the small region is found, the large one is not
    normal = 64 - mask.sum()
    missed = 0.3**2 / 2 / 0.3  # a tie with all normal pixels rises linearly from 0 to 1
    assert aupro([scores], [mask], 0.3) == pytest.approx((1 + missed) / 2, abs=1e-12)
    corner = mask.copy()
    corner[1, 1] = True
    assert len(np.unique(Pixels.collect([scores], [corner]).weight)) == 2  # still two regions: (0, 0) touches (1, 1)
    assert len(Pixels.collect([scores], [mask]).normal) == normal
    twice = Pixels.collect([scores, scores], [mask, mask])
    assert twice.weight.sum() == pytest.approx(1) and twice.weight.max() == pytest.approx(1 / 4)


def test_lists_of_different_sizes_and_tensors_are_accepted():
    maps, masks, _ = random_set()
    cut_maps, cut_masks = [*maps[:3], maps[3][:, :25]], [*masks[:3], masks[3][:, :25]]
    assert 0 < aupro(cut_maps, cut_masks) < 1
    assert aupro(torch.from_numpy(maps), torch.from_numpy(masks)) == aupro(list(maps), masks.astype(np.uint8) * 255)


@pytest.mark.parametrize(("damage", "words"), [
    (lambda maps, masks: (np.where(maps > 0.5, np.nan, maps), masks), "NaN"),
    (lambda maps, masks: (maps, masks & False), "no mask holds a defect"),
    (lambda maps, masks: (maps, masks | True), "no defect-free pixel"),
])
def test_undefined_pixel_metrics_say_why(damage, words):
    maps, masks, foreground = random_set()
    maps, masks = damage(maps, masks)
    with pytest.raises(MetricUndefined, match=words):
        aupro(maps, masks)
    with pytest.raises(MetricUndefined, match=words):
        pixel_auroc(maps, masks)
    reasons = {}
    result = evaluate_maps(maps, masks, [0, 1, 2, 3, 4], [0, 1, 0, 1, 1], foreground, reasons=reasons)
    assert result["i_auroc"] == pytest.approx(5 / 6)
    undefined = {name for name, value in result.items() if np.isnan(value)}
    assert undefined == set(reasons) == set(result) - {"i_auroc"}
    assert all(words in text for text in reasons.values())


@pytest.mark.parametrize(("labels", "words"), [([0] * 5, "no anomalous sample"), ([1] * 5, "no normal sample")])
def test_one_class_has_no_auroc_but_its_maps_are_measured(labels, words):
    maps, masks, _ = random_set()
    for call in (image_auroc, bootstrap_auroc):
        with pytest.raises(MetricUndefined, match=words):
            call(np.arange(5), labels)
    result = evaluate_maps(maps, masks, np.arange(5), labels)
    assert np.isnan(result.pop("i_auroc")) and all(np.isfinite(v) for v in result.values())


def test_a_nan_image_score_is_refused():
    with pytest.raises(MetricUndefined, match="image score 1 is NaN"):
        image_auroc([0, np.nan, 2], [0, 1, 1])


def test_evaluate_maps_names_everything_once():
    maps, masks, foreground = random_set()
    scores, labels = maps.max((1, 2)), masks.any((1, 2))
    result = evaluate_maps(maps, masks, scores, labels, foreground)
    limits = [f"aupro_{name}" for name in LIMITS]
    assert list(result) == ["i_auroc", "p_auroc", *limits, *(f"{name}_exact" for name in limits), "aupro_30_fg"]
    assert result["i_auroc"] == image_auroc(scores, labels) and result["p_auroc"] == pixel_auroc(maps, masks)
    assert result["aupro_05"] == aupro(maps, masks, 0.05, 99) and result["aupro_05_exact"] == aupro(maps, masks, 0.05)
    assert result["aupro_30_fg"] == aupro(maps, masks, foreground=foreground)
    assert "aupro_30_fg" not in evaluate_maps(maps, masks, scores, labels)


def test_pixel_auroc_may_see_other_maps():
    maps, masks, _ = random_set()
    result = evaluate_maps(maps, masks, np.arange(5), [0, 1, 1, 1, 1], pixel_maps=-maps)
    assert result["p_auroc"] == pytest.approx(1 - pixel_auroc(maps, masks), abs=1e-12)
    assert result["aupro_30_exact"] == aupro(maps, masks)


def test_bootstrap_interval():
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 2
    scores = rng.normal(size=60) + labels
    low, high = bootstrap_auroc(scores, labels)
    assert (low, high) == bootstrap_auroc(scores, labels) != bootstrap_auroc(scores, labels, seed=1)
    assert 0.5 < low < image_auroc(scores, labels) < high < 1
    wide = bootstrap_auroc(scores, labels, level=0.99)
    assert wide[0] < low and high < wide[1]
    assert bootstrap_auroc(labels, labels) == (1, 1) and bootstrap_auroc(labels * 0, labels) == (0.5, 0.5)


@pytest.mark.parametrize(("call", "words"), [
    (lambda m, k: aupro(m, k, limit=0), "limit=0"),
    (lambda m, k: aupro(m, k, limit=30), "limit=30"),
    (lambda m, k: aupro(m, k, limit="a"), "limit='a'"),
    (lambda m, k: aupro(m, k, limit=None), "limit=None"),
    (lambda m, k: aupro(m, k, thresholds=1), "thresholds=1"),
    (lambda m, k: aupro(m, k, thresholds=99.0), "thresholds=99.0"),
    (lambda m, k: aupro(m, k, thresholds="a"), "thresholds='a'"),
    (lambda m, k: image_auroc([1, 2, 3], [0, 1, 2]), "labels must be 0"),
    (lambda m, k: image_auroc([1, 2], [-1, 1]), "labels must be 0"),
    (lambda m, k: image_auroc([1, 2], ["0", "1"]), "labels: real numbers are needed"),
    (lambda m, k: evaluate_maps(m, k, range(5), [0, 1, 1, np.nan, 0]), "labels must be 0"),
    (lambda m, k: bootstrap_auroc([1, 2], [0, 1], seed="a"), "seed='a'"),
    (lambda m, k: aupro(m[0], k[0]), r"maps\[0\] must be \(H, W\)"),
    (lambda m, k: aupro(m[:3], k), "3 maps but 5 masks"),
    (lambda m, k: aupro(m, k[:, :9]), r"maps\[0\] is \(24, 30\) but masks\[0\] is \(9, 30\)"),
    (lambda m, k: aupro(m, k, foreground=k[:, :9]), r"foreground\[0\]"),
    (lambda m, k: image_auroc([1, 2], [1, 0, 1]), "one length"),
])
def test_wrong_arguments_get_one_clear_error(call, words):
    maps, masks, _ = random_set()
    with pytest.raises(SettingsError, match=words):
        call(maps, masks)
