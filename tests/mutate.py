"""Mutants of a module: its text with one small slip each, such as a hand makes and a test must notice.

A sign, an axis, an order (of arguments, operands, modalities), a constant, a comparison, a boolean, minimum for maximum, mean
for sum, a step too few, a function, keyword or line left out. Annotations, docstrings, decorators, imports, asserts, raise
statements, messages and progress labels stay as they are, and so does `strict=`: they decide no number.
"""

from __future__ import annotations

import ast
import copy
from collections.abc import Iterator
from typing import Any, NamedTuple

SKIPPED_FIELDS = {"annotation", "returns", "decorator_list", "ctx", "op", "ops", "type"}  # type: of an except
SKIPPED_NODES = (ast.Raise, ast.Assert, ast.Import, ast.ImportFrom, ast.JoinedStr)
MESSAGES = {"explain", "unknown", "warn", "set_postfix", "bar"}  # calls that talk; of a bar what it goes over counts, though
SKIPPED_KEYWORDS = {"strict"}
MODULES = {"np", "F", "torch", "math", "ndimage"}
OPERATORS: dict[type, type] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Div, ast.Mod: ast.FloorDiv,
    ast.Pow: ast.Mult, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd, ast.LShift: ast.RShift, ast.RShift: ast.LShift,
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In, ast.And: ast.Or, ast.Or: ast.And}
ORDERED = (ast.Sub, ast.Div, ast.FloorDiv, ast.Mod, ast.Pow, ast.MatMult)  # their operands cannot be exchanged
TWINS = {"min": "max", "minimum": "maximum", "amin": "amax", "argmin": "argmax", "nanmin": "nanmax", "mean": "sum",
         "any": "all", "floor": "ceil", "zeros": "ones", "zeros_like": "ones_like", "clamp_min": "clamp_max", "eval": "train"}
TWINS |= {b: a for a, b in TWINS.items()}
LEFT_OUT = {"sqrt", "abs", "clamp", "clip", "clamp_min", "softmax", "normalize", "sort", "sorted", "exp", "log"}
SIDES = {"rgb": "xyz", "xyz": "rgb"}
SAME = {"min", "max", "minimum", "maximum", "lcm", "cosine_similarity", "cosine_loss", "prediction_error"}  # in either order


class Mutant(NamedTuple):
    line: int
    change: str  # the old piece of code -> the new one
    text: str  # the whole module


def mutants(source: str) -> list[Mutant]:
    """All mutants of a module, in order of its text; each differs from it and can be parsed."""
    tree = ast.parse(source)
    original, found = ast.unparse(tree), []
    for holder, key, node in places(tree):
        for new in slips(node, holder, key):
            put(holder, key, new)
            text = ast.unparse(tree)
            put(holder, key, node)
            if text != original:
                found.append(Mutant(node.lineno, f"{short(node)} -> {short(new)}", text))
    return found


def places(parent: ast.AST) -> Iterator[tuple[Any, Any, Any]]:
    """Every node that may be changed, with what holds it: (node or list, name or index, node)."""
    for field, value in ast.iter_fields(parent):
        if field in SKIPPED_FIELDS or (called(parent) == "bar" and field == "keywords"):
            continue
        several = isinstance(value, list)
        for key in range(1 if called(parent) == "bar" and several else len(value)) if several else [field]:
            node = value[key] if several else value
            if isinstance(node, ast.AST) and not silent(node):
                yield value if several else parent, key, node
                yield from places(node)


def put(holder: Any, key: Any, node: ast.AST) -> None:
    if isinstance(holder, list):
        holder[key] = node
    else:
        setattr(holder, key, node)


def short(node: ast.AST) -> str:
    """A piece of code in one line."""
    text = " ".join(ast.unparse(node).split())
    return text if len(text) <= 60 else f"{text[:40]} ... {text[-15:]}"


def called(node: ast.AST) -> str:
    """The name of the function that a call calls; empty for anything else."""
    func = getattr(node, "func", None)
    return getattr(func, "attr", getattr(func, "id", ""))


def silent(node: ast.AST) -> bool:
    """Whether a node decides no number: messages, docstrings, checks of the code on itself."""
    inner = node.value if isinstance(node, ast.Expr) else node
    return (isinstance(inner, SKIPPED_NODES) or (isinstance(node, ast.Expr) and isinstance(inner, ast.Constant))
            or called(inner) in MESSAGES or (isinstance(node, ast.keyword) and node.arg in SKIPPED_KEYWORDS))


def slips(node: Any, holder: Any, key: Any) -> Iterator[ast.AST]:
    """What may stand in the place of a node by one slip."""
    if isinstance(holder, ast.keyword) and holder.arg in ("dim", "axis") and isinstance(node, (ast.Constant, ast.UnaryOp)):
        yield ast.Constant(0 if ast.unparse(node) != "0" else 1)  # another axis
        return
    for kind, change in SLIPS.items():
        if isinstance(node, kind) and not (kind == (ast.Tuple, ast.List) and choices(node, holder)):
            yield from change(node)
    if key == "test" and isinstance(node, (ast.Name, ast.Attribute, ast.Call)):
        yield ast.UnaryOp(ast.Not(), node)


def choices(node: Any, holder: Any) -> bool:
    """Whether a tuple names what a setting may be, NAMES = ("a", "b"): their order decides nothing."""
    return (isinstance(holder, ast.Assign) and isinstance(holder.targets[0], ast.Name)
            and all(isinstance(e, ast.Constant) and isinstance(e.value, str) for e in node.elts))


def constant(node: ast.Constant) -> Iterator[ast.AST]:
    value = node.value
    if isinstance(value, bool):
        yield ast.Constant(not value)
    elif isinstance(value, int):
        yield ast.Constant(value + 1)
    elif isinstance(value, float):
        yield ast.Constant(2 * value or 1.0)
    elif isinstance(value, str) and value in SIDES:
        yield ast.Constant(SIDES[value])


def operation(node: Any) -> Iterator[ast.AST]:
    if other := OPERATORS.get(type(node.op)):
        yield replaced(node, op=other())
    if isinstance(node, ast.BinOp) and isinstance(node.op, ORDERED):
        yield replaced(node, left=node.right, right=node.left)


def comparison(node: ast.Compare) -> Iterator[ast.AST]:
    for i, op in enumerate(node.ops):
        yield replaced(node, ops=[*node.ops[:i], OPERATORS[type(op)](), *node.ops[i + 1:]])


def unary(node: ast.UnaryOp) -> Iterator[ast.AST]:
    yield node.operand


def pair(node: Any) -> Iterator[ast.AST]:
    if isinstance(node.ctx, ast.Load) and len(node.elts) > 1 and not any(isinstance(e, ast.Starred) for e in node.elts[:2]):
        yield replaced(node, elts=[node.elts[1], node.elts[0], *node.elts[2:]])


def call(node: ast.Call) -> Iterator[ast.AST]:
    name, args = called(node), node.args
    function = isinstance(node.func, ast.Name) or getattr(getattr(node.func, "value", None), "id", "") in MODULES
    if name in TWINS:
        yield replaced(node, func=replaced(node.func, **{"id" if isinstance(node.func, ast.Name) else "attr": TWINS[name]}))
    if name in LEFT_OUT and (args or not function):
        yield args[0] if function else node.func.value
    if len(args) > 1 and name not in SAME and not any(isinstance(a, ast.Starred) for a in args[:2]):
        yield replaced(node, args=[args[1], args[0], *args[2:]])
    if name in ("range", "arange") and not isinstance(args[-1], ast.Constant):
        yield replaced(node, args=[*args[:-1], ast.BinOp(args[-1], ast.Sub(), ast.Constant(1))])
    for keyword in node.keywords:
        if keyword.arg not in {None, *SKIPPED_KEYWORDS}:
            yield replaced(node, keywords=[k for k in node.keywords if k is not keyword])


def line(node: Any) -> Iterator[ast.AST]:
    """Nothing in the place of a line, where the code runs on without it."""
    targets = getattr(node, "targets", [getattr(node, "target", None)])
    read = {n.id for n in ast.walk(node.value) if isinstance(n, ast.Name)} if node.value else set()
    if isinstance(node, (ast.Expr, ast.AugAssign)) or any(
            isinstance(t, (ast.Attribute, ast.Subscript)) or getattr(t, "id", None) in read for t in targets):
        yield ast.Pass()


def replaced(node: ast.AST, **fields: Any) -> ast.AST:
    """The same node with other fields; it shares the rest with the tree."""
    new = copy.copy(node)
    for name, value in fields.items():
        setattr(new, name, value)
    return new


SLIPS = {ast.Constant: constant, (ast.BinOp, ast.AugAssign, ast.BoolOp): operation, ast.Compare: comparison,
         ast.UnaryOp: unary, (ast.Tuple, ast.List): pair, ast.Call: call,
         (ast.Expr, ast.Assign, ast.AnnAssign, ast.AugAssign): line}
