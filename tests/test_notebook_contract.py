"""Every stored notebook keeps to the contract, and the contract catches those that do not."""

from __future__ import annotations

import ast
import re

import nbformat
import pytest
from contract import COMMON, faults_of
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from mmadlib.experiments.params import declared_types
from mmadlib.paths import NOTEBOOKS

STORED = sorted(NOTEBOOKS.glob("*.ipynb"))
PARAMETERS = "\n".join(f'{name}: {"int" if name in ("shots", "seed") else "str"} = '
                       f'{0 if name in ("shots", "seed") else repr("x")}  # help' for name in COMMON)


def test_there_are_notebooks_and_no_number_is_used_twice():
    numbers = [path.name[:2] for path in STORED]
    assert numbers and len(set(numbers)) == len(numbers)
    assert all(re.fullmatch(r"\d\d_[a-z0-9_]+\.ipynb", path.name) for path in STORED)


@pytest.mark.parametrize("path", STORED, ids=lambda p: p.stem)
def test_stored_notebooks_keep_to_the_contract(path):
    assert faults_of(path) == []


def good():
    """A notebook that keeps to the contract; each test below breaks one thing."""
    code = ["import numpy as np", PARAMETERS, "x = np.arange(3)"] + ["print(x.shape)"] * 3
    cells = [new_markdown_cell("# 99 · Title\n\n**Paper** CFM, Sec. 3 · **Default** 1 s · **Full** 1 h · **Expect** a shape")]
    for count, text in enumerate(code, 1):
        outputs = [new_output("stream", name="stdout", text="(3,)\n")] if "print" in text else []
        cells.append(new_code_cell(text, execution_count=count, outputs=outputs))
    cells[2].metadata.tags = ["parameters"]
    for cell in cells[-3:]:
        cell.metadata.tags = ["nbval-check-output"]
    return new_notebook(cells=cells, metadata={"kernelspec": {"name": "python3", "display_name": "Python 3"}})


def faults(nb, tmp_path):
    nbformat.write(nb, tmp_path / "99_x.ipynb")
    return faults_of(tmp_path / "99_x.ipynb")


def change(path, value):
    """A function that sets nb.cells[i].name for "i.name", or nb.metadata.name for "metadata.name"."""
    def apply(nb):
        where, name = path.split(".")
        setattr(nb.metadata if where == "metadata" else nb.cells[int(where)], name, value)
    return apply


def shows(**data):
    return [new_output("display_data", data={k.replace("_", "/"): v for k, v in data.items()})]


def plotly(points):
    trace = {"type": "scatter3d", "x": points}
    return [new_output("display_data", data={"application/vnd.plotly.v1+json": {"data": [trace]}})]


BROKEN = {
    "kernel is not python3": change("metadata.kernelspec", {"name": "conda-env", "display_name": "x"}),
    "execution counts": change("3.execution_count", None),
    "metadata ['widgets']": change("metadata.widgets", {}),
    "cell metadata": change("3.metadata", {"execution": {"iopub.status.busy": "2024"}}),
    "injected-parameters": change("3.metadata", {"tags": ["injected-parameters"]}),
    "nbval-skip": change("3.metadata", {"tags": ["nbval-skip"]}),
    "kB, at most": change("0.source", "# T\n**Paper**" + "x" * 1_000_000),
    "0 cells tagged parameters": change("2.metadata", {}),
    "'shots = 4' is not": change("2.source", PARAMETERS + "\nshots = 4  # help"),
    "seed is not a literal int": change("2.source", PARAMETERS.replace("seed: int = 0", "seed: int = 1.5")),
    "lr is not a literal float": change("2.source", PARAMETERS + "\nlr: float = 10 ** -3  # help"),
    "lr has no comment": change("2.source", PARAMETERS + "\nlr: float = 0.1"),
    "parameters start with": change("2.source", "\n".join(reversed(PARAMETERS.splitlines()))),
    "first cell has no title": change("0.source", "# 99 · Title"),
    "more than 15 lines": change("3.source", "x = 1\n" * 16),
    "defines a class": change("3.source", "class A:\n    pass"),
    "imports after": change("3.source", "import numpy as np"),
    "ends in ';'": change("3.source", "x = 1;"),
    "environment switch": change("3.source", "import os\nx = os.environ.get('A')"),
    "an error or stderr": change("3.outputs", [new_output("stream", name="stderr", text="careful")]),
    "an absolute path": change("3.outputs", [new_output("stream", name="stdout", text="see /home/me/x.png")]),
    "stored ['application/javascript']": change("3.outputs", shows(application_javascript="1")),
    "stored a script": change("3.outputs", shows(text_html="<script>1</script>")),
    "stored ['application/vnd.jupyter.widget-view+json']":
        change("3.outputs", [new_output("display_data", data={"application/vnd.jupyter.widget-view+json": {}})]),
    "more than 5000 points": change("3.outputs", plotly([0.0] * 5001)),
    "makes figures and stored none": change("3.source", "fig, ax = x.subplots()"),
    "2 checked cells": change("4.metadata", {}),
    "no text output": change("4.outputs", []),
    "prints constants only": change("4.source", "y = 3\nprint('shape', (y,), len('abc'))"),
}


def test_a_good_notebook_has_no_faults(tmp_path):
    assert faults(good(), tmp_path) == []


@pytest.mark.parametrize("fault", BROKEN)
def test_each_fault_is_found_and_named(fault, tmp_path):
    nb = good()
    BROKEN[fault](nb)
    assert any(fault in found for found in faults(nb, tmp_path)), faults(nb, tmp_path)


def test_packed_plotly_arrays_are_counted(tmp_path):
    import base64

    nb = good()
    for n, bad in ((5000, False), (5100, True)):
        nb.cells[3].outputs = plotly({"dtype": "f4", "bdata": base64.b64encode(bytes(4 * n)).decode()})
        assert bool(faults(nb, tmp_path)) is bad


def test_relative_paths_and_web_addresses_are_fine(tmp_path):
    nb = good()
    nb.cells[3].outputs = [new_output("stream", name="stdout", text="runs/tmp/x.json https://x.org/data/y a/home/b")]
    assert faults(nb, tmp_path) == []


@pytest.mark.parametrize("path", sorted(NOTEBOOKS.glob("[0-9]*.ipynb")), ids=lambda path: path.stem)
def test_every_parameter_is_seen_by_papermill(path):
    """It reads lines, not Python: one with a second = in its comment is dropped without a word."""
    (source,) = [cell.source for cell in nbformat.read(path, 4).cells if "parameters" in cell.metadata.get("tags", [])]
    assert list(declared_types(path)) == [node.target.id for node in ast.parse(source).body if isinstance(node, ast.AnnAssign)]
