"""Which code made a number: a hash of the modules that decide it, blind to words, layout and types (mmadlib.digest)."""

from __future__ import annotations

import ast
import csv
import inspect
import json
import textwrap
from collections.abc import Collection, Iterable
from functools import cache
from pathlib import Path

from mmadlib.digest import PACKAGE, code_digest
from mmadlib.errors import SettingsError

# No number depends on these files; rendered data are named by their renderer (data.rendered.renderer)
FILES = {"__main__", "atomic", "digest", "errors", "names", "paths", "progress", "workers", "data/contents",
         "data/convert/road", "data/rendered",
         *(f"experiments/{name}" for name in ("belonging", "causes", "cells", "compare", "cost", "estimate", "forecast",
                                              "grids", "identity", "notebook", "params", "plan", "record", "results",
                                              "standing", "sweep", "texts"))}
ROOMS = {"render", "report"}  # nor on these rooms, but what a notebook shows depends on the second
FACES = ("__init__.pyi", "__init__.py")  # what a room exports; the stub is the one to read where there are both
SAME = Path(__file__).with_name("same_numbers.csv")  # code that was proven to give the numbers of older code
TABLES = ("__init__.py", "__init__.pyi", "methods/__init__.py")  # the version, the names of all methods


def decides(file: Path, rooms: Collection[str] = ROOMS) -> bool:
    """Whether a number may depend on this file of the library; `rooms` are left out."""
    place = file.relative_to(PACKAGE)
    return (place.parts[0] not in rooms and place.with_suffix("").as_posix() not in FILES
            and place.as_posix() not in TABLES)


def _files(module: str) -> set[Path]:
    """The file of a module of the library, the face of a room; empty for others."""
    return set(_found(PACKAGE, module)) if module.split(".")[0] == PACKAGE.name else set()


@cache  # asked for by every import of every file
def _found(package: Path, module: str) -> tuple[Path, ...]:
    stem = package.joinpath(*module.split(".")[1:])
    return tuple(f for f in (stem.with_suffix(".py"), *(stem / face for face in FACES)) if f.is_file())[:1]


def _origin(module: str, name: str) -> set[Path]:
    """The file behind `from module import name`: a module of that name, or where the room's face has it from."""
    if found := _files(f"{module}.{name}"):
        return found
    for face in _files(module):
        for source, imported_name, alias in _imports(face.read_text(encoding="utf-8"), module):
            if alias == name:
                return _origin(source, imported_name)
    return _files(module)


@cache  # of the text: what is imported in many places is parsed once
def _imports(source: str, package: str) -> list[tuple[str, str, str]]:
    """(module, name, name here) of every import of the library in a source of this package; "" for whole modules."""
    found: list[tuple[str, str, str]] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += ((alias.name, "", "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[:len(package.split(".")) + 1 - node.level] if node.level else []
            module = ".".join([*above, *filter(None, [node.module])])
            found += ((module, alias.name, alias.asname or alias.name) for alias in node.names)
    return found


def imported(source: str, package: str = "") -> set[Path]:
    """Files of the library that a source imports, anywhere in it; relative imports start from `package`."""
    found: set[Path] = set()
    for module, name, _ in _imports(source, package):
        found |= _origin(module, name) if name else _files(module)
    return found


def _package(file: Path) -> str:
    """The package that a file of the library is in; "" outside."""
    return ".".join(file.parent.relative_to(PACKAGE.parent).parts) if file.is_relative_to(PACKAGE) else ""


def follow(start: Iterable[Path], rooms: Collection[str] = ROOMS) -> set[Path]:
    """The files, but for TABLES, and all that they import and that decides numbers."""
    found, waiting = set(), {file for file in start if file not in {PACKAGE / table for table in TABLES}}
    while waiting:
        file = waiting.pop()
        found.add(file)
        more = imported(file.read_text(encoding="utf-8"), _package(file)) - found
        waiting |= {f for f in more if decides(f, rooms)}
    return found


def _code_of(method: str) -> tuple[set[Path], list[str]]:
    """The file in which a method's class stands, in this library or outside; its source where it was typed into a session.

    Raises SettingsError when neither is known.
    """
    from mmadlib.methods import EVERY

    try:
        return {module_of(EVERY[method])}, []
    except (OSError, TypeError):
        pass
    try:
        return set(), [textwrap.dedent(inspect.getsource(EVERY[method]))]
    except (OSError, TypeError):
        raise SettingsError(f"method {method!r}: the source of its class cannot be found; put it into a file") from None


def module_of(method: type) -> Path:
    """The file in which a class stands. Raises OSError or TypeError when it is in none."""
    return Path(inspect.getfile(method)).resolve(strict=True)


def runner(method: str) -> str:
    """The module of this room that makes the numbers of a method: of one that learns from good parts, or of another."""
    from mmadlib.methods import BATCH_METHODS

    return "unlabelled" if method in BATCH_METHODS else "evaluate"


@cache
def run_identity(method: str, dataset: str) -> str:
    """Identity of every run of a method on a dataset: that of its code, or of older code that is proven to give the same
    numbers (SAME). Raises as `code_identity`."""
    found = code_identity(method, dataset)
    return _same().get((method, dataset, found), found)


@cache
def _same() -> dict[tuple[str, str, str], str]:
    """(method, dataset, identity of the code) -> identity that it counts as; written by workflow/same_numbers.py alone."""
    if not SAME.is_file():
        return {}
    with SAME.open(encoding="utf-8", newline="") as file:
        return {(row["method"], row["dataset"], row["found"]): row["counts_as"] for row in csv.DictReader(file)}


@cache
def code_identity(method: str, dataset: str) -> str:
    """Hash of the code of a method on a dataset: its module, the experiment's, the reader's, and what they import.

    Read once per process, so that a long sweep names the code it started with. Other methods' modules do not count
    unless this one imports them. Raises SettingsError when the method's source cannot be found.
    """
    reader = PACKAGE / f"data/{dataset}.py"
    reader = reader if decides(reader) else reader.with_name(f"{dataset}_plan.py")
    files, sources = _code_of(method)
    return _digest(follow({*files, PACKAGE / f"experiments/{runner(method)}.py", reader}), sources)


def notebook_identity(notebook: Path) -> str:
    """Identity of an executed notebook: its code cells, what they import (of what decides no number only what they name
    themselves, and all of the report), and all methods where one may run."""
    cells = [c["source"] for c in json.loads(notebook.read_text(encoding="utf-8"))["cells"] if c["cell_type"] == "code"]
    cells = ["".join(c) for c in cells]
    start, rooms = {file for cell in cells for file in imported(cell)}, ROOMS - {"report"}
    files = follow(start, rooms)
    if PACKAGE / "methods/__init__.py" in start or PACKAGE / "experiments/evaluate.py" in files:
        files |= follow((PACKAGE / "methods").rglob("*.py"), rooms)
    return _digest(files, cells)


def _digest(files: Iterable[Path], more: Iterable[str] = ()) -> str:
    return code_digest([*more, *(file.read_text(encoding="utf-8") for file in sorted(files))])
