import hashlib
import json
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import layouts
import numpy as np
import pandas as pd
import pytest
import torch
from synthetic import stop_training

from mmadlib.data import Entry, Samples, load
from mmadlib.errors import OutputError, SettingsError, UnknownName
from mmadlib.experiments.breakdown import breakdown, metrics_of
from mmadlib.experiments.causes import short
from mmadlib.experiments.cost import peaks, reset_peaks
from mmadlib.experiments.evaluate import run, run_experiment
from mmadlib.experiments.identity import run_identity
from mmadlib.experiments.record import read
from mmadlib.experiments.source import limit_test
from mmadlib.features import Truth
from mmadlib.methods import Scores
from mmadlib.metrics import aupro, evaluate_maps, image_auroc, pixel_ap, pixel_auroc, pixel_f1_max


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """Keyword arguments of a run on a few rendered parts, with its own folders."""
    folder = tmp_path_factory.mktemp("evaluate")
    return {"dataset": "rendered", "category": "plain", "features": "descriptors", "shots": 1, "test_limit": 10,
            "root": folder / "data", "base": folder / "runs", "cache": folder / "cache", "progress": False}


@pytest.fixture(scope="module")
def outcome(small):
    return run(method="nearest", variant="rgb", settings={"bank": "rgb", "size": 300}, **small)


def test_a_run_has_one_score_per_sample_and_a_row_per_subset(outcome):
    assert len(outcome.scores) == len(outcome.truths) == len(outcome.test) == 10
    assert {"all", "rgb", "xyz", "both"} <= set(outcome.record.metrics)
    assert 0 <= outcome.record.metrics["all"]["i_auroc_low"] <= outcome.record.metrics["all"]["i_auroc"] <= 1
    assert outcome.record.draw == [load("rendered", "plain", "train", shots=1).entries[0].rgb.stem]


def test_the_run_folder_is_complete(outcome):
    again = read(outcome.folder / "metrics.json")
    assert again.metrics == outcome.record.metrics and again.keys == outcome.record.keys
    table = pd.read_csv(outcome.folder / "scores.csv")
    np.testing.assert_allclose(table["score"], [s.image for s in outcome.scores])
    maps = np.load(outcome.folder / "maps.npz")["maps"]
    assert maps.dtype == np.float32 and (maps == [s.map for s in outcome.scores]).all()


def test_a_detector_blind_to_a_modality_reads_one_half_against_twins(outcome):
    """The picture of a dent is its twin's picture, so RGB descriptors must score both alike."""
    assert outcome.record.metrics["xyz"]["i_auroc_twins"] == pytest.approx(0.5, abs=0.05)


def test_a_run_says_what_it_cost(outcome):
    record, bank = outcome.record, outcome.method.banks["rgb"].rows
    assert 0 < record.fit_s < record.wall_s and 0 < record.score_ms * len(outcome.scores) / 1000 < record.wall_s
    assert record.model_mb >= bank.numel() * 4 / 2**20 and np.isnan(record.peak_gpu_mb)
    assert record.provenance["code"] == run_identity("nearest", "rendered")


def test_an_interrupted_run_goes_on_from_its_checkpoint(small, monkeypatch):
    wanted = {"method": "cfm", "settings": {"steps": 20}, "checkpoint": True}
    straight = run(variant="straight", **wanted, **small)
    assert not (straight.folder / "checkpoint").exists(), "a finished run needs none"
    updates = stop_training(monkeypatch, at=13)
    with pytest.raises(KeyboardInterrupt):
        run(variant="cut", **wanted, **small)
    resumed = run(variant="cut", **wanted, **small)
    assert len(updates) == 13 + 8, "twelve of the twenty steps were kept"
    assert [s.image for s in resumed.scores] == [s.image for s in straight.scores]


def test_peaks_start_anew(tmp_path):
    reset_peaks(torch.device("cpu"))
    before = peaks(torch.device("cpu"))["peak_mb"]
    assert before > 10
    block = np.ones(2**25)  # 256 MiB
    assert peaks(torch.device("cpu"))["peak_mb"] > before + 200
    del block
    reset_peaks(torch.device("cpu"))
    if Path("/proc/self/clear_refs").exists():
        assert peaks(torch.device("cpu"))["peak_mb"] < before + 150


def test_same_seed_same_record(small, outcome, tmp_path):
    again = run(method="nearest", variant="rgb", settings={"bank": "rgb", "size": 300},
                **small | {"base": tmp_path})
    assert again.record.digest == outcome.record.digest
    np.testing.assert_array_equal(again.scores[3].map, outcome.scores[3].map)


def test_cfm_runs_from_names_to_numbers(small):
    record = run_experiment(method="cfm", settings={"steps": 20}, variant="short", **small)
    assert record.settings["steps"] == 20 and record.settings["features"]["rgb"] == "descriptors"
    assert record.n_test == 10 and record.wall_s > 0 and record.peak_mb > 0
    folder = record.folder(small["base"])
    assert json.loads((folder / "metrics.json").read_text())["variant"] == "short"


@pytest.mark.parametrize(("wrong", "error"), [({"method": "cfn"}, UnknownName), ({"dataset": "renderd"}, UnknownName),
                                              ({"features": "descriptor"}, UnknownName), ({"category": "keyd"}, UnknownName),
                                              ({"settings": {"step": 1}}, UnknownName), ({"shots": 1000}, SettingsError)])
def test_wrong_names_are_refused_before_anything_is_written(small, wrong, error, tmp_path):
    keywords = {"method": "cfm", **small, "base": tmp_path / "runs", **wrong}
    with pytest.raises(error):
        run_experiment(**keywords)
    assert not (tmp_path / "runs").exists()


def digest(folder):
    return {p: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(folder.rglob("*")) if p.is_file()}


def own_folder(tmp_path, **test):
    """A small dataset in the MVTec layout, background removed, and keyword arguments that run on it."""
    layouts.mvtec(tmp_path / "data", train=2, test=test, cloud=layouts.isolated)
    return {"dataset": "folder", "category": "bagel", "method": "nearest", "root": tmp_path / "data", "shots": 1,
            "base": tmp_path / "runs", "cache": tmp_path / "cache", "progress": False}


def test_a_run_changes_nothing_of_the_users(tmp_path):
    keywords = own_folder(tmp_path, good=2, crack=2)
    before = digest(tmp_path / "data")
    record = run_experiment(**keywords, rule="first")
    assert digest(tmp_path / "data") == before
    assert record.features == "learned" and record.settings["features"]["rgb"] == "efficientnet_lite0"
    assert record.causes["weights"] != short({}), "of the network"
    assert record.settings["rule"] == "first" and record.draw == ["000"]
    assert set(record.by_defect) == {"crack"} and set(record.metrics) == {"all"}


@pytest.mark.parametrize(("kinds", "why"), [({"good": 2}, "no anomalous sample"), ({"crack": 2}, "no normal sample")])
def test_an_undefined_metric_is_named_and_the_others_reported(tmp_path, kinds, why):
    with pytest.warns(UserWarning, match=why):
        record = run_experiment(**own_folder(tmp_path, **kinds))
    assert why in record.undefined["all"]["i_auroc"]
    assert read(record.folder(tmp_path / "runs") / "metrics.json").undefined == record.undefined
    if "crack" in kinds:
        assert 0 <= record.metrics["all"]["aupro_30_exact"] <= 1


def test_a_full_disk_leaves_no_record(tmp_path, monkeypatch):
    keywords = own_folder(tmp_path, good=2, crack=2)
    record = run_experiment(**keywords)

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("numpy.savez_compressed", full)
    with pytest.raises(OutputError, match="No space left on device"):
        run_experiment(**keywords)
    left = {p.name for p in record.folder(tmp_path / "runs").iterdir()}
    assert left == {"scores.csv", "maps.npz"}, "old maps may stay, a record beside other scores may not"


def test_a_run_folder_that_cannot_be_made_is_refused_before_training(tmp_path):
    (tmp_path / "runs").write_text("a file")
    with pytest.raises(OutputError, match="cannot be written"):
        run_experiment(**own_folder(tmp_path, good=2, crack=2))


@pytest.mark.parametrize("variant", ["", "a/b", ".."])
def test_keys_that_cannot_name_a_folder_are_refused(small, variant):
    with pytest.raises(SettingsError, match="cannot be part"):
        run_experiment(method="nearest", **small, variant=variant)


def samples(**kinds):
    return Samples([Entry(None, None, defect=d) for d, n in kinds.items() for _ in range(n)], read=None)


def test_limited_test_sets_keep_every_kind():
    taken = limit_test(samples(crack=12, good=24, stain=12), 7)
    assert [e.defect for e in taken.entries] == ["crack", "crack", "good", "good", "good", "good", "stain"]
    assert len(limit_test(samples(good=3), 2)) == 2
    assert len(limit_test(samples(good=3, stain=2), None)) == 5
    assert len(limit_test(samples(good=1, stain=20), 10)) == 10
    for wrong in (1, 0, -3, 2.5):
        with pytest.raises(SettingsError, match="test_limit"):
            limit_test(samples(good=3), wrong)


def toy(n_good=3, kinds=("rgb", "xyz")):
    """Scores that find every rgb defect and no xyz defect."""
    rng = np.random.default_rng(0)
    scores, truths = [], []
    for modality in ["none"] * n_good + list(kinds) * 2:
        mask = np.zeros((12, 10), bool)
        amap = rng.random((12, 10)).astype(np.float32) * 0.1
        if modality != "none":
            mask[3:6, 3:6] = True
            amap[mask] += modality == "rgb"
        scores.append(Scores(amap, float(amap.max() if modality == "rgb" else amap.max() * 0.5 * (modality == "none"))))
        truths.append(Truth(mask, int(modality != "none"), "d", modality))
    return scores, truths, [np.ones((12, 10), bool)] * len(scores)


def test_breakdown_separates_the_modalities():
    result = breakdown(*toy())
    assert list(result) == ["all", "rgb", "xyz"]
    assert result["rgb"]["i_auroc"] == 1 and result["xyz"]["i_auroc"] == 0 and result["all"]["i_auroc"] == 0.5
    assert result["rgb"]["aupro_30_exact"] == pytest.approx(1) and result["xyz"]["aupro_30_exact"] < 0.5


def test_equal_subsets_are_measured_once_and_kept_apart(monkeypatch):
    scores, truths, foregrounds = toy()
    truths = [replace(t, defect={"rgb": "stain", "xyz": "dent"}.get(t.modality, "good")) for t in truths]
    once = [breakdown(scores, truths, foregrounds, by=by) for by in ("modality", "defect")]
    known, calls = {}, []
    monkeypatch.setattr("mmadlib.experiments.breakdown.evaluate_maps", lambda *a: (calls.append(1), evaluate_maps(*a))[1])
    both = [breakdown(scores, truths, foregrounds, by=by, known=known) for by in ("modality", "defect")]
    assert both == once and len(calls) == 3, "all, stain = rgb, dent = xyz"
    both[0]["rgb"]["i_auroc_twins"] = 0.5
    assert "i_auroc_twins" not in both[1]["stain"]


def test_cfm_normalisation_changes_the_pixel_metrics_only():
    scores, truths, foregrounds = toy()
    scaled = [Scores(s.map * (i + 1), s.image) for i, s in enumerate(scores)]
    plain, normed = (metrics_of(scaled, truths, foregrounds, norm) for norm in ("none", "cfm"))
    assert plain["i_auroc"] == normed["i_auroc"]
    assert plain["p_auroc"] != normed["p_auroc"]


@pytest.mark.parametrize(("norm", "for_aupro", "for_auroc"), [
    ("none", lambda m: m, lambda m: m),
    ("cfm", lambda m: m / m[m != 0].mean(), lambda m: m / np.sqrt(m.mean())),
    ("figure", lambda m: m / m[m != 0].mean(), lambda m: m / m[m != 0].mean()),
    ("root", lambda m: m / np.sqrt(m[m != 0].mean()), lambda m: m / np.sqrt(m[m != 0].mean()))])
def test_each_metric_sees_the_maps_of_its_own_normalisation(norm, for_aupro, for_auroc):
    scores, truths, foregrounds = toy()
    scores = [Scores(np.where(np.arange(10) < 4 + i % 5, s.map * 4**i, 0), s.image) for i, s in enumerate(scores)]
    masks = [t.mask for t in truths]
    found = metrics_of(scores, truths, foregrounds, norm, extra=("p_ap", "p_f1_max"))
    regions, pixels = ([rule(s.map) for s in scores] for rule in (for_aupro, for_auroc))
    assert found["aupro_30"] == pytest.approx(aupro(regions, masks, 0.3, 99), abs=1e-12)
    assert found["aupro_30_exact"] == pytest.approx(aupro(regions, masks, 0.3), abs=1e-12)
    assert found["aupro_30_fg"] == pytest.approx(aupro(regions, masks, 0.3, foreground=foregrounds), abs=1e-12)
    for name, metric in (("p_auroc", pixel_auroc), ("p_ap", pixel_ap), ("p_f1_max", pixel_f1_max)):
        assert found[name] == pytest.approx(metric(pixels, masks), abs=1e-12)
    if norm == "cfm":
        assert abs(aupro(pixels, masks, 0.3) - found["aupro_30_exact"]) > 1e-3
        assert abs(pixel_auroc(regions, masks) - found["p_auroc"]) > 1e-3


def test_further_metrics_come_on_request_for_every_subset():
    plain, asked = breakdown(*toy()), breakdown(*toy(), extra=("i_ap", "p_f1_max"))
    assert all(set(asked[kind]) == {*plain[kind], "i_ap", "p_f1_max"} for kind in plain)
    assert asked["rgb"]["i_ap"] == asked["rgb"]["p_f1_max"] == 1 and asked["xyz"]["i_ap"] < 0.5


def test_undefined_metrics_are_nan_and_the_others_stay():
    only_bad = metrics_of(*toy(n_good=0))
    assert np.isnan(only_bad["i_auroc"]) and "i_auroc_low" not in only_bad
    assert 0 <= only_bad["aupro_30_exact"] <= 1
    only_good = metrics_of(*toy(kinds=()))
    assert np.isnan(only_good["i_auroc"]) and np.isnan(only_good["p_auroc"])


def test_a_defect_called_all_and_names_like_formulas_stand_for_themselves(tmp_path):
    record = run_experiment(**own_folder(tmp_path, good=2, all=1, **{"=1+1": 2}))
    assert set(record.metrics) == {"all"} and set(record.by_defect) == {"all", "=1+1"}
    table = pd.read_csv(record.folder(tmp_path / "runs") / "scores.csv")
    chosen = table[table["defect"].isin(["good", "all"])]
    assert record.by_defect["all"]["i_auroc"] == pytest.approx(image_auroc(chosen["score"], chosen["label"]))
    assert record.metrics["all"]["i_auroc"] == pytest.approx(image_auroc(table["score"], table["label"]))
    assert set(table["defect"]) == {"good", "all", "'=1+1"}


def test_unlabelled_samples_change_no_metric():
    scores, truths, foregrounds = toy()
    wild = Scores(np.full((12, 10), 9, np.float32), 9.0)
    known = breakdown(scores, truths, foregrounds), breakdown(scores, truths, foregrounds, by="defect")
    more = [wild, *scores, wild], [UNKNOWN, *truths, UNKNOWN], [foregrounds[0], *foregrounds, foregrounds[0]]
    assert (breakdown(*more), breakdown(*more, by="defect")) == known
    assert metrics_of(*more) == metrics_of(scores, truths, foregrounds)


UNKNOWN = Truth(np.zeros((12, 10), bool), -1, "unlabelled", "unknown")


def test_without_any_label_no_metric_has_a_value_and_the_reason_is_told():
    scores, _, foregrounds = toy()
    undefined, reasons = {}, {}
    found = breakdown(scores, [UNKNOWN] * len(scores), foregrounds, undefined=undefined, extra=("p_ap",))
    assert list(found) == ["all"] and set(found["all"]) == set(undefined["all"]) >= {"i_auroc", "aupro_30_fg", "p_ap"}
    assert np.isnan(list(found["all"].values())).all()
    assert all(why.startswith(f"none of {len(scores)} test samples is labelled") for why in undefined["all"].values())
    assert breakdown(scores, [UNKNOWN] * len(scores), foregrounds, by="defect") == {}
    assert np.isnan(metrics_of([], [], [], reasons=reasons)["i_auroc"]) and reasons


def unlabel(monkeypatch, kinds):
    """Read samples of these kinds of defect as if nobody had labelled them."""
    monkeypatch.setattr(Entry, "label", property(lambda entry: -1 if entry.defect in kinds else int(entry.defect != "good")))


@pytest.mark.parametrize("kinds", [("later",), ("later", "good", "crack")])
def test_a_run_on_unlabelled_parts_scores_them(tmp_path, monkeypatch, kinds):
    keywords = own_folder(tmp_path, good=2, crack=2, later=3)
    unlabel(monkeypatch, kinds)
    with pytest.warns(UserWarning, match="none of 7 test samples is labelled") if len(kinds) > 1 else nullcontext():
        record = run_experiment(**keywords)
    table = pd.read_csv(record.folder(tmp_path / "runs") / "scores.csv")
    assert record.n_test == len(table) == 7 and np.isfinite(table["score"]).all()
    assert (table["label"] == -1).sum() == {1: 3, 3: 7}[len(kinds)]
    if len(kinds) == 1:
        told = table[table["label"] >= 0]
        assert record.metrics["all"]["i_auroc"] == pytest.approx(image_auroc(told["score"], told["label"]))
        assert set(record.by_defect) == {"crack"}
    else:
        assert read(record.folder(tmp_path / "runs") / "metrics.json").undefined == record.undefined and record.rows() == []


def test_defects_that_vanish_on_the_grid_are_told_once(tmp_path):
    keywords = own_folder(tmp_path, good=2, crack=2)
    for path in (tmp_path / "data").rglob("test/crack/gt/*.png"):
        mask = layouts.spot()
        mask[35, 43] = 255  # of each eight pixels the fourth is passed over
        layouts.picture(path, mask)
    with pytest.warns(UserWarning) as told:
        run_experiment(**keywords, options={"size": 56})
    said, = (str(w.message) for w in told if "fall between" in str(w.message))
    assert said.startswith("folder/bagel: 2 defects in the masks of 2 test samples") and "56 px" in said


def test_ones_own_draw_is_recorded_and_a_changed_list_is_other_data(tmp_path):
    keywords = own_folder(tmp_path, good=2, crack=2)
    (tmp_path / "shots.txt").write_text("# chosen by hand\n001\n\n")
    record = run_experiment(**keywords | {"shots": tmp_path / "shots.txt"})
    listed = run_experiment(**keywords | {"shots": ["001.png"]})
    assert record.draw == listed.draw == ["001"] and record.shots == listed.shots == 1
    assert record.settings["rule"] == "named" and record.digest == listed.digest and record.causes == listed.causes
    other = run_experiment(**keywords | {"shots": ["000"]})
    assert {name for name, found in other.causes.items() if found != record.causes[name]} == {"data"}
    with pytest.raises(SettingsError, match="no training sample is called '009'"):
        run_experiment(**keywords | {"shots": ["009"], "base": tmp_path / "none"})
    assert not (tmp_path / "none").exists()
