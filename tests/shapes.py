"""What the test run checks at every call into the library: the annotations that name a shape, by beartype.

The rest of the annotations is mypy's. To check them here would take the errors of bad input away from the code under test,
and types that are imported for annotations alone do not exist at run time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, get_args

from beartype import beartype
from jaxtyping import AbstractArray


def has_shape(hint: Any) -> bool:
    """Whether a shape is named anywhere in an annotation."""
    return (isinstance(hint, type) and issubclass(hint, AbstractArray)) or any(map(has_shape, get_args(hint)))


def check(function: Callable) -> Callable:
    """The typechecker of jaxtyping's import hook, see [tool.pytest.ini_options]."""
    function.__annotations__ = {name: hint for name, hint in function.__annotations__.items() if has_shape(hint)}
    return beartype(function)
