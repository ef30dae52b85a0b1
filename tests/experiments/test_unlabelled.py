"""Batches of unlabelled parts: how they are cut, what is measured of them, and what decides a number."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from mmadlib.errors import SettingsError, TrainingError, UnknownName
from mmadlib.experiments import batches
from mmadlib.experiments.causes import Causes
from mmadlib.experiments.cells import Cell
from mmadlib.experiments.evaluate import run_experiment
from mmadlib.experiments.identity import run_identity
from mmadlib.experiments.record import read
from mmadlib.experiments.sweep import run_sweep
from mmadlib.experiments.unlabelled import run_batches
from mmadlib.methods import EVERY, METHODS
from mmadlib.metrics import image_auroc

QUICK = {"every": 3, "grid": 28}


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """Keyword arguments of a run on a few rendered parts, with its own folders."""
    folder = tmp_path_factory.mktemp("unlabelled")
    return {"dataset": "rendered", "category": "plain", "features": "descriptors", "test_limit": 10, "root": folder / "data",
            "base": folder / "runs", "cache": folder / "cache", "progress": False, "settings": QUICK}


@pytest.fixture(scope="module")
def outcome(small):
    return run_batches(shots=5, **small)


@pytest.mark.parametrize(("n", "size", "sizes"), [(84, 24, [21] * 4), (84, None, [84]), (10, 4, [4, 3, 3]), (5, 8, [5]),
                                                  (7, 7, [7]), (8, 7, [4, 4])])
def test_batches_are_few_nearly_equal_and_hold_every_part_once(n, size, sizes):
    cut = batches(n, size, seed=1)
    assert [len(batch) for batch in cut] == sizes and sorted(i for batch in cut for i in batch) == list(range(n))
    assert cut == batches(n, size, seed=1) and (len(sizes) == 1 or cut != batches(n, size, seed=2))


@pytest.mark.parametrize("size", [0, -3, 2.5, True])
def test_a_batch_has_a_whole_number_of_parts(size):
    with pytest.raises(SettingsError, match="shots="):
        batches(10, size)


def test_every_sample_is_judged_in_its_own_batch(outcome):
    """By hand: each batch through the method, the scores back at their places, one AUROC over all."""
    images = np.full(10, np.nan)
    for batch in batches(10, 5):
        found = EVERY["musc"](**QUICK).score_batch([outcome.features[i] for i in batch], progress=False)
        images[batch] = [s.image for s in found]
    assert [s.image for s in outcome.scores] == images.tolist()
    labels = [t.label for t in outcome.truths]
    assert outcome.record.metrics["all"]["i_auroc"] == image_auroc(images, labels)
    assert {"all", "rgb", "xyz", "both"} <= set(outcome.record.metrics) and "dent" in outcome.record.by_defect


def test_the_record_names_the_parts_batch_by_batch_and_what_they_cost(outcome):
    record, names = outcome.record, [e.rgb.stem for e in outcome.test.entries]
    assert record.draw == [names[i] for batch in batches(10, 5) for i in batch]
    assert (record.shots, record.variant, record.n_test, record.fit_s) == (5, "default", 10, 0)
    assert 0 < record.score_ms * 10 / 1000 < record.wall_s and record.model_mb > 0
    assert read(outcome.folder / "metrics.json").metrics == record.metrics
    assert len(pd.read_csv(outcome.folder / "scores.csv")) == 10
    assert record.provenance["code"] == run_identity("musc", "rendered") != run_identity("nearest", "rendered")


def test_no_good_part_decides_a_number(small):
    """The training split is no cause; another draw, seed or size of a batch is a run of its own."""
    cell = Cell("rendered", "plain", "musc", "default", 5, 0, root=str(small["root"]), settings=QUICK, features="descriptors")
    data = Causes().data(cell)
    assert data == Causes().data(replace(cell, shots=None)) != Causes().data(replace(cell, data_seed=1))
    assert len({replace(cell, shots=k, seed=s).folder() for k in (5, 8, None) for s in (0, 1)}) == 6


def test_a_sweep_runs_it_once(small, monkeypatch):
    sweep = {"dataset": "rendered", "features": "descriptors", "categories": ["plain"], "shots": [5], "seeds": [0],
             "methods": {"musc": {"default": QUICK}}, "root": str(small["root"]), "test_limit": 10}
    places = {"base": small["base"], "cache": small["cache"], "progress": False}
    first = run_sweep(sweep, **places)
    monkeypatch.setattr("mmadlib.experiments.unlabelled.run_batches", None)
    assert [r.metrics for r in run_sweep(sweep, **places)] == [r.metrics for r in first]


def test_methods_that_learn_from_good_parts_are_refused(small):
    with pytest.raises(UnknownName, match="method 'nearest'"):
        run_batches(method="nearest", **small | {"settings": {}})
    with pytest.raises(UnknownName, match="method 'musc'"):
        run_experiment(method="musc", **small)


def test_a_batch_of_two_says_why_it_cannot_be_judged(small):
    with pytest.raises(TrainingError, match="at least 3"):
        run_batches(shots=2, **small)


def test_a_method_that_is_added_later_is_found_too(monkeypatch):
    monkeypatch.setitem(METHODS, "mine", METHODS["nearest"])
    assert EVERY["mine"] is METHODS["nearest"] and [*EVERY][-2:] == ["mine", "musc"]


def test_a_batch_is_no_draw_by_names(small):
    for wrong in ({"shots": ["000"]}, {"shots": 2, "names": ("000", "001")}):
        with pytest.raises(SettingsError, match=r"shots=.*: a whole number"):
            run_batches(**small | wrong)
