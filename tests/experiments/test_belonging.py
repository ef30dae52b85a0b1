"""Rows of other data, settings or plans than those behind the tables go to results/own/, unless the user says otherwise."""

from __future__ import annotations

import multiprocessing
from contextlib import contextmanager

import pytest
from records import make, store

from mmadlib.__main__ import main
from mmadlib.errors import OutputError, UnknownName
from mmadlib.experiments import belonging, results
from mmadlib.experiments.causes import made_by, shipped, short
from mmadlib.experiments.results import merge_results, read_results, read_runs
from mmadlib.features import weights_of
from mmadlib.features.options import check_options
from mmadlib.paths import ROOT

USUAL = {"root": short(None), "test_limit": short(None)}


@pytest.fixture
def tables(tmp_path, monkeypatch):
    """Tables with one run, and no plans."""
    monkeypatch.setattr(belonging, "PLANS", ())
    store(tmp_path / "first", causes=USUAL, provenance={"data": "abc", "code": "1"})
    merge_results(tmp_path / "first", tmp_path / "results", into="results")
    return tmp_path / "results"


@pytest.mark.parametrize(("dataset", "why"), [("rendered", ""), ("road", "data that the tables do not name")])
def test_rows_from_before_data_were_recorded(tmp_path, monkeypatch, dataset, why):
    """What the library makes is known to be the same; files of a user are not."""
    monkeypatch.setattr(belonging, "PLANS", ())
    store(tmp_path / "first", dataset=dataset, causes=USUAL, provenance={"code": "1"})
    merge_results(tmp_path / "first", tmp_path / "results", into="results")
    store(tmp_path / "runs", dataset=dataset, causes=USUAL, provenance={"data": "abc", "code": "2"})
    assert merge_results(tmp_path / "runs", tmp_path / "results").own == ({why: 1} if why else {})


def test_records_are_read_when_the_tables_are_free(tables, tmp_path, monkeypatch):
    """A run that is made while another collection is waited for is collected as it is then."""
    original = results.alone

    @contextmanager
    def late(folder):
        with original(folder):
            store(tmp_path / "runs", causes=USUAL, provenance={"data": "abc"}, metrics={"all": {"i_auroc": 0.9}})
            yield

    store(tmp_path / "runs", causes=USUAL, provenance={"data": "abc"}, metrics={"all": {"i_auroc": 0.1}})
    monkeypatch.setattr(results, "alone", late)
    merge_results(tmp_path / "runs", tables)
    assert read_results(tables)["value"].tolist() == [0.9]


@pytest.mark.parametrize(("change", "why"), [
    ({}, ""), ({"metrics": {"all": {"i_auroc": 0.1}}}, ""), ({"settings": {"steps": 3}}, "other settings"),
    ({"provenance": {"data": "xyz"}}, "other data"), ({"causes": USUAL | {"root": "r"}}, "another root"),
    ({"causes": USUAL | {"test_limit": "t"}}, "some of the test samples"), ({"category": "mine"}, "in no plan")])
def test_a_run_belongs_where_its_settings_and_data_do(tables, tmp_path, change, why):
    store(tmp_path / "runs", **{"causes": USUAL, "provenance": {"data": "abc", "code": "2"}} | change)
    before = (tables / "results.csv").read_bytes()
    update = merge_results(tmp_path / "runs", tables)
    assert update.own == ({why: 1} if why else {})
    assert len(read_results(tables / "own")) == (len(make(**change).rows()) if why else 0)
    if why:
        assert (tables / "results.csv").read_bytes() == before and "--into results" in str(update) and why in str(update)


def test_a_run_with_other_weights_or_on_a_gpu_does_not_stand_in_for_a_row(tmp_path, monkeypatch):
    """The digest of the weights of the packages is known, whatever file lies in their place."""
    monkeypatch.setattr(belonging, "PLANS", ())
    names = {"rgb": "efficientnet_lite0", "xyz": "normals_efficientnet_lite0"}
    learned = {"features": "learned", "settings": {"features": names}, "provenance": {"data": "abc"}}
    usual = USUAL | {"weights": short(weights_of(*names.values(), check_options({})))}
    assert short(shipped(names)) == usual["weights"] and not shipped({"rgb": "descriptors", "xyz": "random"})
    store(tmp_path / "first", causes=usual, **learned)
    merge_results(tmp_path / "first", tmp_path / "results", into="results")
    for change, own in (({}, {}), ({"causes": usual | {"weights": "w"}}, {"other weights": 1}),
                        ({"device": "Some GPU"}, {"not on the CPU": 1})):
        store(tmp_path / "runs", **{"causes": usual} | learned | change)
        assert merge_results(tmp_path / "runs", tmp_path / "results").own == own


def test_a_run_of_a_committed_plan_belongs(tables, tmp_path, monkeypatch):
    monkeypatch.setattr(belonging, "_planned", lambda datasets: [
        ("", ("rendered", "0", "free", "cfm", "default", "descriptors", "4", "0"), '{"steps": 400}')])
    store(tmp_path / "runs", category="free", causes=USUAL)
    assert merge_results(tmp_path / "runs", tables).own == {}
    store(tmp_path / "runs", category="free", causes=USUAL, settings={"steps": 1})
    assert merge_results(tmp_path / "runs", tables).own == {"other settings": 1}


def test_committed_plans_are_read_for_the_datasets_at_hand():
    found = list(belonging._planned({"rendered"}))
    assert len(found) > 1000 and {key[0] for _, key, _ in found} == {"rendered"}
    data_seeds = {place: {key[1] for folder, key, _ in found if folder == place} for place in ("", "choices")}
    assert data_seeds["choices"] == {"0"} and "0" not in data_seeds[""], "what is chosen on is not in the tables"


def test_a_plan_with_a_folder_keeps_its_rows_there(tables, tmp_path, monkeypatch):
    monkeypatch.setattr(belonging, "_planned", lambda datasets: [
        ("choices", ("rendered", "0", "free", "cfm", "default", "descriptors", "4", "0"), '{"steps": 400}')])
    before = (tables / "results.csv").read_bytes()
    store(tmp_path / "runs", category="free", causes=USUAL), store(tmp_path / "runs", category="mine")
    update = merge_results(tmp_path / "runs", tables)
    assert update.apart == {"choices": 1} and update.own == {"in no plan": 1} and "gone to choices/: 1" in str(update)
    assert set(read_results(tables / "choices")["category"]) == {"free"} == set(read_runs(tables / "choices")["category"])
    assert set(read_results(tables / "own")["category"]) == {"mine"} and (tables / "results.csv").read_bytes() == before
    for cause, why in (("root", "another root"), ("test_limit", "some of the test samples")):
        store(tmp_path / "runs", category="free", causes=USUAL | {cause: "mine"})
        assert merge_results(tmp_path / "runs", tables).own == {"in no plan": 1, why: 1}


def test_the_user_may_say_where_rows_go(tables, tmp_path):
    store(tmp_path / "runs", category="mine", causes=USUAL)
    assert merge_results(tmp_path / "runs", tables).own == {"in no plan": 1}
    assert "mine" in set(read_results(tables, own=True)["category"]) - set(read_results(tables)["category"])
    assert len(read_runs(tables, own=True)) == 2
    assert main(["collect", "--base", str(tmp_path / "runs"), "--results", str(tables), "--into", "results"]) == 0
    assert "mine" in set(read_results(tables)["category"]) and read_results(tables / "own").empty
    with pytest.raises(UnknownName):
        merge_results(tmp_path / "runs", tables, into="elsewhere")


def test_own_rows_stand_in_for_those_of_the_same_run(tables, tmp_path):
    store(tmp_path / "runs", metrics={"all": {"i_auroc": 0.25}}, causes=USUAL | {"root": "mine"})
    merge_results(tmp_path / "runs", tables)
    assert read_results(tables)["value"].max() > 0.9 and read_results(tables, own=True)["value"].tolist() == [0.25]


def collect(number, folder, results, together):
    runs = [folder / f"{number}{k}" for k in range(2)]
    for run in runs:
        store(run, category=f"c{run.name}")
    together.wait(120)  # a process needs seconds to start, a collection less
    for run in runs:
        merge_results(run, results, into="results")


def test_collections_at_once_lose_no_row(tmp_path):
    context = multiprocessing.get_context("spawn")
    together = context.Barrier(3)
    workers = [context.Process(target=collect, args=(i, tmp_path, tmp_path / "results", together)) for i in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(240)
    assert [w.exitcode for w in workers] == [0] * 3
    assert set(read_results(tmp_path / "results")["category"]) == set(read_runs(tmp_path / "results")["category"]) == {
        f"c{i}{k}" for i in range(3) for k in range(2)}


def test_tables_that_cannot_be_written_are_one_clear_error(tmp_path):
    store(tmp_path / "runs")
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match="MMADLIB_HOME"):
        merge_results(tmp_path / "runs", tmp_path / "file", into="results")


def test_the_tables_name_the_data_that_are_files_of_a_user():
    """Otherwise a run on another copy of them could stand beside their numbers."""
    runs = read_runs(ROOT / "results")
    files = runs[~runs["dataset"].map(made_by).astype(bool)]
    assert len(files) and (files["data"] != "").all()
