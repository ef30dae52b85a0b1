"""The strict runner: nothing is run or written until every parameter is known to be right."""

from __future__ import annotations

import os
import subprocess
import sys

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from mmadlib.__main__ import main
from mmadlib.errors import SettingsError, UnknownName
from mmadlib.experiments.notebook import NotebookError, run_notebook
from mmadlib.experiments.params import check, collect_parameters, declared_types, parse, read_yaml
from mmadlib.paths import NOTEBOOKS, ROOT

PARAMETERS = 'category: str = "keyed"  # object class\nshots: int = 4\nlr: float = 1e-3\nflag: bool = False'
TYPES = {"category": "str", "shots": "int", "lr": "float", "flag": "bool"}


def notebook(folder, *sources, tag="parameters", parameters=PARAMETERS):
    cells = [new_code_cell(parameters, metadata={"tags": [tag]})] + [new_code_cell(s) for s in sources]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    path = folder / "nb.ipynb"
    nbformat.write(new_notebook(cells=cells, metadata=kernel), path)
    return path


def test_declared_types_come_from_the_tagged_cell(tmp_path):
    assert declared_types(notebook(tmp_path)) == TYPES


@pytest.mark.parametrize(("make", "fault"), [
    (lambda d: d / "absent.ipynb", "no such notebook"),
    (lambda d: notebook(d, tag="other"), "no cell tagged 'parameters'"),
    (lambda d: notebook(d, parameters="shots = 4"), "'shots' has no type"),
    (lambda d: notebook(d, parameters="shots: list = []"), "'shots' has no type"),
])
def test_notebooks_that_cannot_be_run_strictly(tmp_path, make, fault):
    with pytest.raises(SettingsError, match=fault):
        declared_types(make(tmp_path))


@pytest.mark.parametrize("content", [b"not json", b"", b"{}", b"[1]", b"\x89PNG\xff\xfe", b'{"nbformat": 4, "cells": [1]}'])
def test_content_that_is_no_notebook(tmp_path, capsys, content):
    (tmp_path / "nb.ipynb").write_bytes(content)
    assert main(["run", str(tmp_path / "nb.ipynb"), str(tmp_path / "out.ipynb")]) == 2
    error = capsys.readouterr().err
    assert "is not a notebook" in error and error.count("\n") == 1


@pytest.mark.parametrize(("text", "kind", "value"), [
    ("007", "str", "007"), ("1e-3", "str", "1e-3"), ("7", "int", 7), ("1e-3", "float", 1e-3), ("2", "float", 2.0),
    ("true", "bool", True), ("False", "bool", False),
])
def test_texts_become_the_declared_type(text, kind, value):
    assert parse("x", text, kind) == value and type(parse("x", text, kind)) is type(value)


@pytest.mark.parametrize(("text", "kind"), [("four", "int"), ("4.0", "int"), ("yes", "bool"), ("x", "float")])
def test_texts_of_another_type_are_refused(text, kind):
    with pytest.raises(SettingsError, match=f"x={text}: expected {kind}"):
        parse("x", text, kind)


def test_values_are_checked_against_the_declared_type(tmp_path):
    nb = tmp_path / "nb.ipynb"
    checked = check({"lr": 1, "shots": 5}, TYPES, nb)
    assert checked == {"lr": 1.0, "shots": 5} and type(checked["lr"]) is float
    for bad in ({"shots": True}, {"shots": "4"}, {"shots": 4.0}, {"flag": 1}, {"category": 3}, {"category": None}):
        with pytest.raises(SettingsError, match="expected"):
            check(bad, TYPES, nb)
    with pytest.raises(UnknownName, match=r"unknown parameter of nb\.ipynb 'categry': did you mean 'category'"):
        check({"categry": "keyed"}, TYPES, nb)


def test_pairs_win_over_files_and_later_files_over_earlier(tmp_path):
    nb = notebook(tmp_path)
    (tmp_path / "a.yaml").write_text("shots: 1\nlr: 0.5\n")
    (tmp_path / "b.yaml").write_text("shots: 2\n")
    files = [tmp_path / "a.yaml", tmp_path / "b.yaml"]
    assert collect_parameters(nb, files, ["category=free"]) == {"shots": 2, "lr": 0.5, "category": "free"}
    assert collect_parameters(nb, files, ["shots=3"])["shots"] == 3
    with pytest.raises(UnknownName, match="shots"):
        collect_parameters(nb, [], ["shot=3"])
    with pytest.raises(SettingsError, match="key=value"):
        collect_parameters(nb, [], ["shots"])


@pytest.mark.parametrize(("text", "fault"), [(None, "does not exist"), ("a: [", "is not YAML"), ("- a\n- b\n", "no named")])
def test_parameter_files_that_cannot_be_read(tmp_path, text, fault):
    if text is not None:
        (tmp_path / "p.yaml").write_text(text)
    with pytest.raises(SettingsError, match=fault):
        read_yaml(tmp_path / "p.yaml")


def test_a_parameter_file_in_another_encoding(tmp_path):
    (tmp_path / "p.yaml").write_bytes("category: \xe9t\xe9".encode("latin-1"))
    with pytest.raises(SettingsError, match="is no UTF-8 text"):
        read_yaml(tmp_path / "p.yaml")


@pytest.mark.parametrize("out", ["folder.ipynb", "file/out.ipynb"])
def test_an_output_that_cannot_be_written_gives_exit_code_2(tmp_path, capsys, out):
    (tmp_path / "folder.ipynb").mkdir()
    (tmp_path / "file").touch()
    assert main(["run", str(notebook(tmp_path)), str(tmp_path / out)]) == 2
    error = capsys.readouterr().err
    assert "cannot be written" in error and error.count("\n") == 1


@pytest.mark.parametrize("out", [NOTEBOOKS / "00_start_here.ipynb", NOTEBOOKS / "sub" / "x.ipynb", "out.json"])
def test_places_where_no_executed_notebook_may_go(tmp_path, out):
    with pytest.raises(SettingsError, match="no place for an executed notebook"):
        run_notebook(notebook(tmp_path), tmp_path / out)


def test_never_over_the_notebook_itself(tmp_path):
    path = notebook(tmp_path, "1 / 0")
    before = path.read_bytes()
    with pytest.raises(SettingsError, match="no place"):
        run_notebook(path, tmp_path / "." / "nb.ipynb")
    assert path.read_bytes() == before


def test_runs_with_the_given_values_in_the_workspace_and_this_python(tmp_path):
    path = notebook(tmp_path, "import os, sys", "print(category, shots, lr, os.getcwd(), sys.executable)")
    out = run_notebook(path, tmp_path / "deep" / "out.ipynb", {"category": "free", "shots": 7})
    text = "".join(o.get("text", "") for c in nbformat.read(out, 4).cells for o in c.get("outputs", []))
    assert text.split() == ["free", "7", "0.001", str(ROOT), sys.executable]


def test_a_failing_cell_gives_exit_code_1_and_keeps_the_executed_notebook(tmp_path, capsys):
    path, out = notebook(tmp_path, "raise ValueError('no light')"), tmp_path / "out.ipynb"
    assert main(["run", str(path), str(out), "-p", "shots=1"]) == 1
    message = capsys.readouterr().err
    assert "ValueError: no light" in message and "out.ipynb" in message and "Traceback" not in message
    assert any(o["output_type"] == "error" for c in nbformat.read(out, 4).cells for o in c.get("outputs", []))


def test_the_surroundings_of_this_process_stay_as_they_are(tmp_path, monkeypatch):
    monkeypatch.delenv("MMADLIB_HOME", raising=False)
    monkeypatch.setenv("JUPYTER_PREFER_ENV_PATH", "0")
    before = dict(os.environ)
    run_notebook(notebook(tmp_path, "import os; assert os.environ['JUPYTER_PREFER_ENV_PATH'] == '1'"), tmp_path / "out.ipynb")
    assert dict(os.environ) == before


def test_a_dead_kernel_is_reported(tmp_path):
    with pytest.raises(NotebookError, match="kernel died"):
        run_notebook(notebook(tmp_path, "import os", "os._exit(9)"), tmp_path / "out.ipynb")


def test_bad_parameters_give_exit_code_2_and_write_nothing(tmp_path, capsys):
    path, out = notebook(tmp_path), tmp_path / "new" / "out.ipynb"
    assert main(["run", str(path), str(out), "-p", "categry=free"]) == 2
    assert capsys.readouterr().err.startswith("error: unknown parameter of nb.ipynb 'categry'")
    assert not out.parent.exists()


def test_success_prints_start_and_end(tmp_path, capsys):
    assert main(["run", str(notebook(tmp_path)), str(tmp_path / "out.ipynb"), "-p", "shots=2", "lr=1"]) == 0
    first, last = capsys.readouterr().out.strip().splitlines()
    assert first.startswith("run ") and "shots=2 lr=1.0" in first and last.startswith("done ")


def test_importing_the_runner_is_cheap():
    code = "import mmadlib.experiments.notebook, sys; print('papermill' in sys.modules, 'torch' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", code], text=True, cwd=ROOT).split() == ["False", "False"]
