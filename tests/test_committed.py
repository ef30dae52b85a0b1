"""`make test` compares stored notebooks with the tables they were made from, whatever a person has run since."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import committed as module
import pytest
from committed import committed

from mmadlib import paths


@pytest.fixture
def checkout(tmp_path):
    """A repository with a table and a notebook, both committed."""
    for name in ("results/results.csv", "results/tables/a.md", "notebooks/90_tables.ipynb"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("as committed")
    for words in (["init", "-q"], ["add", "-A"], ["-c", "user.name=n", "-c", "user.email=e@x", "commit", "-q", "-m", "m"]):
        subprocess.run(["git", "-C", str(tmp_path), *words], check=True)
    return tmp_path


def test_a_changed_table_is_compared_as_it_was_committed(checkout):
    assert committed(checkout, checkout / "build") is None, "nothing differs"
    (checkout / "results/results.csv").write_text("run here")
    place = committed(checkout, checkout / "build")
    assert (place / "results.csv").read_text() == (place / "tables/a.md").read_text() == "as committed"
    (checkout / "notebooks/90_tables.ipynb").write_text("stored anew, from the new table")
    assert committed(checkout, checkout / "build") is None


def test_without_git_the_table_that_was_set_aside_counts(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "BEFORE", tmp_path / "none")
    assert committed(tmp_path, tmp_path / "build") is None
    (tmp_path / "results").mkdir()
    for name in ("results", "runs"):
        (tmp_path / f"results/{name}.csv").write_text("run here")
    (tmp_path / "before.csv").write_text("as it came")
    monkeypatch.setattr(module, "BEFORE", tmp_path / "before.csv")
    monkeypatch.setattr(module, "RESULTS", tmp_path / "results")
    place = committed(tmp_path, tmp_path / "build")
    assert (place / "results.csv").read_text() == "as it came" and (place / "runs.csv").is_file()


def test_another_folder_may_stand_for_results(tmp_path):
    code = "from mmadlib import paths; print(paths.RESULTS, paths.resolve('results/results.csv'), paths.resolve('runs'))"
    env = os.environ | {"MMADLIB_RESULTS": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], cwd=paths.ROOT, env=env, capture_output=True, text=True, check=True)
    assert list(map(Path, done.stdout.split())) == [tmp_path, tmp_path / "results.csv", paths.ROOT / "runs"]
