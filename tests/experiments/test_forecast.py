"""The forecast of a plan: measured seconds of its jobs, scaled by the speed of this machine; done and unknown jobs apart."""

from __future__ import annotations

import pytest
import yaml

from mmadlib.experiments import forecast as module
from mmadlib.experiments.forecast import forecast, jobs_of, measured, probe
from mmadlib.paths import WORKFLOW

PLAN = {"once": {"00_start_here": {}}, "each": {"01_look_at_the_data": {"data_seed": 1, "categories": ["plain", "free"]}},
        "after": {"90_tables": {}}, "sweeps": [{"params": "31_ablation_cfr/rendered_shots.yaml", "methods": ["cfm"]}]}


@pytest.fixture
def times(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "probe", lambda: 3.0)
    (tmp_path / "times.csv").write_text("job,seconds\nprobe,2\n00_start_here,60\nrender_free_data1,40\n")
    return tmp_path / "times.csv"


def test_jobs_are_those_of_the_scheduler():
    assert jobs_of(PLAN) == [
        "00_start_here", "render_free_data1", "render_free_data2", "render_free_data3", "render_plain_data1",
        "01_look_at_the_data_plain", "01_look_at_the_data_free", "80_collect", "90_tables"]


def test_seconds_are_scaled_and_what_is_done_or_unknown_is_named(times, tmp_path):
    unknown = ("render_plain_data1", "01_look_at_the_data_plain", "01_look_at_the_data_free", "80_collect", "90_tables")
    assert forecast(PLAN, tmp_path, times) == (9, 0, 1.5 * (60 + 3 * 40), unknown, 1.5), "a draw takes as long as another"
    (tmp_path / "done").mkdir()
    (tmp_path / "done/00_start_here").touch()
    found = forecast(PLAN, tmp_path, times)
    assert found == (9, 1, 1.5 * 120, unknown, 1.5)
    minutes = 1.5 * (120 + 600) / 60 / module.SHARE / 2
    said = found.told(600, 2)
    assert f"9 notebooks and renderings, 1 of them done: about {minutes:.0f} minutes on 2 cores" in said
    assert "1.5 times as long" in said and "never measured: render_plain_data1, " in said


def test_without_measured_times_everything_is_named_as_unknown(tmp_path):
    found = forecast(PLAN, tmp_path, tmp_path / "absent.csv")
    assert found[:3] == (9, 0, 0) and len(found.unknown) == 9 and found.slower == 1


def test_a_plan_may_have_sweeps_alone():
    assert jobs_of({"sweeps": PLAN["sweeps"]})[-1] == "80_collect"


def test_the_probe_measures_something():
    assert 0.01 < probe(1) < 60


def test_every_job_of_make_reproduce_was_measured():
    plan = yaml.safe_load((WORKFLOW / "config.yaml").read_text())
    assert set(jobs_of(plan)) <= set(measured())
