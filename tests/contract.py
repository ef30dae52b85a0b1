"""What every stored notebook must keep to, as functions that return a list of faults; empty means none."""

from __future__ import annotations

import ast
import builtins
import json
import re
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from mmadlib.paths import ROOT

COMMON = ["dataset", "category", "shots", "seed", "features", "device", "out_dir"]
TYPES = {"int": int, "float": float, "str": str, "bool": bool}
TAGS = {"parameters", "nbval-check-output", "nbval-ignore-output"}
MIMETYPES = {"text/plain", "text/html", "image/png", "application/vnd.plotly.v1+json"}
MAX_BYTES, MAX_LINES, MAX_POINTS, CHECKED = 900_000, 15, 5000, 3
ABSOLUTE = re.compile(rf"{re.escape(str(ROOT))}|(?<![\w./:])/(?:home|root|tmp|usr|opt|mnt|Users)/|\b[A-Z]:\\\\")
SWITCHES = re.compile(r"os\.environ|getenv|\bif\s+\w*SMOKE")


def source(cell: NotebookNode) -> str:
    """Code without line magics, which Python's parser does not know."""
    return "\n".join(line for line in cell.source.splitlines() if not line.lstrip().startswith(("%", "!")))


def tags(cell: NotebookNode) -> list[str]:
    return cell.metadata.get("tags", [])


def code_cells(nb: NotebookNode) -> list[NotebookNode]:
    return [c for c in nb.cells if c.cell_type == "code"]


def stored_whole(nb: NotebookNode, size: int) -> list[str]:
    """Kernel, counts, metadata and size: what nbval and a reader of the repository need."""
    faults = [] if nb.metadata.get("kernelspec", {}).get("name") == "python3" else ["kernel is not python3"]
    counts = [c.execution_count for c in code_cells(nb)]
    if counts != list(range(1, len(counts) + 1)):
        faults.append(f"execution counts {counts} are not 1..{len(counts)}: nbval would compare nothing")
    if set(nb.metadata) - {"kernelspec", "language_info"}:
        faults.append(f"metadata {sorted(set(nb.metadata) - {'kernelspec', 'language_info'})}")
    for cell in nb.cells:
        if set(cell.metadata) - {"tags"} or set(tags(cell)) - TAGS:
            faults.append(f"cell metadata {dict(cell.metadata)}")
    return faults + ([f"{size / 1000:.0f} kB, at most {MAX_BYTES // 1000}"] if size > MAX_BYTES else [])


def parameters(nb: NotebookNode) -> list[str]:
    """One tagged cell of typed literals, the common ones first and in order."""
    tagged = [c for c in code_cells(nb) if "parameters" in tags(c)]
    if len(tagged) != 1:
        return [f"{len(tagged)} cells tagged parameters"]
    faults, names, lines = [], [], tagged[0].source.splitlines()
    for node in ast.parse(tagged[0].source).body:
        if not isinstance(node, ast.AnnAssign) or {type(node.target), type(node.annotation)} != {ast.Name}:
            faults.append(f"parameters: {ast.unparse(node)!r} is not 'name: type = literal'")
            continue
        names.append(node.target.id)
        try:
            fits = type(ast.literal_eval(node.value)) is TYPES.get(node.annotation.id)
        except (ValueError, TypeError):
            fits = False
        if not fits:
            faults.append(f"parameter {node.target.id} is not a literal {node.annotation.id}")
        if "#" not in lines[node.end_lineno - 1][node.end_col_offset:]:
            faults.append(f"parameter {node.target.id} has no comment")
    return faults if names[:len(COMMON)] == COMMON else [*faults, f"parameters start with {names[:7]}, not {COMMON}"]


def readable(nb: NotebookNode) -> list[str]:
    """Short code, imports in one place, a first cell that says where in the papers we are."""
    faults, first = [], nb.cells[0]
    if first.cell_type != "markdown" or not first.source.startswith("# ") or "**Paper**" not in first.source:
        faults.append("first cell has no title with a line '**Paper** section ... · **Default** ... · **Expect** ...'")
    before = True  # before the parameters cell
    for number, cell in enumerate(code_cells(nb), 1):
        tree, before = ast.parse(source(cell)), before and "parameters" not in tags(cell)
        if len(cell.source.splitlines()) > MAX_LINES and "parameters" not in tags(cell):
            faults.append(f"code cell {number} has more than {MAX_LINES} lines")
        if any(isinstance(n, ast.ClassDef) for n in ast.walk(tree)):
            faults.append(f"code cell {number} defines a class")
        if not before and any(isinstance(n, (ast.Import, ast.ImportFrom)) for n in ast.walk(tree)):
            faults.append(f"code cell {number} imports after the parameters")
        if cell.source.rstrip().endswith(";"):
            faults.append(f"code cell {number} ends in ';', which nbval ignores")
        if SWITCHES.search(cell.source):
            faults.append(f"code cell {number} looks at an environment switch")
    return faults


def clean_outputs(nb: NotebookNode) -> list[str]:
    """No error, no stderr, no path of some machine, no script, light interactive figures."""
    faults = []
    for number, cell in enumerate(code_cells(nb), 1):
        for output in cell.outputs:
            if output.output_type == "error" or output.get("name") == "stderr":
                faults.append(f"code cell {number} stored an error or stderr")
            data = output.get("data", {})
            if set(data) - MIMETYPES or "<script" in json.dumps(data.get("text/html", "")):
                faults.append(f"code cell {number} stored {sorted(set(data) - MIMETYPES) or 'a script'}")
            if ABSOLUTE.search(output.get("text", "") + json.dumps({k: v for k, v in data.items() if k != "image/png"})):
                faults.append(f"code cell {number} shows an absolute path")
            if points(data.get("application/vnd.plotly.v1+json", {})) > MAX_POINTS:
                faults.append(f"code cell {number} draws more than {MAX_POINTS} points interactively")
    return faults


def drawn(nb: NotebookNode) -> list[str]:
    """Figures are stored: a kernel told not to draw inline (MPLBACKEND) leaves none of them."""
    draws = any(re.search(r"^fig\b.*=|plt\.subplots", source(cell), re.M) for cell in code_cells(nb))
    there = any("image/png" in output.get("data", {}) for cell in code_cells(nb) for output in cell.outputs)
    return ["it makes figures and stored none: execute it without MPLBACKEND"] if draws and not there else []


def points(figure: dict) -> int:
    """Points of a stored plotly figure; arrays are lists or base64 with a dtype such as f4."""
    def length(x) -> int:
        if isinstance(x, dict):
            return len(x.get("bdata", "")) * 3 // 4 // int(re.sub(r"\D", "", x.get("dtype", "")) or 1)
        return len(x or [])

    return sum(length(trace.get("x")) for trace in figure.get("data", []))


def prints_a_result(text: str) -> bool:
    """Whether a cell shows something that was computed: a name that is neither built in nor set to a constant here."""
    tree = ast.parse(text)
    fixed = set(dir(builtins))
    for node in tree.body:
        if isinstance(node, ast.Assign) and names(node.value) <= fixed:
            fixed |= {t.id for t in node.targets if isinstance(t, ast.Name)}
    shown = [a for n in ast.walk(tree) if isinstance(n, ast.Call) and getattr(n.func, "id", "") in ("print", "display")
             for a in n.args]
    shown += [tree.body[-1].value] if tree.body and isinstance(tree.body[-1], ast.Expr) else []
    return any(names(part) - fixed for part in shown)


def names(node: ast.AST) -> set[str]:
    return {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}


def checked(nb: NotebookNode) -> list[str]:
    """Enough cells whose output nbval compares, each with an output, each showing a computed value."""
    cells = [c for c in code_cells(nb) if "nbval-check-output" in tags(c)]
    faults = [f"{len(cells)} checked cells, at least {CHECKED}"] if len(cells) < CHECKED else []
    for cell in cells:
        if not any("text" in o or "text/plain" in o.get("data", {}) for o in cell.outputs):
            faults.append(f"a checked cell has no text output: {cell.source[:40]!r}")
        if not prints_a_result(source(cell)):
            faults.append(f"a checked cell prints constants only: {cell.source[:40]!r}")
    return faults


def faults_of(path: Path) -> list[str]:
    """All faults of one stored notebook."""
    nb = nbformat.read(path, as_version=4)
    return (stored_whole(nb, path.stat().st_size) + parameters(nb) + readable(nb) + clean_outputs(nb) + drawn(nb)
            + checked(nb))
