"""The check of shapes works: a wrong one is found on the way in and out, and every annotation that names one can be read."""

from __future__ import annotations

import ast
import importlib
import re
import typing
from pathlib import Path

import numpy as np
import pytest
from jaxtyping import AbstractArray, Float, jaxtyped
from shapes import check, has_shape, modules
from test_rooms import SOURCES, module, name

from mmadlib.methods.scoring import smooth

NAMES = re.compile(r"\b(Float|Float32|Float64|Bool|Int|Int64|UInt8|UInt16|Shaped)\[")


def test_a_wrong_shape_is_found_on_the_way_in():
    with pytest.raises(TypeError, match="smooth"):
        smooth(np.zeros((3, 4, 5), np.float32), "none")


def test_a_wrong_shape_is_found_on_the_way_out():
    @jaxtyped(typechecker=check)
    def doubled(x: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        return np.concatenate([x, x])

    with pytest.raises(TypeError, match="doubled"):
        doubled(np.zeros(3))


def test_only_shapes_are_checked():
    @jaxtyped(typechecker=check)
    def anything(x: int, y: Float[np.ndarray, " n"]) -> str:
        return x

    assert anything("text", np.zeros(1)) == "text"
    assert has_shape(list[Float[np.ndarray, " n"]] | None) and not has_shape(list[np.ndarray])


def hints(path: Path) -> set[str]:
    """The annotations in a file that name a shape."""
    nodes = list(ast.walk(ast.parse(path.read_text())))
    found = [getattr(node, "annotation", None) or getattr(node, "returns", None) for node in nodes]
    return {text for hint in found if hint is not None and NAMES.search(text := ast.unparse(hint))}


@pytest.mark.parametrize("path", [p for p in SOURCES if p.suffix == ".py" and p.stem != "sample" and hints(p)], ids=name)
def test_every_annotation_that_names_a_shape_can_be_read(path):
    """One that cannot be read, or in a module that the hook leaves out, would not be checked, without a word."""
    assert module(path) in modules()
    there = vars(importlib.import_module(module(path)))
    unread = [text for text in hints(path) if not has_shape(eval(text, dict(there)))]
    assert not unread


def test_the_hook_is_on():
    assert issubclass(typing.get_type_hints(smooth)["return"], AbstractArray)
