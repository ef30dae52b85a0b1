"""Reading what a user hands in: first the kind and the size of a file, then its text, then plain values and nothing else.

A data folder or a file of parameters may hold anything: a pipe that never ends, gigabytes, values nested a million deep,
aliases that unfold to billions of values, tags that would make objects. Each is refused before it costs memory or time, by
one error that names the file.
"""

from __future__ import annotations

import json
import re
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import yaml

from mmadlib.errors import DataError, MmadError, explain

BYTES = 2**20  # of a file of values; the largest here has a few thousand
DEPTH = 50  # lists and mappings within each other
VALUES = 100_000  # of a file, aliases unfolded
LETTERS = 2**16  # of a single value: converting longer numbers takes minutes
KINDS = {stat.S_ISDIR: "a folder", stat.S_ISFIFO: "a pipe", stat.S_ISSOCK: "a socket", stat.S_ISCHR: "a device",
         stat.S_ISBLK: "a device"}
TAGS = {f"tag:yaml.org,2002:{name}" for name in ("str", "int", "float", "bool", "null", "seq", "map")}
COPY = "copy the file again"


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Plain values, numbers as in YAML 1.2 and JSON: no dates, 1e-3 is a number, 010 and 1:30 (to the base of 60) are none."""


INT, FLOAT, MERGE = (f"tag:yaml.org,2002:{name}" for name in ("int", "float", "merge"))
_Loader.yaml_implicit_resolvers = {first: [(tag, pattern) for tag, pattern in found
                                           if not tag.endswith((":timestamp", ":int", ":float"))]
                                   for first, found in _Loader.yaml_implicit_resolvers.items()}
_Loader.add_implicit_resolver(INT, re.compile(r"[-+]?(0|[1-9][0-9]*)$"), list("-+0123456789"))
_Loader.add_implicit_resolver(FLOAT, re.compile(r"[-+]?([0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))([eE][-+]?[0-9]+)?$|"
                                                r"[-+]?\.(inf|Inf|INF)$|\.(nan|NaN|NAN)$"), list("-+.0123456789"))


def _mapping(loader: Any, node: Any) -> dict[Any, Any]:
    """A mapping, each of its own keys once: of two, one would count without a word. They go over those merged by <<."""
    _once((loader.construct_object(key, deep=True), None) for key, _ in node.value if key.tag != MERGE)
    loader.flatten_mapping(node)
    return {loader.construct_object(key, deep=True): loader.construct_object(value, deep=True) for key, value in node.value}


def _once(pairs: Iterable[tuple[Any, Any]]) -> dict[Any, Any]:
    found: dict[Any, Any] = {}
    for name, value in pairs:
        if isinstance(name, (list, dict)):
            raise ValueError(f"{name!r} cannot be a name")
        if name in found:
            raise ValueError(f"{name!r} stands there twice")
        found[name] = value
    return found


_Loader.add_constructor("tag:yaml.org,2002:map", _mapping)


def regular(path: str | Path, error: type[MmadError] = DataError) -> int:
    """Size of an ordinary file in bytes; links are followed. Raises `error` for a missing file and for what is none, such as
    a pipe, which would be waited for without end."""
    try:
        found = Path(path).stat()
    except (FileNotFoundError, NotADirectoryError, ValueError):  # the last: a name that no file can have
        raise error(explain(path, "does not exist", "check the folder and the file name")) from None
    except OSError as err:
        raise error(explain(path, f"cannot be read ({err.strerror or err})", "check the file and its permissions")) from None
    if not stat.S_ISREG(found.st_mode):
        kind = next((name for test, name in KINDS.items() if test(found.st_mode)), "no file")
        raise error(explain(path, f"is {kind}, no regular file", "put an ordinary file in its place"))
    return found.st_size


def read_text(path: str | Path, error: type[MmadError] = DataError, limit: int = BYTES, remedy: str = COPY) -> str:
    """The text of a file, UTF-8 with or without a mark. Raises `error`, also above `limit` bytes."""
    if (size := regular(path, error)) > limit:
        raise error(explain(path, f"has {size:,} bytes, more than the {limit:,} that such a text may have", remedy))
    try:
        return Path(path).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as err:
        fault = f"is no UTF-8 text (byte {err.object[err.start]:#04x} at position {err.start})"
        raise error(explain(path, fault, f"store it as UTF-8, or {remedy}")) from None
    except OSError as err:
        raise error(explain(path, f"cannot be read ({err.strerror or err})", "check the file and its permissions")) from None


def read_mapping(path: str | Path, error: type[MmadError] = DataError, remedy: str = COPY) -> dict[Any, Any]:
    """The named values of a JSON file (by its suffix) or a YAML file. Raises `error` when there are none."""
    text, json_file = read_text(path, error, remedy=remedy), Path(path).suffix.lower() == ".json"
    try:
        values = parse_json(text) if json_file else parse_yaml(text)
    except ValueError as err:
        raise error(explain(path, f"is not {'JSON' if json_file else 'YAML'} of plain values ({err})", remedy)) from None
    if not isinstance(values, dict):
        raise error(explain(path, "holds no named values", remedy))
    return values


def parse_json(text: str) -> Any:
    """Values of a JSON text. Raises ValueError with one line."""
    too_deep = f"nested deeper than {DEPTH}"
    try:
        values = json.loads(text, object_pairs_hook=_once)
    except RecursionError:
        raise ValueError(too_deep) from None
    level = [values]
    for _ in range(DEPTH):
        level = [inner for value in level for inner in _within(value)]
    if level:
        raise ValueError(too_deep)
    return values


def _within(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        yield from value.values()
    elif isinstance(value, list):
        yield from value


def parse_yaml(text: str) -> Any:
    """Values of a YAML text. Raises ValueError with one line: also for tags, deep nesting and aliases that unfold to much."""
    try:
        _look_through(yaml.parse(text, Loader=_Loader))
        return yaml.load(text, Loader=_Loader)
    except yaml.MarkedYAMLError as err:
        mark = err.problem_mark or err.context_mark
        raise ValueError(f"{err.problem}{f', line {mark.line + 1}' if mark else ''}") from None
    except yaml.YAMLError as err:
        raise ValueError(" ".join(str(err).split())) from None


def _look_through(events: Iterator[Any]) -> None:
    """Raise ValueError unless what the events make is small, plain and without circles."""
    open_: list[list[Any]] = [[None, 0]]  # anchor and values so far, of every collection that has begun
    sizes: dict[str | None, int] = {}  # anchor of a collection -> values behind it
    for event in events:
        line = f", line {event.start_mark.line + 1}" if event.start_mark else ""
        if (tag := getattr(event, "tag", None)) and tag not in TAGS | {"!"}:
            raise ValueError(f"the tag {tag.replace('tag:yaml.org,2002:', '!!')!r} would make an object{line}")
        if isinstance(event, yaml.AliasEvent):
            if event.anchor in {anchor for anchor, _ in open_}:
                raise ValueError(f"*{event.anchor} stands within itself{line}")
            open_[-1][1] += sizes.get(event.anchor, 1)
        elif isinstance(event, yaml.ScalarEvent):
            if len(event.value) > LETTERS:
                raise ValueError(f"a value of {len(event.value):,} characters{line}")
            open_[-1][1] += 1
        elif isinstance(event, yaml.CollectionStartEvent):
            open_.append([event.anchor, 1])
            if len(open_) > DEPTH + 1:
                raise ValueError(f"nested deeper than {DEPTH}{line}")
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, size = open_.pop()
            sizes[anchor] = size
            open_[-1][1] += size
        if open_[-1][1] > VALUES:
            raise ValueError(f"more than {VALUES:,} values, aliases unfolded{line}")
