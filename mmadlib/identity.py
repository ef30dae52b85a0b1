"""Which code made a number: a hash of the modules that decide it, blind to comments, layout and docstrings."""

from __future__ import annotations

import ast
import hashlib
import json
from collections.abc import Iterable, Sequence
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


def _imported(file: Path) -> set[Path]:
    """Modules of the package that a file imports, anywhere in it; the packages' tables of names are followed, too."""
    names = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    stems = [PACKAGE.joinpath(*name.split(".")[1:]) for name in names if name.split(".")[0] == PACKAGE.name]
    return {f for stem in stems for f in (stem.with_suffix(".py"), stem / "__init__.py") if f.is_file()}


def _follow(start: Iterable[Path]) -> list[Path]:
    """The files and all that they import, without HOUSE, TABLES and the renderer."""
    found, waiting = set(), set(start)
    while waiting:
        file = waiting.pop()
        if file.stem in HOUSE or file.parent.name == "render" or file in TABLES:
            continue
        found.add(file)
        waiting |= _imported(file) - found
    return sorted(found)


@cache
def run_identity(method: str, dataset: str) -> str:
    """Identity of every run of a method on a dataset: its module, the experiment's, the reader's, and what they import.

    Read once per process, so that a long sweep names the code it started with. Other methods' modules do not count
    unless this one imports them.
    """
    start = [PACKAGE / name for name in (f"methods/{method}.py", "evaluate.py", f"data/{dataset}.py")]
    return _digest(file.read_text() for file in _follow(start))


def notebook_identity(notebook: Path, methods: Sequence[str] = ("*",)) -> str:
    """Identity of an executed notebook: its code cells, and the library without HOUSE and methods not named."""
    files = {f for f in PACKAGE.rglob("*.py") if f.parent.name not in ("methods", "render") and f.stem not in HOUSE}
    for name in ("__init__", "base", *methods):
        files |= set((PACKAGE / "methods").glob(f"{name}.py"))
    cells = [c["source"] for c in json.loads(notebook.read_text())["cells"] if c["cell_type"] == "code"]
    return _digest(["".join(c) for c in cells] + [f.read_text() for f in sorted(files)])
