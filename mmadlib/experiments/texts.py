"""Settings typed as text, as parameters of notebooks are: read and checked before anything is computed.

All of these say the same:

    isolate=True rgb_blocks=8        isolate=True, rgb_blocks=8        isolate: true, rgb_blocks: 8
    {"isolate": true, "rgb_blocks": 8}
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmadlib.checks import one_of
from mmadlib.errors import SettingsError
from mmadlib.experiments.params import NAMES, default_values
from mmadlib.untrusted import parse_json, parse_yaml

WORDS = {"None": None, "True": True, "False": False}


def parse_mapping(text: str, what: str = "settings") -> dict[str, Any]:
    """Values by name: YAML, JSON or name=value; an empty text has none. Raises SettingsError, `what` is its word for them.

    >>> parse_mapping("isolate=True, rgb_layers=2-9") == parse_mapping('{"isolate": true, "rgb_layers": "2-9"}')
    True
    """
    form = "write name=value, name: value or JSON"
    try:
        values = _values(text.strip())
    except ValueError as err:
        raise SettingsError(f"{what}={text!r}: cannot be read ({err}); {form}") from None
    if not isinstance(values, dict) or not all(isinstance(name, str) for name in values):
        raise SettingsError(f"{what}={text!r}: holds no named values; {form}")
    return values


def _values(text: str) -> Any:
    if not text:
        return {}
    if re.match(r"[A-Za-z_]\w*\s*=", text):
        pairs = [part.partition("=") for part in re.split(r"[,;\s]+(?=\w+\s*=)", text.rstrip(",; \n"))]
        names = [name.strip() for name, _, _ in pairs]
        if twice := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"{min(twice)!r} stands there twice")
        return {name.strip(): _value(value.strip()) for name, _, value in pairs}
    if text.startswith("{"):
        try:
            return parse_json(text)
        except ValueError:
            return parse_yaml(text)  # true and names may stand there without quotes
    try:
        return parse_yaml(text)
    except ValueError as err:
        try:
            return parse_yaml(f"{{{text}}}")
        except ValueError:
            raise err from None


def _value(text: str) -> Any:
    return WORDS[text] if text in WORDS else parse_yaml(text)


def parse_settings(text: str, method: str | None = None) -> dict[str, Any]:
    """Settings of a method; of None, settings by method: {"cfm": {"epochs": 250}}. Raises SettingsError, UnknownName."""
    from mmadlib.methods import EVERY

    found = parse_mapping(text)
    for name, settings in (found if method is None else {method: found}).items():
        one_of("method", name, EVERY)
        if not isinstance(settings, dict):
            raise SettingsError(f"settings of {name}: {settings!r} holds no named values")
        EVERY[name](**settings)  # refuses what does not exist
    return found


def parse_options(text: str) -> dict[str, Any]:
    """Options of the feature extractor. Raises SettingsError, UnknownName."""
    from mmadlib.features.options import check_options

    found = parse_mapping(text, "options")
    check_options(found)
    return found


def parse_reader(text: str, dataset: str) -> dict[str, Any]:
    """Options of a dataset's reader. Raises SettingsError, UnknownName."""
    from mmadlib.data import check_reader

    found = parse_mapping(text, "reader")
    check_reader(dataset, found)
    return found


def checked(nb: Path, params: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters of a notebook, its texts of NAMES checked and written as JSON. Raises SettingsError, UnknownName.

    Settings are those of the method in the notebook's name (20_cfm) or in its parameter `method`; where it has a parameter
    `methods`, they are by method.
    """
    texts = {name: params[name] for name in NAMES if isinstance(params.get(name), str) and params[name].strip()}
    given = default_values(nb) | dict(params) if texts else {}
    found = dict(params)
    for name, text in texts.items():
        values = _parsed(name, text, nb.stem.partition("_")[2], given)
        found[name] = text if _is_json(text) else json.dumps(values)
    return found


def _parsed(name: str, text: str, stem: str, given: Mapping[str, Any]) -> dict[str, Any]:
    from mmadlib.methods import EVERY

    if name == "options":
        return parse_options(text)
    if name == "reader" and "dataset" in given:
        return parse_reader(text, given["dataset"])
    method = stem if stem in EVERY else given.get("method")
    if name == "settings" and (method or "methods" in given):
        return parse_settings(text, method)
    return parse_mapping(text, name)


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True
