"""What the test run checks at every call into the library: the annotations that name a shape, by beartype.

The rest of the annotations is mypy's. To check them here would take the errors of bad input away from the code under test,
and types that are imported for annotations alone do not exist at run time.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

from beartype import beartype
from jaxtyping import AbstractArray

LIBRARY = Path(__file__).parents[1] / "mmadlib"


def modules() -> list[str]:
    """The modules of the library that name shapes: to wrap the functions of all others, too, would double the tests' time."""
    return [".".join(file.relative_to(LIBRARY.parent).with_suffix("").parts) for file in LIBRARY.rglob("*.py")
            if "jaxtyping" in file.read_text(encoding="utf-8")]


def has_shape(hint: Any) -> bool:
    """Whether a shape is named anywhere in an annotation."""
    return (isinstance(hint, type) and issubclass(hint, AbstractArray)) or any(map(has_shape, get_args(hint)))


def check(function: Callable) -> Callable:
    """The typechecker of jaxtyping's import hook, which conftest.py installs."""
    function.__annotations__ = {name: hint for name, hint in function.__annotations__.items() if has_shape(hint)}
    return beartype(function)
