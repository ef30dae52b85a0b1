"""Hashes of the library's own code: numbers made by other code are other numbers."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable
from functools import cache, lru_cache
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent
TYPES = "jaxtyping"  # a library for annotations alone
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


@cache  # of the text: what many notebooks and methods import is parsed once
def meaning(source: str) -> str:
    """The syntax tree of a Python source without docstrings, comments, layout and types."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, DOCUMENTED) and ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:]
        if isinstance(node, ast.ImportFrom) and node.module == TYPES:
            node.names = []
        if isinstance(node, ast.arg):
            node.annotation = None
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            node.returns = None
        elif isinstance(node, ast.AnnAssign):
            node.annotation = ast.Constant(None)
    return ast.dump(tree)


def code_digest(sources: Iterable[str]) -> str:
    """16 hex digits that change when the meaning of one of the sources does."""
    return hashlib.sha256("\n".join(map(meaning, sources)).encode()).hexdigest()[:16]


@lru_cache
def digest_of(*patterns: str) -> str:
    """`code_digest` of the library's files below mmadlib/ that match one of the glob patterns; read once per process.

    Raises FileNotFoundError for a pattern without a file, as after a move: nothing would notice its edits.

    >>> digest_of("sample.py") == digest_of("s*mple.py")
    True
    """
    found = {pattern: sorted(PACKAGE.glob(pattern)) for pattern in patterns}
    for pattern, files in found.items():
        if not files:
            raise FileNotFoundError(f"no file of the library matches {pattern}")
    return code_digest(path.read_text(encoding="utf-8") for path in sorted(set().union(*found.values())))
