"""Plans: jobs of one method and category, and no run with two meanings."""

from __future__ import annotations

import pytest
import yaml

from mmadlib.errors import SettingsError, UnknownName
from mmadlib.experiments.grids import PARAMS, is_sweep
from mmadlib.experiments.params import check, declared_types
from mmadlib.experiments.plan import read_jobs, read_plan
from mmadlib.methods import METHODS
from mmadlib.paths import NOTEBOOKS, WORKFLOW

PLANS = sorted([WORKFLOW / "config.yaml", *(WORKFLOW / "plans").glob("*.yaml")], key=str)
RENDERED = "41_few_shot_1_2_4/rendered.yaml"


def load(path):
    return yaml.safe_load(path.read_text())


@pytest.mark.parametrize("path", PLANS, ids=lambda p: p.stem)
def test_every_plan_can_be_read(path):
    plan = load(path)
    jobs = read_jobs(plan)
    assert jobs and sum(len(j.cells) for j in jobs) >= len(read_plan(plan)) > 0
    for name, given in (plan["once"] | plan["after"]).items():
        notebook = NOTEBOOKS / f"{name}.ipynb"
        assert check(given, declared_types(notebook), notebook) == given
    assert all((NOTEBOOKS / f"{name}.ipynb").is_file() for name in plan["each"])


def test_make_reproduce_runs_every_method_on_every_category():
    cells = read_plan(load(WORKFLOW / "config.yaml"))
    found = {(c.method, c.category) for c in cells if c.dataset == "rendered" and c.shots == 4}
    assert {m for m, _ in found} == set(METHODS) and len(found) == 5 * len(METHODS)
    assert {c.variant for c in cells if c.method == "nearest"} == {"rgb", "xyz", "max", "joint"}


def test_make_reproduce_full_has_all_shots_and_three_data_seeds():
    cells = read_plan(load(WORKFLOW / "plans/full.yaml"))
    assert {(c.shots, c.data_seed) for c in cells} >= {(k, d) for k in (1, 2, 4, 5, 10, 50, None) for d in (1, 2, 3)}


def test_a_job_is_one_method_on_one_category():
    jobs = read_jobs({"sweeps": [{"params": RENDERED, "methods": ["cfm"], "categories": ["free"], "shots": [4, 1]}]})
    assert len(jobs) == 1 and len(jobs[0].cells) == 6 and jobs[0].rendered == [1, 2, 3]
    assert jobs[0].mark == "41_few_shot_1_2_4/rendered/cfm/free"
    assert jobs[0].arguments == [RENDERED, "--method", "cfm", "--category", "free", "--shots", "4", "1"]


def test_a_job_may_be_all_methods_on_one_category():
    entry = {"params": RENDERED, "methods": ["cfm", "nearest"], "categories": ["free", "plain"], "shots": [4]}
    free, plain = read_jobs({"sweeps": [entry], "job": "category"})
    assert (free.mark, plain.mark) == ("41_few_shot_1_2_4/rendered/all/free", "41_few_shot_1_2_4/rendered/all/plain")
    assert free.arguments == [RENDERED, "--method", "cfm", "nearest", "--category", "free", "--shots", "4"]
    assert len(free.cells) == 3 * 5, "three draws of CFM and of four banks"
    with pytest.raises(UnknownName, match="job of a plan 'shots'"):
        read_jobs({"sweeps": [entry], "job": "shots"})


def test_a_sweep_listed_twice_is_refused():
    entry = {"params": RENDERED, "methods": ["cfm"]}
    with pytest.raises(SettingsError, match="comes twice"):
        read_jobs({"sweeps": [entry, entry]})


def test_a_job_waits_for_an_earlier_one_that_shares_a_run(tmp_path, monkeypatch):
    sweep = {"dataset": "rendered", "categories": ["free"], "seeds": [0], "methods": {"cfm": {"v": {}}}}
    for name, shots in (("a", [1, 2]), ("b", [2, 4]), ("c", [4, 5]), ("d", [6])):
        limit = {"test_limit": 8} if name == "a" else {}
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(sweep | {"shots": shots} | limit))
    monkeypatch.setattr("mmadlib.experiments.plan.PARAMS", tmp_path)
    plan = {"sweeps": [{"params": f"{name}.yaml"} for name in "abcd"]}
    assert [job.after for job in read_jobs(plan)] == [(), ("a/cfm/free",), ("b/cfm/free",), ()]
    cells = read_plan(plan)
    assert sorted(c.shots for c in cells) == [1, 2, 4, 5, 6]
    assert {c.shots for c in cells if c.test_limit} == {1, 2}, "the earlier sweep says how a shared run is made"


def test_two_sweeps_that_mean_other_runs_by_the_same_keys_are_refused(tmp_path, monkeypatch):
    sweep = {"dataset": "rendered", "categories": ["free"], "shots": [1], "seeds": [0]}
    for name, steps in (("a", 1), ("b", 2)):
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(sweep | {"methods": {"cfm": {"v": {"steps": steps}}}}))
    monkeypatch.setattr("mmadlib.experiments.plan.PARAMS", tmp_path)
    with pytest.raises(SettingsError, match="rename its variant"):
        read_plan({"sweeps": [{"params": "a.yaml"}, {"params": "b.yaml"}]})


def test_every_sweep_is_planned_somewhere():
    planned = {entry["params"] for path in PLANS for entry in load(path)["sweeps"]}
    assert planned == {p.relative_to(PARAMS).as_posix() for p in PARAMS.rglob("*.yaml") if is_sweep(p)}


@pytest.mark.parametrize(("plan", "said"), [
    ({"sweeps": 3}, "a list of entries"), ({}, "a list of entries"), ({"sweeps": [{"params": 3}]}, "expected an entry"),
    ({"sweeps": [], "shots": [1.5]}, "whole numbers"), ({"sweeps": [], "shots": [None]}, "whole numbers"),
    ({"sweeps": [], "shots": [[1]]}, "whole numbers"), ({"sweeps": [], "categorys": "a"}, "did you mean 'categories'")])
def test_what_is_no_plan_is_said(plan, said):
    with pytest.raises(SettingsError, match=said):
        read_plan(plan)
