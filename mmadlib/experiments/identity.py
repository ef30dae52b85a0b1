"""Which code made a number: a hash of the modules that decide it, blind to comments, layout and docstrings."""

from __future__ import annotations

import ast
import inspect
import json
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from mmadlib.digest import PACKAGE, code_digest

# No number depends on these rooms and files; the renderer's pictures have a version of their own (rendered_plan.VERSION)
ROOMS = {"report", "render"}
FILES = {"__main__", "atomic", "digest", "errors", "paths", "progress", "data/convert/road", "data/rendered",
         *(f"experiments/{name}" for name in ("cells", "compare", "cost", "forecast", "identity", "notebook", "params", "plan",
                                              "record", "results", "sweep"))}
FACES = ("__init__.pyi", "__init__.py")  # what a room exports; the stub is the one to read where there are both
TABLES = ("__init__.py", "methods/__init__.py")  # the version, the names of all methods


def decides(file: Path) -> bool:
    """Whether a number may depend on this file of the library."""
    place = file.relative_to(PACKAGE)
    return (place.parts[0] not in ROOMS and place.with_suffix("").as_posix() not in FILES
            and place.as_posix() not in TABLES)


def _origin(module: str, name: str) -> set[Path]:
    """The file behind `from module import name`: a module of that name, or where the room's face has it from."""
    folder = PACKAGE.joinpath(*module.split(".")[1:])
    if found := _files(f"{module}.{name}"):
        return found
    for face in (folder / f for f in FACES):
        if face.is_file():
            for node in ast.walk(ast.parse(face.read_text(encoding="utf-8"))):
                if isinstance(node, ast.ImportFrom) and any((a.asname or a.name) == name for a in node.names):
                    source = f"{module}.{node.module}" if node.level else str(node.module)
                    return _origin(source, next(a.name for a in node.names if (a.asname or a.name) == name))
    return _files(module)


def _files(module: str) -> set[Path]:
    """The file of a module of the library, the face of a room; empty for others."""
    stem = PACKAGE.joinpath(*module.split(".")[1:])
    found = [f for f in (stem.with_suffix(".py"), *(stem / face for face in FACES)) if f.is_file()]
    return set(found[:1])


def imported(source: str) -> set[Path]:
    """Files of the library that a source imports, anywhere in it."""
    found: set[Path] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names if alias.name.split(".")[0] == PACKAGE.name]
            found |= set().union(*map(_files, names))
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == PACKAGE.name:
            found |= set().union(*(_origin(str(node.module), alias.name) for alias in node.names))
    return found


def follow(start: Iterable[Path]) -> set[Path]:
    """The files, but for TABLES, and all that they import and that decides numbers."""
    found, waiting = set(), {file for file in start if file not in {PACKAGE / table for table in TABLES}}
    while waiting:
        file = waiting.pop()
        found.add(file)
        waiting |= {f for f in imported(file.read_text(encoding="utf-8")) - found if decides(f)}
    return found


def module_of(method: str) -> Path:
    """The file in which a method's class stands, in this library or outside."""
    from mmadlib.methods import METHODS

    return Path(inspect.getfile(METHODS[method])).resolve()


@cache
def run_identity(method: str, dataset: str) -> str:
    """Identity of every run of a method on a dataset: its module, the experiment's, the reader's, and what they import.

    Read once per process, so that a long sweep names the code it started with. Other methods' modules do not count
    unless this one imports them.
    """
    reader = PACKAGE / f"data/{dataset}.py"
    start = [module_of(method), PACKAGE / "experiments/evaluate.py", *([reader] if decides(reader) else [])]
    return _digest(follow(start))


def notebook_identity(notebook: Path) -> str:
    """Identity of an executed notebook: its code cells, what they import (of what decides no number only what they name
    themselves), and all methods where one may run."""
    cells = [c["source"] for c in json.loads(notebook.read_text(encoding="utf-8"))["cells"] if c["cell_type"] == "code"]
    cells = ["".join(c) for c in cells]
    start = {file for cell in cells for file in imported(cell)}
    files = follow(start)
    if PACKAGE / "methods/__init__.py" in start or PACKAGE / "experiments/evaluate.py" in files:
        files |= follow((PACKAGE / "methods").rglob("*.py"))
    return _digest(files, cells)


def _digest(files: Iterable[Path], more: Iterable[str] = ()) -> str:
    return code_digest([*more, *(file.read_text(encoding="utf-8") for file in sorted(files))])
