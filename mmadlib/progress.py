"""One progress bar for terminals, notebooks and logs."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any, TypeVar

from tqdm import tqdm

T = TypeVar("T")


def bar(items: Iterable[T], label: str, show: bool = True, **options: Any) -> tqdm[T]:
    """A tqdm bar on standard output that vanishes when done.

    Plain text rather than a widget: a stored notebook shows widgets as errors, and standard error would be stored as one.
    Hidden when `show` is False, and when the output is a file or pipe outside a notebook.
    """
    in_notebook = "ipykernel" in sys.modules
    hidden = not show or not (in_notebook or sys.stdout.isatty())
    return tqdm(items, desc=label, file=sys.stdout, leave=False, disable=hidden, mininterval=0.3, ncols=88, **options)
