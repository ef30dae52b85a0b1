"""Sweeps: resumed after an interruption, only what changed runs again, one failure does not cost the others."""

from __future__ import annotations

from dataclasses import replace

import pytest
import yaml

from mmadlib import paths
from mmadlib.__main__ import main
from mmadlib.errors import SettingsError
from mmadlib.experiments import evaluate, source
from mmadlib.experiments import sweep as module
from mmadlib.experiments.estimate import ASSUMED, estimate
from mmadlib.experiments.grids import read_sweep
from mmadlib.experiments.identity import run_identity
from mmadlib.experiments.record import read, write
from mmadlib.experiments.standing import stand, standings
from mmadlib.experiments.sweep import SweepError, run_cells, run_sweep

NEAREST = {"rgb": {"bank": "rgb", "size": 100}, "xyz": {"bank": "xyz", "size": 100}}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A sweep of four quick runs on rendered parts, and folders of its own."""
    folder = tmp_path_factory.mktemp("sweep")
    sweep = {"dataset": "rendered", "categories": ["plain"], "shots": [1, 2], "seeds": [0], "methods": {"nearest": NEAREST},
             "features": "random", "test_limit": 2, "root": str(folder / "data")}
    return {"sweep": sweep, "cache": folder / "cache"}


@pytest.fixture
def cells(place):
    return read_sweep(place["sweep"])


@pytest.fixture
def ran(monkeypatch):
    """What is run, by (variant, shots)."""
    calls, original = [], evaluate.run

    def run(*args, **keywords):
        calls.append((keywords["variant"], keywords["shots"]))
        return original(*args, **keywords)

    monkeypatch.setattr(evaluate, "run", run)
    return calls


def finished(cell, base):
    return stand(cell, base).record


def stamps(base):
    return {p: p.stat().st_mtime_ns for p in base.rglob("metrics.json")}


def test_a_sweep_runs_everything_once(place, cells, ran, tmp_path):
    records, failed = run_cells(cells, tmp_path, place["cache"], progress=False)
    assert len(records) == len(ran) == 4 and failed == []
    assert all(finished(c, tmp_path) for c in cells)
    first = stamps(tmp_path)
    again = run_sweep(place["sweep"], base=tmp_path, cache=place["cache"], progress=False)
    assert len(ran) == 4 and stamps(tmp_path) == first and [r.digest for r in again] == [r.digest for r in records]


def test_shared_features_change_no_number(place, cells, tmp_path):
    records, _ = run_cells(cells, tmp_path / "together", place["cache"], progress=False)
    for cell, record in zip(cells, sorted(records, key=lambda r: (r.variant, r.shots)), strict=True):
        keywords = {k: v for k, v in vars(cell).items()}
        alone = evaluate.run(**keywords, base=tmp_path / "alone", cache=place["cache"], progress=False)
        assert alone.record.digest == record.digest


def test_features_are_composed_once_for_all_runs(place, cells, tmp_path, monkeypatch):
    made = []
    original = source.Source.__init__
    monkeypatch.setattr(source.Source, "__init__", lambda self, *a, **k: (made.append(self), original(self, *a, **k))[1])
    run_cells(cells, tmp_path, place["cache"], progress=False)
    used = {i for shots in (1, 2) for i in made[0].draw(shots, 0, "auto").places}
    assert len(made) == 1 and set(made[0].trained._recent) == used and len(made[0].test._recent) == 2


def test_an_interrupted_sweep_goes_on_where_it_stopped(place, cells, ran, tmp_path, monkeypatch):
    original = evaluate.write_run

    def stop(folder, record, *rest):
        if record.variant == "xyz":
            raise KeyboardInterrupt
        original(folder, record, *rest)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(evaluate, "write_run", stop)
        run_cells(cells, tmp_path, place["cache"], progress=False)
    done = stamps(tmp_path)
    assert len(done) == 2
    ran.clear()
    records, _ = run_cells(cells, tmp_path, place["cache"], progress=False)
    assert sorted(ran) == [("xyz", 1), ("xyz", 2)] and len(records) == 4
    assert stamps(tmp_path).items() >= done.items()


def test_other_settings_or_code_rerun_only_their_runs(place, cells, ran, tmp_path, monkeypatch):
    run_cells(cells, tmp_path, place["cache"], progress=False)
    ran.clear()
    changed = place["sweep"] | {"methods": {"nearest": NEAREST | {"xyz": {"bank": "xyz", "size": 50}}}}
    run_sweep(changed, base=tmp_path, cache=place["cache"], progress=False)
    assert sorted(ran) == [("xyz", 1), ("xyz", 2)]

    ran.clear()
    path = cells[0].folder(tmp_path) / "metrics.json"
    record = read(path)
    write(replace(record, causes=record.causes | {"code": "of another day"}), path.parent)
    run_sweep(changed, base=tmp_path, cache=place["cache"], progress=False)
    assert ran == [("rgb", 1)] and read(path).provenance["code"] == run_identity("nearest", "rendered")


def test_a_truncated_record_is_run_again(place, cells, ran, tmp_path):
    run_cells(cells[:1], tmp_path, place["cache"], progress=False)
    path = cells[0].folder(tmp_path) / "metrics.json"
    path.write_text(path.read_text()[:100])
    run_cells(cells[:1], tmp_path, place["cache"], progress=False)
    assert len(ran) == 2 and finished(cells[0], tmp_path)


@pytest.fixture
def one_fails(place, tmp_path):
    """A file whose second category does not exist."""
    broken = {k: v for k, v in place["sweep"].items() if k != "root"}
    broken |= {"dataset": "folder", "categories": ["absent"], "methods": {"nearest": {"rgb": NEAREST["rgb"]}}}
    (tmp_path / "data").mkdir()
    (tmp_path / "broken.yaml").write_text(yaml.safe_dump(broken | {"root": str(tmp_path / "data")}))
    (tmp_path / "whole.yaml").write_text(yaml.safe_dump(place["sweep"]))
    return tmp_path


def test_a_failing_run_does_not_cost_the_others(one_fails, place, capsys, monkeypatch):
    monkeypatch.setattr(paths, "CACHE", place["cache"])
    files = [str(one_fails / name) for name in ("broken.yaml", "whole.yaml")]
    assert main(["sweep", *files, "--base", str(one_fails / "runs")]) == 1
    out, err = capsys.readouterr()
    assert "finished: 4 of 6" in out and "2 failed:" in err and "Traceback" not in err
    assert err.count("folder/absent nearest/rgb random") == 2
    with pytest.raises(SweepError, match="2 of 2 runs failed"):
        run_sweep(one_fails / "broken.yaml", base=one_fails / "runs", progress=False)


def test_a_bug_is_reported_with_its_traceback(place, cells, tmp_path, monkeypatch):
    monkeypatch.setattr(evaluate, "timed_fit", lambda *_: 1 / 0)
    records, failed = run_cells(cells, tmp_path, place["cache"], progress=False)
    assert records == [] and len(failed) == 4 and "ZeroDivisionError" in failed[0] and "Traceback" in failed[0]


def test_estimates_come_from_runs_of_the_same_kind(place, cells, tmp_path):
    base = tmp_path / "runs"

    def estimated(cells):
        return estimate(standings(cells, base), base, tmp_path / "results")

    assert estimated(cells) == (4, 4 * ASSUMED, ["nearest"])
    for cell, seconds in zip(cells, (10, 20, 30, 40), strict=True):  # rgb 1 and 2 shots, xyz 1 and 2 shots
        record, = run_cells([cell], base, place["cache"], progress=False)[0]
        object.__setattr__(record, "wall_s", float(seconds))
        write(record, cell.folder(base))
    assert estimated(cells).seconds == 0
    more = read_sweep(place["sweep"] | {"shots": [1, 50], "seeds": [[5, 1]]})
    found = estimated(more)
    assert found.seconds == 10 + 20 + 30 + 40 and found.assumed == [], "1 shot from 1 shot, 50 from the nearest, 2"
    other = read_sweep(place["sweep"] | {"methods": {"nearest": {"max": {"bank": "max"}}}, "shots": [1]})
    assert estimated(other).seconds == 10, "an unknown variant takes as long as the fastest of the others"
    assert str(estimated(other)).startswith("1 to do: 0.00 hours on one core")


def test_the_command_line_estimates_without_running(one_fails, capsys, ran):
    args = [str(one_fails / "whole.yaml"), "--base", str(one_fails / "runs"), "--estimate"]
    assert main(["sweep", *args, "--shots", "2", "--method", "nearest", "--category", "plain", "--data-seed", "0"]) == 0
    assert capsys.readouterr().out.startswith("2 runs, 0 finished\n2 to do") and ran == []


@pytest.mark.parametrize(("change", "options", "fault"), [({"shot": [1]}, [], "unknown key 'shot'"),
                                                          ({}, ["--category", "keyed"], "unknown category of this sweep")])
def test_bad_sweeps_give_exit_code_2(place, tmp_path, capsys, change, options, fault):
    (tmp_path / "x.yaml").write_text(yaml.safe_dump(place["sweep"] | change))
    assert main(["sweep", str(tmp_path / "x.yaml"), *options, "--base", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert fault in error and error.startswith("error: ") and error.count("\n") == 1
    with pytest.raises(SettingsError):
        run_sweep(tmp_path / "x.yaml", categories=["keyed"], base=tmp_path)


def test_an_interrupt_gives_exit_code_130(place, tmp_path, capsys, monkeypatch):
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "run_missing", stop)
    (tmp_path / "x.yaml").write_text(yaml.safe_dump(place["sweep"]))
    assert main(["sweep", str(tmp_path / "x.yaml"), "--base", str(tmp_path)]) == 130
    assert "goes on from here" in capsys.readouterr().err
