"""The tables in git: merged by key, nothing dropped, unchanged when the same numbers come again."""

from __future__ import annotations

import csv

import pytest
from records import store

from mmadlib.errors import DataError
from mmadlib.experiments import results as module
from mmadlib.experiments.record import COLUMNS, KEYS, LATER, PROVENANCE
from mmadlib.experiments.results import Update, read_results, read_runs, read_table


def merge_results(runs, results):
    """All of them, whatever plans there are."""
    return module.merge_results(runs, results, into="results")


def test_rows_of_runs_that_are_not_at_hand_stay(tmp_path):
    first, second, results = tmp_path / "a", tmp_path / "b", tmp_path / "results"
    store(first), store(first, category="plain")
    assert merge_results(first, results) == Update(2, 0, 4, {}, {})
    store(second, category="free")
    assert merge_results(second, results) == Update(1, 2, 6, {}, {})
    assert read_results(results)["category"].unique().tolist() == ["free", "keyed", "plain"]
    assert len(read_table(results / "runs.csv", PROVENANCE)) == 3


def test_a_run_at_hand_replaces_all_its_rows(tmp_path):
    runs, results = tmp_path / "runs", tmp_path / "results"
    store(runs), store(runs, category="plain")
    merge_results(runs, results)
    store(runs, metrics={"all": {"renamed": 0.25}})
    merge_results(runs, results)
    table = read_results(results)
    assert table[table["category"] == "keyed"][["metric", "value"]].to_numpy().tolist() == [["renamed", 0.25]]
    assert len(table) == 3


def test_the_same_numbers_again_change_no_byte(tmp_path):
    runs, results = tmp_path / "runs", tmp_path / "results"
    store(runs, wall_s=1.0), store(runs, shots=None)
    merge_results(runs, results)
    before = {p.name: p.read_bytes() for p in results.glob("*.csv")}
    store(runs, wall_s=2.0, provenance={"finished": "later", "torch": "3"})
    merge_results(runs, results)
    assert {p.name: p.read_bytes() for p in results.glob("*.csv")} == before and len(before) == 2


def test_new_numbers_bring_their_own_provenance(tmp_path):
    runs, results = tmp_path / "runs", tmp_path / "results"
    store(runs, provenance={"torch": "2"})
    merge_results(runs, results)
    store(runs, metrics={"all": {"i_auroc": 0.1}}, provenance={"torch": "3"})
    merge_results(runs, results)
    sources = read_table(results / "runs.csv", PROVENANCE)
    assert sources["torch"].tolist() == ["3"] and sources["git"].tolist() == [""]


def test_rows_from_before_the_costs_keep_empty_cells_until_they_are_measured(tmp_path):
    runs, results = tmp_path / "runs", tmp_path / "results"
    store(runs), store(runs, category="plain", provenance={"pinned": ""})
    merge_results(runs, results)
    older = read_runs(results).drop(columns=LATER)
    older.to_csv(results / "runs.csv", index=False)
    store(runs, fit_s=1.5, peak_gpu_mb=7.0, provenance={"code": "abc"})
    assert merge_results(runs, results).found == 2
    keyed, plain = read_runs(results).to_dict("records")
    assert (keyed["fit_s"], keyed["score_ms"], keyed["peak_gpu_mb"], keyed["code"]) == ("1.5", "", "7.0", "abc")
    assert all(plain[column] == "" for column in LATER) and set(KEYS) < set(plain)
    with pytest.raises(DataError):
        read_table(results / "results.csv", PROVENANCE)


def test_nothing_at_hand_leaves_the_tables_as_they_are(tmp_path):
    results = tmp_path / "results"
    assert merge_results(tmp_path / "none", results) == Update(0, 0, 0, {}, {})
    store(tmp_path / "runs")
    merge_results(tmp_path / "runs", results)
    before = (results / "results.csv").read_bytes(), (results / "runs.csv").read_bytes()
    assert merge_results(tmp_path / "none", results) == Update(0, 1, 2, {}, {})
    assert ((results / "results.csv").read_bytes(), (results / "runs.csv").read_bytes()) == before


def test_keys_keep_their_types_through_the_file(tmp_path):
    store(tmp_path / "runs", variant="none", shots=4), store(tmp_path / "runs", variant="NA", shots=None)
    merge_results(tmp_path / "runs", tmp_path / "results")
    table = read_results(tmp_path / "results")
    assert set(zip(table["variant"], table["shots"], strict=True)) == {("none", "4"), ("NA", "full")}
    assert (tmp_path / "results" / "results.csv").read_text().splitlines()[:2] == [
        ",".join(COLUMNS), "rendered,0,keyed,cfm,NA,descriptors,full,0,all,aupro_30,0.5000"]


@pytest.mark.parametrize("text", ["a,b\n1,2\n", ",".join(COLUMNS) + "\n" + "x," * 10 + "high\n"])
def test_a_foreign_table_is_refused_and_kept(tmp_path, text):
    path = tmp_path / "results.csv"
    path.write_text(text)
    store(tmp_path / "runs")
    with pytest.raises(DataError, match=r"results\.csv.*git checkout"):
        merge_results(tmp_path / "runs", tmp_path)
    assert path.read_text() == text and not (tmp_path / "runs.csv").exists()


def test_a_name_starts_no_formula_and_is_read_back_equal(tmp_path):
    runs, results = tmp_path / "runs", tmp_path / "results"
    names = ["=1+1", "@sum", "'=1", "-dash", "plain"]
    for name in names:
        store(runs, category=name, draw=["=2", "+a"])
    merge_results(runs, results)
    before = {p.name: p.read_bytes() for p in results.glob("*.csv")}
    cells = {value for p in results.glob("*.csv") for row in csv.reader(p.read_text().splitlines()) for value in row}
    assert "'=1+1" in cells and not [c for c in cells if c[:1] in "=+-@" and c.strip("-")]
    assert set(read_results(results)["category"]) == set(read_runs(results)["category"]) == set(names)
    assert set(read_runs(results)["draw"]) == {"=2 +a"}
    merge_results(runs, results)
    assert {p.name: p.read_bytes() for p in results.glob("*.csv")} == before
