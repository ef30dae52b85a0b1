"""mmadlib as a package that was installed, used from some folder: data and runs go there, nothing beside its source."""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import nbformat
import pytest
from layouts import isolated, mvtec
from nbformat.v4 import new_code_cell, new_notebook

from mmadlib.paths import ROOT

SCRIPT = """
from pathlib import Path
from mmadlib import Sample, paths
from mmadlib.data import load
from mmadlib.experiments import run_experiment
from mmadlib.features import extract
from mmadlib.methods import METHODS

assert paths.ROOT == Path.cwd() and "site-packages" in paths.__file__, paths.__file__
part = load("rendered", "plain", "train")[0]
assert isinstance(part, Sample) and part.path.is_relative_to(Path.cwd() / "data" / "rendered" / "data0")
train = [extract(sample) for sample in load("folder", "bagel", "train", root="../scans")]
method = METHODS["nearest"](seed=0).fit(train, progress=False)
again = METHODS["nearest"].load(method.save("model"))
test = extract(load("folder", "bagel", "test", root="../scans")[0])
score = again.score(test)
assert (score.map == method.score(test).map).all() and score.map.shape == (224, 224)
record = run_experiment("folder", "bagel", "nearest", shots=1, root="../scans", progress=False)
assert record.provenance["git"] is None
print("done")
"""


@pytest.fixture(scope="module")
def python(tmp_path_factory) -> Path:
    """The interpreter of a fresh environment into which the library was installed; its needs are those of this one."""
    folder = tmp_path_factory.mktemp("installed")
    source = folder / "source"  # pip leaves build/ behind
    shutil.copytree(ROOT / "mmadlib", source / "mmadlib", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copyfile(ROOT / name, source / name)
    venv.create(folder / "env", with_pip=False)
    python = folder / "env" / "bin" / "python"
    (site,) = (folder / "env").glob("lib/python*/site-packages")
    (site / "needs.pth").write_text(sysconfig.get_path("purelib") + "\n")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", str(python), "install", "-q"]
    subprocess.run([*pip, "--no-deps", "--no-build-isolation", "--no-index", str(source)], check=True)
    return python


def contents(folder: Path) -> set[Path]:
    return {p for p in folder.rglob("*") if p.is_file() and "__pycache__" not in p.parts}


@pytest.fixture
def place(tmp_path, monkeypatch) -> Path:
    """A folder to stand in, with a dataset beside it."""
    monkeypatch.delenv("MMADLIB_HOME", raising=False)
    mvtec(tmp_path / "scans", train=2, test={"good": 1, "hole": 1}, cloud=isolated)
    (tmp_path / "work").mkdir()
    return tmp_path / "work"


def call(place, *command):
    return subprocess.run(list(map(str, command)), cwd=place, capture_output=True, text=True, check=False)


def test_load_extract_fit_score_and_save_from_anywhere(python, place):
    (place / "script.py").write_text(SCRIPT)
    before = contents(python.parent.parent)
    done = call(place, python, "script.py")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "done\n"
    assert contents(python.parent.parent) == before, "nothing is written beside the library"
    assert {p.name for p in place.iterdir()} == {"data", "model", "runs", "script.py"}
    assert len(list(place.glob("runs/folder/*/bagel/nearest/*/*/*/*/metrics.json"))) == 1


def test_the_command_is_installed_and_says_where_a_checkout_is_needed(python, place):
    door = python.parent / "mmadlib"
    assert call(place, door, "--version").stdout.startswith("mmadlib ")
    done = call(place, door, "sweep", "41_few_shot_1_2_4/rendered.yaml", "--estimate")
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and "a checkout" in done.stderr
    (place / "own.yaml").write_text("dataset: folder\nroot: ../scans\ncategories: [bagel]\nshots: [1]\nseeds: [0]\n"
                                    "methods: {nearest: [rgb]}\n")
    assert "finished: 1 of 1" in call(place, door, "sweep", "own.yaml").stdout
    again = call(place, door, "sweep", "own.yaml", "--estimate")
    assert again.stdout.startswith("1 run, 1 finished"), again.stderr


def test_the_workspace_is_the_marked_folder_above_or_the_one_that_is_named(python, place, monkeypatch):
    show = [python, "-c", "from mmadlib import paths; print(paths.ROOT)"]
    assert call(place, *show).stdout.strip() == str(place)
    (place.parent / ".mmadlib").touch()
    assert call(place, *show).stdout.strip() == str(place.parent)
    monkeypatch.setenv("MMADLIB_HOME", "../elsewhere")
    assert call(place, *show).stdout.strip() == str(place.parent / "elsewhere")


def test_a_kernel_has_the_workspace_of_the_command(python, place, monkeypatch):
    """A relative MMADLIB_HOME means one folder, also where a notebook's kernel starts elsewhere."""
    cells = [new_code_cell("x: int = 1  # a number", metadata={"tags": ["parameters"]}),
             new_code_cell("from mmadlib import paths\nprint(paths.ROOT)")]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    nbformat.write(new_notebook(cells=cells, metadata=kernel), place / "nb.ipynb")
    monkeypatch.setenv("MMADLIB_HOME", "elsewhere")
    (place / "elsewhere").mkdir()
    done = call(place, sys.executable, "-m", "mmadlib", "run", "nb.ipynb", "out.ipynb")
    assert done.returncode == 0, done.stderr
    (text,) = [o["text"] for c in nbformat.read(place / "out.ipynb", 4).cells for o in c.get("outputs", [])]
    assert text.strip() == str(place / "elsewhere")
