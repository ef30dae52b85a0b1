"""What counts as other code: meaning does, prose does not, and other methods do not."""

from __future__ import annotations

import csv

import nbformat
import pandas as pd
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from mmadlib.data import DATASETS
from mmadlib.errors import SettingsError
from mmadlib.experiments import identity
from mmadlib.experiments.identity import code_identity, notebook_identity, run_identity
from mmadlib.methods import METHODS
from mmadlib.paths import RESULTS


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package of a few files; `run_identity` afresh."""
    folder = tmp_path / "mmadlib"
    sources = {
        "__init__": "from mmadlib.sample import Sample", "sample": "x = 1",
        "experiments/__init__": "",
        "experiments/evaluate": "from mmadlib.metrics import auroc\nfrom mmadlib.methods import METHODS",
        "experiments/sweep": "from mmadlib.experiments.evaluate import run",
        "metrics/__init__": "from mmadlib.metrics.areas import auroc\nfrom mmadlib.metrics.other import x",
        "metrics/areas": "def auroc():\n    '''Area.'''\n    return 1", "metrics/other": "x = 1",
        "report/plots": "from mmadlib.report import draws", "report/draws": "x = 1", "data/toy": "y = 1",
        "methods/__init__": "from mmadlib.methods.one import One",
        "methods/one/__init__": "from mmadlib.methods.one.one import One",
        "methods/one/one": "from mmadlib.methods import shared", "methods/two/two": "z = 1", "methods/shared": "s = 1"}
    for name, source in sources.items():
        path = folder / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source)
    stub = "from .evaluate import run as run\nfrom .sweep import run_sweep as run_sweep"
    (folder / "experiments/__init__.pyi").write_text(stub)
    monkeypatch.setattr(identity, "PACKAGE", folder)
    monkeypatch.setattr(identity, "_code_of", lambda method: ({folder / f"methods/{method}/{method}.py"}, []))
    return folder


def forget():
    for known in (run_identity, code_identity, identity._same):
        known.cache_clear()


def fresh(method="one"):
    forget()
    return run_identity(method, "toy")


@pytest.fixture(autouse=True)
def _forget():
    yield
    forget()


@pytest.mark.parametrize(("file", "source", "changes"), [
    ("metrics/areas", "def auroc():\n    '''Other words.'''\n    # a comment\n    return (1)", False),
    ("metrics/areas", "def auroc():\n    '''Area.'''\n    return 2", True),
    ("metrics/other", "x = 2", False),  # in the same room, not asked for
    ("methods/one/one", "from mmadlib.methods import shared\nq = 1", True),
    ("methods/shared", "s = 2", True),
    ("data/toy", "y = 2", True),
    ("methods/two/two", "z = 2", False),
    ("methods/__init__", "from mmadlib.methods.one import One, Two", False),
    ("report/plots", "x = 2", False),
    ("experiments/sweep", "x = 2", False),
])
def test_identity_follows_what_decides_the_numbers(package, file, source, changes):
    before = fresh()
    (package / f"{file}.py").write_text(source)
    assert (fresh() != before) is changes


def test_a_process_keeps_the_identity_it_started_with(package):
    before = fresh()
    (package / "metrics/areas.py").write_text("def auroc():\n    return 2")
    assert run_identity("one", "toy") == before != fresh()


def test_every_method_and_dataset_has_one():
    homes = {f"mmadlib.methods.{name}" for name in METHODS} | {f"mmadlib.methods.{name}.{name}" for name in METHODS}
    assert all(cls.__module__ in homes for cls in METHODS.values()), "a method's file has its name"
    assert len({run_identity(method, "road") for method in METHODS}) == len(METHODS)
    assert all(run_identity("nearest", dataset) for dataset in DATASETS)


def notebook(path, code, prose="prose"):
    nbformat.write(new_notebook(cells=[new_markdown_cell(prose), new_code_cell(code)]), path)
    return notebook_identity(path)


def test_a_notebook_is_its_code_and_what_it_imports(package, tmp_path):
    path, code = tmp_path / "nb.ipynb", "from mmadlib.metrics import auroc\nx = 1"
    first = notebook(path, code)
    assert notebook(path, f"{code}  # with a comment", "other prose") == first
    assert notebook(path, f"{code}\nx = 2") != first
    for unrelated in ("report/plots", "methods/two/two", "metrics/other"):
        (package / f"{unrelated}.py").write_text("x = 2")
    assert notebook(path, code) == first
    (package / "metrics/areas.py").write_text("def auroc():\n    return 2")
    assert notebook(path, code) != first


def test_a_notebook_that_plots_or_runs_methods_follows_them(package, tmp_path):
    path = tmp_path / "nb.ipynb"
    plots, runs = "from mmadlib.report import plots", "from mmadlib.experiments import run"
    before = [notebook(path, code) for code in (plots, runs)]
    (package / "report/plots.py").write_text("x = 2")
    assert [notebook(path, code) == old for code, old in zip((plots, runs), before, strict=True)] == [False, True]
    (package / "methods/two/two.py").write_text("z = 2")
    assert notebook(path, runs) != before[1]


def test_a_notebook_follows_the_whole_report_and_a_run_none_of_it(package, tmp_path):
    code = "from mmadlib.report import plots\nfrom mmadlib.experiments import run"
    before = notebook(tmp_path / "nb.ipynb", code), fresh()
    (package / "report/draws.py").write_text("x = 2")
    after = notebook(tmp_path / "nb.ipynb", code), fresh()
    assert before[0] != after[0] and before[1] == after[1]


@pytest.mark.parametrize("code", ["from mmadlib import experiments", "import mmadlib.experiments"])
def test_a_room_imported_as_a_whole_stands_for_all_that_it_exports(package, tmp_path, code):
    before = notebook(tmp_path / "nb.ipynb", code)
    (package / "metrics/areas.py").write_text("def auroc():\n    return 2")
    assert notebook(tmp_path / "nb.ipynb", code) != before


def test_the_plan_and_version_of_rendered_data_decide_their_numbers(monkeypatch):
    followed = []
    monkeypatch.setattr(identity, "follow", lambda start, *rest: followed.append(set(start)) or set())
    for dataset in ("rendered", "road"):
        fresh_dataset(dataset)
    assert identity.PACKAGE / "data/rendered_plan.py" in followed[0] and identity.PACKAGE / "data/road.py" in followed[1]


def fresh_dataset(dataset):
    forget()
    return run_identity("nearest", dataset)


def test_a_class_without_a_file_is_known_by_its_source_or_refused(monkeypatch):
    class Typed(METHODS["nearest"]):
        name = "typed"

    monkeypatch.setitem(METHODS, "typed", Typed)
    monkeypatch.setattr(identity, "module_of", lambda cls: (_ for _ in ()).throw(TypeError("built-in class")))
    assert run_identity("typed", "road") != run_identity("nearest", "road")
    monkeypatch.setattr(identity.inspect, "getsource", lambda cls: (_ for _ in ()).throw(OSError("no source")))
    forget()
    with pytest.raises(SettingsError, match="put it into a file"):
        run_identity("typed", "road")


def test_the_files_that_decide_no_number_exist():
    assert all((identity.PACKAGE / f"{name}.py").is_file() for name in identity.FILES)
    assert all((identity.PACKAGE / name).is_dir() for name in identity.ROOMS)
    assert all((identity.PACKAGE / name).is_file() for name in identity.TABLES)


EDITED = ("; code that decides numbers was edited: `.venv/bin/python workflow/same_numbers.py COMMIT` proves that it gives "
          "the numbers of COMMIT, which the rows are of, or the runs are measured again (CONTRIBUTING.md)")


def test_the_table_of_same_numbers_is_of_the_code_as_it_is():
    with identity.SAME.open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            assert row["found"] == code_identity(row["method"], row["dataset"]), f"{row['method']} on {row['dataset']}{EDITED}"


def test_no_committed_row_is_stale():
    runs = pd.read_csv(RESULTS / "runs.csv")[["method", "dataset", "code"]].drop_duplicates()
    stale = sorted({f"{method} on {dataset}" for method, dataset, code in runs.itertuples(index=False)
                    if run_identity(method, dataset) != code})
    assert not stale, f"{', '.join(stale)}{EDITED}"


def test_proven_code_counts_as_that_of_the_rows_until_it_is_edited_again(package, tmp_path, monkeypatch):
    monkeypatch.setattr(identity, "SAME", tmp_path / "same_numbers.csv")
    rows = fresh()
    (package / "metrics/areas.py").write_text("def auroc():\n    return 1 + 0")
    found = fresh()
    assert found != rows
    text = "method,dataset,found,counts_as,evidence\n" + "\n".join(f"{m},{d},{found},{rows},x" for m, d in
                                                                  (("one", "toy"), ("two", "other")))
    (tmp_path / "same_numbers.csv").write_text(text)
    assert fresh() == rows and code_identity("one", "toy") == found
    assert fresh("two") not in (rows, found), "another method is not vouched for"
    (package / "metrics/areas.py").write_text("def auroc():\n    return 2")
    assert fresh() not in (rows, found)
