"""The house: rooms one above the other, imports run down only, no circle; every room says what it is for."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from mmadlib.digest import PACKAGE

# from the top floor down; a file may import from its own room and from the rooms below it
FLOORS = ("__main__", "report", "inspection", "experiments", "methods", "metrics", "features", "prepare", "data", "render",
          "sample")
# everybody may stand on it
GROUND = ("errors", "checks", "paths", "progress", "atomic", "workers", "digest", "names", "untrusted", "pinned")
SOURCES = sorted(p for p in PACKAGE.rglob("*.py*") if p.suffix in (".py", ".pyi"))
ROOMS = sorted(p.parent for p in PACKAGE.rglob("__init__.py"))


def name(path: Path) -> str:
    return path.relative_to(PACKAGE.parent).as_posix()


def room(path: Path) -> str:
    """The first folder of a file, or its own name at the root; the root's __init__ exports Sample."""
    first = path.relative_to(PACKAGE).parts[0].partition(".")[0]
    return "sample" if first == "__init__" else first


def floor(path: Path) -> int:
    """0 on the ground, more above. Raises ValueError for a file or folder that has no place in the house."""
    return 0 if room(path) in GROUND else len(FLOORS) - FLOORS.index(room(path))


def module(path: Path) -> str:
    """Dotted name of a file; of the face of a room, that of the room."""
    return ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")


def arrows(files: list[Path] = SOURCES) -> Iterator[tuple[Path, Path]]:
    """(file, file that it imports), from every import statement, those within functions and for types too."""
    known: dict[str, Path] = {module(p): p for p in files}
    for path in files:
        package = module(path) if path.stem == "__init__" else module(path).rpartition(".")[0]
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                above = package.split(".")[:len(package.split(".")) + 1 - node.level] if node.level else []
                parent = ".".join([*above, *filter(None, [node.module])])
                names = [f"{parent}.{a.name}" if f"{parent}.{a.name}" in known else parent for a in node.names]
            else:
                continue
            found = (known[n] for n in names if n in known)
            yield from ((path, other) for other in found if other.with_suffix("") != path.with_suffix(""))


def upward(files: list[Path] = SOURCES) -> list[str]:
    """Every import against the order of the rooms, both files named."""
    return [f"{name(a)} ({room(a)}) imports {name(b)} ({room(b)}), a room above it"
            for a, b in arrows(files) if floor(b) > floor(a)]


def circle(files: list[Path] = SOURCES) -> list[str]:
    """One circle of imports, as names of files; empty when there is none."""
    graph: dict[Path, set[Path]] = {}
    for a, b in arrows(files):
        graph.setdefault(a, set()).add(b)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as err:
        return [name(p) for p in err.args[1]]
    return []


def test_arrows_run_down():
    assert not upward()


def test_there_is_no_circle():
    assert not circle()


def test_metrics_know_no_other_room():
    outward = [(a, b) for a, b in arrows() if room(a) == "metrics" != room(b)]
    assert not [f"{name(a)} imports {name(b)}" for a, b in outward if room(b) not in GROUND]


def test_what_several_methods_use_knows_no_paper():
    shared = [(a, b) for a, b in arrows() if a.parent == PACKAGE / "methods" and a.stem != "__init__"]
    assert not [f"{name(a)} imports {name(b)}" for a, b in shared if b.parent.parent == PACKAGE / "methods"]


@pytest.mark.parametrize("folder", ROOMS, ids=name)
def test_every_room_says_in_a_few_lines_what_it_is_for_and_exports(folder):
    text = (folder / "__init__.py").read_text()
    tree = ast.parse(text)
    assert ast.get_docstring(tree) and len(text.splitlines()) <= 40, f"{name(folder)}: a face, not a module"
    assert not any(isinstance(node, (ast.FunctionDef, ast.ClassDef)) for node in ast.walk(tree))


@pytest.mark.parametrize("folder", [p for p in ROOMS if p.parent == PACKAGE / "methods"], ids=name)
def test_a_papers_room_exports_its_class_settings_and_variants(folder):
    room = __import__(module(folder / "__init__.py"), fromlist=["*"])
    method = next(value for value in vars(room).values() if getattr(value, "name", None) == folder.name)
    assert method.SETTINGS is room.Settings and method.VARIANTS is room.VARIANTS and room.VARIANTS["default"] == {}
    assert all(method(**settings) for settings in room.VARIANTS.values())


def test_tests_mirror_the_rooms():
    here = Path(__file__).parent
    folders = {p.parent.relative_to(here).as_posix() for p in here.rglob("test_*.py")} - {"."}
    assert folders <= {p.relative_to(PACKAGE).as_posix() for p in ROOMS}


def test_an_arrow_upwards_and_a_circle_are_found(tmp_path, monkeypatch):
    package = tmp_path / "mmadlib"
    sources = {"data/a.py": "def f():\n    from mmadlib.report.b import x", "report/b.py": "from mmadlib.report import c",
               "report/c.py": "import mmadlib.report.b", "report/__init__.py": ""}
    for path, text in sources.items():
        (package / path).parent.mkdir(parents=True, exist_ok=True)
        (package / path).write_text(text)
    monkeypatch.setitem(globals(), "PACKAGE", package)
    files = sorted(package.rglob("*.py"))
    assert upward(files) == ["mmadlib/data/a.py (data) imports mmadlib/report/b.py (report), a room above it"]
    assert {"mmadlib/report/b.py", "mmadlib/report/c.py"} <= set(circle(files))
