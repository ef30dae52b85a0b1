"""What counts as other code: meaning does, prose does not, and other methods do not."""

from __future__ import annotations

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from mmadlib import identity
from mmadlib.data import DATASETS
from mmadlib.identity import notebook_identity, run_identity
from mmadlib.methods import METHODS


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package of a few files; `run_identity` afresh."""
    folder = tmp_path / "mmadlib"
    sources = {"__init__": "", "evaluate": "from mmadlib.metrics import auroc\nfrom mmadlib.methods import METHODS",
               "metrics": "def auroc():\n    '''Area.'''\n    return 1", "plots": "x = 1", "data/toy": "y = 1",
               "methods/__init__": "from mmadlib.methods import one, two", "methods/one": "from mmadlib.methods import shared",
               "methods/two": "z = 1", "methods/shared": "s = 1"}
    for name, source in sources.items():
        path = folder / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source)
    monkeypatch.setattr(identity, "PACKAGE", folder)
    monkeypatch.setattr(identity, "TABLES", {folder / "__init__.py", folder / "methods/__init__.py"})
    return folder


def fresh(method="one"):
    run_identity.cache_clear()
    return run_identity(method, "toy")


@pytest.fixture(autouse=True)
def _forget():
    yield
    run_identity.cache_clear()


@pytest.mark.parametrize(("file", "source", "changes"), [
    ("metrics", "def auroc():\n    '''Other words.'''\n    # a comment\n    return (1)", False),
    ("metrics", "def auroc():\n    '''Area.'''\n    return 2", True),
    ("methods/one", "from mmadlib.methods import shared\nq = 1", True),
    ("methods/shared", "s = 2", True),
    ("data/toy", "y = 2", True),
    ("methods/two", "z = 2", False),
    ("methods/__init__", "from mmadlib.methods import one, two, three", False),
    ("plots", "x = 2", False),
])
def test_identity_follows_what_decides_the_numbers(package, file, source, changes):
    before = fresh()
    (package / f"{file}.py").write_text(source)
    assert (fresh() != before) is changes


def test_a_process_keeps_the_identity_it_started_with(package):
    before = fresh()
    (package / "metrics.py").write_text("def auroc():\n    return 2")
    assert run_identity("one", "toy") == before != fresh()


def test_every_method_and_dataset_has_one():
    assert all(cls.__module__ == f"mmadlib.methods.{name}" for name, cls in METHODS.items()), "a method's file has its name"
    assert len({run_identity(method, "road") for method in METHODS}) == len(METHODS)
    assert all(run_identity("nearest", dataset) for dataset in DATASETS)


def notebook(path, code, prose="prose"):
    nbformat.write(new_notebook(cells=[new_markdown_cell(prose), new_code_cell(code)]), path)
    return notebook_identity(path)


def test_a_notebook_is_its_code_and_what_it_imports(package, tmp_path):
    path = tmp_path / "nb.ipynb"
    first = notebook(path, "from mmadlib import metrics\nx = 1")
    assert notebook(path, "from mmadlib import metrics\nx = 1  # with a comment", "other prose") == first
    assert notebook(path, "from mmadlib import metrics\nx = 2") != first
    (package / "plots.py").write_text("x = 2")
    (package / "methods/two.py").write_text("z = 2")
    assert notebook(path, "from mmadlib import metrics\nx = 1") == first
    (package / "metrics.py").write_text("def auroc():\n    return 2")
    assert notebook(path, "from mmadlib import metrics\nx = 1") != first


def test_a_notebook_that_plots_or_runs_methods_follows_them(package, tmp_path):
    path = tmp_path / "nb.ipynb"
    plots, runs = "from mmadlib import plots", "from mmadlib.evaluate import run"
    before = [notebook(path, code) for code in (plots, runs)]
    (package / "plots.py").write_text("x = 2")
    assert [notebook(path, code) == old for code, old in zip((plots, runs), before, strict=True)] == [False, True]
    (package / "methods/two.py").write_text("z = 2")
    assert notebook(path, runs) != before[1]
