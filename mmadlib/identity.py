"""Which code made a number: a hash of the modules that decide it, blind to comments, layout and docstrings."""

from __future__ import annotations

import ast
import hashlib
import json
from collections.abc import Iterable
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent
# no number depends on these; the renderer's pictures have a version of their own (mmadlib.data.rendered.VERSION)
HOUSE = {"atomic", "cells", "compare", "convert_road", "cost", "errors", "identity", "paths", "plan", "plots", "progress",
         "record", "rendered", "results", "run", "sweep", "tables"}
TABLES = {PACKAGE / "__init__.py", PACKAGE / "methods/__init__.py"}  # the version, the names of all methods
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def _meaning(source: str) -> str:
    """The syntax tree without docstrings."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, DOCUMENTED) and ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:]
    return ast.dump(tree)


def _digest(sources: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(map(_meaning, sources)).encode()).hexdigest()[:16]


def _imported(source: str) -> set[Path]:
    """Modules of the package that a source imports, anywhere in it, and the __init__ of their packages."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    stems = [PACKAGE.joinpath(*name.split(".")[1:]) for name in names if name.split(".")[0] == PACKAGE.name]
    return {f for stem in stems for f in (stem.with_suffix(".py"), stem / "__init__.py") if f.is_file()}


def _follow(start: Iterable[Path]) -> set[Path]:
    """The files and all that they import, without TABLES, the renderer and what only HOUSE needs."""
    start = set(start)
    found, waiting = set(), start - TABLES
    while waiting:
        file = waiting.pop()
        found.add(file)
        waiting |= {f for f in _imported(file.read_text()) - found - TABLES
                    if f.stem not in HOUSE and f.parent.name != "render"}
    return found


@cache
def run_identity(method: str, dataset: str) -> str:
    """Identity of every run of a method on a dataset: its module, the experiment's, the reader's, and what they import.

    Read once per process, so that a long sweep names the code it started with. Other methods' modules do not count
    unless this one imports them.
    """
    start = [PACKAGE / f"methods/{method}.py", PACKAGE / "evaluate.py"]
    start += [] if dataset in HOUSE else [PACKAGE / f"data/{dataset}.py"]
    return _digest(file.read_text() for file in sorted(_follow(start)))


def notebook_identity(notebook: Path) -> str:
    """Identity of an executed notebook: its code cells, what they import (of HOUSE only what they name themselves), and all
    methods where one may run."""
    cells = [c["source"] for c in json.loads(notebook.read_text())["cells"] if c["cell_type"] == "code"]
    cells = ["".join(c) for c in cells]
    start = {file for cell in cells for file in _imported(cell)}
    files = _follow(start)
    if start & TABLES - {PACKAGE / "__init__.py"} or PACKAGE / "evaluate.py" in files:
        files |= _follow((PACKAGE / "methods").glob("*.py"))
    return _digest(cells + [f.read_text() for f in sorted(files)])
