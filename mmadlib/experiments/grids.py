"""Sweeps: grids of runs in YAML files below workflow/params/<notebook>/, read and checked before anything runs.

    dataset: rendered
    features: learned                      # a family; default learned
    categories: [keyed, free]
    shots: [1, 4, 0]                       # 0: all training samples; of a method without good parts, test samples at once
                                           # a file with one name a line, in place of a number: one's own draw
    seeds: [[1, 0], [2, 1]]                # data seed, seed; or plain seeds, with data seed 0
    methods:                               # method -> variant -> settings, or names of the method's VARIANTS
      cfm: {default: {}, wide: {hidden: 512}}
      nearest: [rgb, xyz, joint]
    options, reader, rule, root, device, test_limit, checkpoint: as in evaluate.run_experiment

A variant's settings may hold `features`, `options` and `reader` of its own: papers differ in their backbones. Its options and
reader go over the file's; those of the file are for the file's features, so a variant with `features` takes none of its
options. Paths (root, weights in options, files of names) are relative to the workspace. Every other YAML file there holds
parameters of its notebook, for `mmadlib run`.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmadlib.checks import check_seed, one_of, typed, whole
from mmadlib.errors import SettingsError, explain
from mmadlib.experiments.cells import Cell
from mmadlib.experiments.params import read_yaml
from mmadlib.paths import CHECKOUT, WORKFLOW, here, resolve, shown

PARAMS = WORKFLOW / "params"
NEEDED = ("dataset", "categories", "shots", "seeds", "methods")
COMMON = ("features", "options", "reader", "rule", "root", "device", "test_limit", "checkpoint")
OWN = ("features", "options", "reader")  # what a variant may say for itself
WEIGHTS = ("rgb_weights", "xyz_weights")  # options that name files


def read_sweep(sweep: str | Path | Mapping[str, Any]) -> list[Cell]:
    """The runs of a sweep: a YAML file (a bare name lies below workflow/params/) or the same as a mapping.

    Raises SettingsError, naming the file: an unknown key, dataset, method, setting, category or option, a value of the wrong
    type, a missing or empty list, a pair that is none, the same run twice.
    """
    name, content = ("sweep", dict(sweep)) if isinstance(sweep, Mapping) else _read(sweep)
    try:
        return _cells(content)
    except SettingsError as err:
        raise SettingsError(f"{name}: {err}") from None


def is_sweep(path: Path) -> bool:
    """Whether a file below workflow/params/ is a sweep, not parameters of a notebook."""
    return "methods" in read_yaml(path)


def _read(path: str | Path) -> tuple[str, dict[str, Any]]:
    found = next((p for p in (here(path), PARAMS / path) if p.exists()), None)
    if found is None:
        raise SettingsError(explain(path, f"no such sweep, neither here nor below {shown(PARAMS)}",
                                    f"the papers' sweeps come with a checkout: {CHECKOUT}"))
    return shown(found), read_yaml(found)


def _cells(content: dict[str, Any]) -> list[Cell]:
    _check(content)
    common = {name: content[name] for name in COMMON if content.get(name) is not None}
    options, reader = (_mapping(name, common.pop(name, None)) for name in ("options", "reader"))
    cells: list[Cell] = []
    for method, variants in content["methods"].items():
        for variant, settings in _named(method, variants):
            try:
                kind = _typed(content["dataset"], method, str(variant), common | _own(settings, options, reader))
            except SettingsError as err:
                raise SettingsError(f"methods: {method}: {variant}: {err}") from None
            cells += [Cell(**kind | drawn, category=category, seed=seed, data_seed=data_seed)
                      for (data_seed, seed), category, drawn in
                      itertools.product(map(_pair, content["seeds"]), content["categories"], map(_shots, content["shots"]))]
    seen: set[tuple] = set()
    for cell in cells:
        cell.folder()  # names that no folder can have are refused now
        if cell.keys in seen:
            raise SettingsError(f"{cell} comes twice; list every category, variant, number of shots and seed once")
        seen.add(cell.keys)
    return cells


def _own(settings: Any, options: dict[str, Any], reader: dict[str, Any]) -> dict[str, Any]:
    """Fields of a Cell that a variant decides: what it says for itself goes over what the file says. Raises SettingsError."""
    rest = dict(_mapping("its settings", settings))
    own = {name: rest.pop(name) for name in OWN if name in rest}
    shared = {} if "features" in own else options
    return own | {"settings": rest, "reader": reader | _mapping("reader", own.get("reader")),
                  "options": shared | _mapping("options", own.get("options"))}


def _typed(dataset: str, method: str, variant: str, given: dict[str, Any]) -> dict[str, Any]:
    """Fields of a Cell that all runs of a variant share, each of its type, paths from the workspace. Raises SettingsError."""
    from mmadlib.data import check_reader
    from mmadlib.data.shots import RULES

    kind = {"dataset": dataset, "method": method, "variant": variant} | given
    kind["options"] = {name: str(resolve(value)) if name in WEIGHTS and value not in (None, "random") else value
                       for name, value in kind["options"].items()}
    cell = typed(Cell, kind | {"category": "", "shots": None, "seed": 0}, "key")
    one_of("few-shot rule", cell.rule, RULES)
    check_reader(dataset, cell.reader)
    if cell.test_limit is not None:
        whole("test_limit", cell.test_limit, 2)
    cell.expected()  # settings and options that do not exist are refused now
    return kind | ({} if cell.root is None else {"root": str(resolve(cell.root))})


def _mapping(name: str, value: Any) -> dict[str, Any]:
    """A mapping, or {} for nothing. Raises SettingsError for anything else."""
    if not isinstance(value or {}, dict):
        raise SettingsError(f"{name}={value!r}: expected a mapping, one 'name: value' per line")
    return value or {}


def _check(content: dict[str, Any]) -> None:
    """Names and lists of a sweep. Raises SettingsError."""
    from mmadlib.data import DATASETS
    from mmadlib.data.rendered_plan import CATEGORIES
    from mmadlib.methods import EVERY

    for name in content:
        one_of("key", name, [*NEEDED, *COMMON])
    for name in NEEDED:
        if not content.get(name):
            raise SettingsError(f"does not say {name}; add it")
    for name in ("categories", "shots", "seeds"):
        if not isinstance(content[name], list):
            raise SettingsError(f"{name}={content[name]!r}: expected a list such as [{content[name]}]")
    for category in content["categories"]:
        if not isinstance(category, str):
            raise SettingsError(f"categories: {category!r} is no name; write it in quotes, as it is spelt on the disk")
    one_of("dataset", content["dataset"], DATASETS)
    for category in content["categories"] if content["dataset"] == "rendered" else ():
        one_of("rendered category", category, CATEGORIES)
    for shots in content["shots"]:
        if not isinstance(shots, str):
            whole("shots", shots)
    for method, variants in _mapping("methods", content["methods"]).items():
        one_of("method", method, EVERY)
        if not isinstance(variants, (dict, list)) or not variants:
            raise SettingsError(f"methods: {method}={variants!r}: expected its variants, e.g. {method}: {{default: {{}}}}")


def _named(method: str, variants: Mapping[str, Any] | Sequence[str]) -> list[tuple[str, Any]]:
    """(variant, settings); those of a list are the method's own VARIANTS. Raises UnknownName."""
    from mmadlib.methods import EVERY

    if isinstance(variants, Mapping):
        return list(variants.items())
    for name in variants:
        one_of(f"variant of {method}", name, EVERY[method].VARIANTS)
    return [(name, EVERY[method].VARIANTS[name]) for name in variants]


def _shots(shots: int | str) -> dict[str, Any]:
    """Fields of a Cell from a number of shots, 0 for all, or from a file of names. Raises SettingsError."""
    if not isinstance(shots, str):
        return {"shots": shots or None}
    from mmadlib.data.shots import NAMED, names_of

    file = str(resolve(shots))
    return {"shots": len(names_of(file)), "names": file, "rule": NAMED}


def _pair(seed: Any) -> tuple[int, int]:
    """(data seed, seed) from [1, 0], or (0, seed) from a plain number."""
    pair = seed if isinstance(seed, list) else [0, seed]
    if len(pair) != 2:
        raise SettingsError(f"seeds: {seed!r} is no pair; write [data seed, seed] or a plain seed")
    return check_seed(pair[0], "data seed"), check_seed(pair[1])
