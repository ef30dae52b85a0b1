"""Parameters of notebooks: declared in the notebook, given in YAML files and as key=value, checked before anything runs.

papermill only warns of a misspelt parameter and exits 0; without a `parameters` cell it runs the defaults and says
nothing. Here both are errors, and so are wrong types.
"""

from __future__ import annotations

import ast
import json
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from mmadlib.errors import SettingsError, explain, unknown
from mmadlib.paths import shown
from mmadlib.untrusted import read_mapping, regular

TYPES = {"int": int, "float": float, "str": str, "bool": bool}
NAMES = ("settings", "options", "reader")  # parameters that hold named values, as text: mmadlib.experiments.texts


def _inspected(nb: Path) -> dict[str, Any]:
    """What papermill says of each parameter. Raises SettingsError."""
    try:
        import papermill  # here: it takes a second to import, and `--help` should not
    except ModuleNotFoundError:
        raise SettingsError("papermill runs notebooks and is not installed; pip install 'mmadlib[notebooks]'") from None
    if not os.path.exists(nb):
        raise SettingsError(explain(shown(nb), "no such notebook", "give the path of an .ipynb file"))
    regular(nb, SettingsError)
    try:
        return papermill.inspect_notebook(str(nb))
    except Exception:  # nbformat raises whatever the content makes it stumble over
        raise SettingsError(explain(shown(nb), "is not a notebook", "give the path of an .ipynb file")) from None


def default_values(nb: Path) -> dict[str, Any]:
    """The parameters as they stand in the notebook; those that are no plain values are left out. Raises SettingsError."""
    found = {}
    for name, parameter in _inspected(nb).items():
        with suppress(ValueError, SyntaxError):
            found[name] = ast.literal_eval(parameter["default"])
    return found


def declared_types(nb: Path) -> dict[str, str]:
    """Parameter name -> type name, from the notebook's typed `parameters` cell.

    Raises SettingsError when the file or the cell is missing, or when a parameter has no type out of TYPES.
    """
    types = {name: p["inferred_type_name"] for name, p in _inspected(nb).items()}
    if not types:
        raise SettingsError(explain(shown(nb), "has no cell tagged 'parameters' with typed values", "tag one"))
    for name, kind in types.items():
        if kind not in TYPES:
            raise SettingsError(explain(shown(nb), f"parameter {name!r} has no type out of {', '.join(TYPES)}",
                                        "write it as 'name: int = 0'"))
    return types


def parse(name: str, text: str, kind: str) -> Any:
    """The value of `-p name=text` as the declared type; text "007" stays text where a str is declared."""
    try:
        return {"true": True, "false": False}[text.lower()] if kind == "bool" else TYPES[kind](text)
    except (KeyError, ValueError):
        raise SettingsError(f"parameter {name}={text}: expected {kind}") from None


def check(params: Mapping[str, Any], types: Mapping[str, str], nb: Path) -> dict[str, Any]:
    """The parameters, with int accepted for float, and named values for the texts of NAMES, as JSON.

    Raises SettingsError on an unknown name or a wrong type.
    """
    checked = {}
    for name, value in params.items():
        if name not in types:
            raise unknown(f"parameter of {nb.name}", name, types)
        want = TYPES[types[name]]
        if want is float and type(value) is int:
            value = float(value)
        if name in NAMES and want is str and isinstance(value, dict):
            value = json.dumps(value)
        if type(value) is not want:  # not isinstance: True is an int in Python, never in a parameters cell
            raise SettingsError(f"{nb.name}: parameter {name}={value!r}: expected {types[name]}, got {type(value).__name__}")
        checked[name] = value
    return checked


def read_yaml(path: Path) -> dict[str, Any]:
    """Parameters from a YAML file: a mapping of names to values. Raises SettingsError."""
    return read_mapping(path, SettingsError, "write one 'name: value' per line")


def collect_parameters(nb: Path, files: Sequence[Path], pairs: Sequence[str]) -> dict[str, Any]:
    """YAML files in order, then `key=value` texts: the later wins."""
    params: dict[str, Any] = {}
    for path in files:
        params |= read_yaml(path)
    types = declared_types(nb)
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals:
            raise SettingsError(f"-p {pair}: expected key=value")
        if name not in types:
            raise unknown(f"parameter of {nb.name}", name, types)
        params[name] = parse(name, text, types[name])
    return params
