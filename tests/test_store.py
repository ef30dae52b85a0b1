"""Storing notebooks: outputs and counts stay, everything that changes by itself goes, a failure changes no file."""

from __future__ import annotations

import runpy

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from mmadlib.paths import WORKFLOW

STORE = runpy.run_path(str(WORKFLOW / "store.py"))


@pytest.fixture
def path(tmp_path):
    cell = new_code_cell("print(1)\nprint(2)", metadata={"tags": ["nbval-check-output"], "execution": {"busy": "2024"}})
    nbformat.write(new_notebook(cells=[cell], metadata={"widgets": {}}), tmp_path / "nb.ipynb")
    return tmp_path / "nb.ipynb"


def test_stored_notebooks_are_executed_stripped_and_stable(path):
    assert STORE["main"]([str(path)]) == 0
    first, nb = path.read_bytes(), nbformat.read(path, 4)
    cell = nb.cells[0]
    assert cell.metadata == {"tags": ["nbval-check-output"]} and cell.execution_count == 1
    assert [o.text for o in cell.outputs] == ["1\n2\n"] and set(nb.metadata) == {"kernelspec", "language_info"}
    STORE["main"]([str(path)])
    assert path.read_bytes() == first and list(path.parent.iterdir()) == [path]


def test_a_failing_notebook_is_left_as_it_was(path, capsys):
    nb = nbformat.read(path, 4)
    nb.cells[0].source = "1 / 0"
    nbformat.write(nb, path)
    before = path.read_bytes()
    assert STORE["main"]([str(path)]) == 1 and "left as it was" in capsys.readouterr().out
    assert path.read_bytes() == before
