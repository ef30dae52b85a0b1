"""The forecast of a plan: measured seconds of its jobs, scaled by the speed of this machine; done and unknown jobs apart."""

from __future__ import annotations

import pytest
import yaml

from mmadlib.experiments import forecast as module
from mmadlib.experiments.forecast import cores, forecast, jobs_of, measured, probe
from mmadlib.paths import WORKFLOW

PLAN = {"once": {"00_start_here": {}}, "each": {"01_look_at_the_data": {"data_seed": 1, "categories": ["plain", "free"]}},
        "after": {"90_tables": {}}, "sweeps": [{"params": "31_ablation_cfr/rendered_shots.yaml", "methods": ["cfm"]}]}
SWEEP = "sweeps/31_ablation_cfr/rendered_shots/cfm/free"


@pytest.fixture
def times(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "probe", lambda: 3.0)
    (tmp_path / "times.csv").write_text(f"job,seconds\nprobe,2\n00_start_here,60\n{SWEEP},100\nrender_free_data1,40\n")
    return tmp_path / "times.csv"


def test_jobs_are_those_of_the_scheduler():
    assert jobs_of(PLAN) == [
        "00_start_here", "render_free_data1", "render_free_data2", "render_free_data3", "render_plain_data1",
        "01_look_at_the_data_plain", "01_look_at_the_data_free", SWEEP, "80_collect", "90_tables"]


def test_seconds_are_scaled_and_what_is_done_or_unknown_is_counted(times, tmp_path):
    found = forecast(PLAN, tmp_path, times)
    assert found == (10, 0, 1.5 * 200, 7, 1.5)
    (tmp_path / "done").mkdir()
    (tmp_path / "done/00_start_here").touch()
    found = forecast(PLAN, tmp_path, times)
    assert found == (10, 1, 1.5 * 140, 7, 1.5)
    minutes = 1.5 * 140 / 60 / module.SHARE / cores()
    assert f"10 jobs, 1 done: about {minutes:.0f} minutes on {cores()} cores" in str(found)
    assert "1.5 times as long" in str(found)


def test_without_measured_times_nothing_is_promised(tmp_path):
    found = forecast(PLAN, tmp_path, tmp_path / "absent.csv")
    assert found == (10, 0, 0, 10, 1) and "10 that were never measured" in str(found)


def test_the_probe_measures_something():
    assert 0.01 < probe(1) < 60


def test_every_job_of_make_reproduce_was_measured():
    plan = yaml.safe_load((WORKFLOW / "config.yaml").read_text())
    assert set(jobs_of(plan)) <= set(measured())
