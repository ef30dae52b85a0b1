"""Sweeps: grids of runs in YAML files below workflow/params/<notebook>/, read and checked before anything runs.

    dataset: rendered
    features: descriptors                  # a family; default descriptors
    categories: [keyed, free]
    shots: [1, 4, 0]                       # 0: all training samples
    seeds: [[1, 0], [2, 1]]                # data seed, seed; or plain seeds, with data seed 0
    methods:                               # method -> variant -> settings, or names of the method's VARIANTS
      cfm: {default: {}, wide: {hidden: 512}}
      nearest: [rgb, xyz, joint]
    options, reader, rule, root (relative to the workspace), device, test_limit, checkpoint: as in evaluate.run_experiment

A variant's settings may hold `features`, `options` and `reader` of its own: papers differ in their backbones. Its options and
reader go over the file's; those of the file are for the file's features, so a variant with `features` takes none of its
options. Every other YAML file there holds parameters of its notebook, for `mmadlib run`.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from mmadlib.checks import check_seed, one_of, typed, whole
from mmadlib.errors import SettingsError, explain, unknown
from mmadlib.experiments.params import read_yaml
from mmadlib.paths import CHECKOUT, RUNS, WORKFLOW, resolve, run_dir, shown

PARAMS = WORKFLOW / "params"
NEEDED = ("dataset", "categories", "shots", "seeds", "methods")
COMMON = ("features", "options", "reader", "rule", "root", "device", "test_limit", "checkpoint")
LIMITS = {"methods": "method", "categories": "category", "shots": "shots", "data_seeds": "data_seed"}  # -> field it narrows
MAPPINGS = ("options", "reader", "methods")
OWN = ("features", "options", "reader")  # what a variant may say for itself


@dataclass(frozen=True)
class Cell:
    """One run of a sweep: arguments of evaluate.run. shots None: all training samples."""

    dataset: str
    category: str
    method: str
    variant: str
    shots: int | None
    seed: int
    data_seed: int = 0
    settings: dict = field(default_factory=dict)
    features: str = "descriptors"
    options: dict = field(default_factory=dict)
    reader: dict = field(default_factory=dict)
    rule: str = "auto"
    root: str | None = None
    device: str = "cpu"
    test_limit: int | None = None
    checkpoint: bool = False

    def folder(self, base: str | Path = RUNS) -> Path:
        """The folder of the run."""
        return run_dir(self.dataset, self.data_seed, self.category, self.method, self.variant, self.features, self.shots,
                       self.seed, base)

    def source(self) -> dict[str, Any]:
        """What the features depend on but for the draw: arguments of source.Source."""
        names = ("dataset", "category", "data_seed", "features", "options", "reader", "root", "test_limit", "device")
        return {name: getattr(self, name) for name in names}

    def expected(self) -> dict[str, Any]:
        """The settings that the record of this run holds."""
        from mmadlib.features import family
        from mmadlib.features.options import check_options, settings_of
        from mmadlib.methods import METHODS

        features = settings_of(*family(self.features), check_options(self.options))
        return asdict(typed(METHODS[self.method].SETTINGS, self.settings, f"{self.method} setting")) | {
            "features": features, "rule": self.rule, "reader": self.reader}

    def __str__(self) -> str:
        shots = "all" if self.shots is None else self.shots
        return (f"{self.dataset}/{self.category} {self.method}/{self.variant} {self.features}, {shots} shots, "
                f"data seed {self.data_seed}, seed {self.seed}")


def read_sweep(sweep: str | Path | Mapping[str, Any]) -> list[Cell]:
    """The runs of a sweep: a YAML file (a bare name lies below workflow/params/) or the same as a mapping.

    Raises SettingsError, naming the file: an unknown key, dataset, method, setting, category or option, a missing or empty
    list, a pair that is none, the same run twice.
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
    here, there = Path(path).expanduser(), PARAMS / path
    if not here.exists() and not there.exists():
        raise SettingsError(explain(path, f"no such sweep, neither here nor below {shown(PARAMS)}",
                                    f"the papers' sweeps come with a checkout: {CHECKOUT}"))
    path = here if here.exists() else there
    return shown(path), read_yaml(path)


def _cells(content: dict[str, Any]) -> list[Cell]:
    _check(content)
    common = {name: content[name] for name in COMMON if content.get(name) is not None}
    if "root" in common:
        common["root"] = str(resolve(common["root"]))
    options, reader, cells = common.pop("options", {}), common.pop("reader", {}), []
    for method, variants in content["methods"].items():
        for variant, settings in _named(method, variants).items():
            settings = dict(settings or {})
            own = {name: settings.pop(name) for name in OWN if name in settings}
            own |= {"settings": settings, "reader": reader | own.get("reader", {}),
                    "options": (options if "features" not in own else {}) | own.get("options", {})}
            cells += [Cell(content["dataset"], category, method, str(variant), shots or None, seed, data_seed, **common | own)
                      for (data_seed, seed), category, shots in
                      itertools.product(map(_pair, content["seeds"]), content["categories"], content["shots"])]
    seen: set[Path] = set()
    for cell in cells:
        if cell.folder() in seen:
            raise SettingsError(f"{cell} comes twice; list every category, number of shots and seed once")
        seen.add(cell.folder())
    for cell in {(c.method, c.variant): c for c in cells}.values():
        cell.expected()  # settings and options that do not exist are refused now
    return cells


def _check(content: dict[str, Any]) -> None:
    """Names and types of a sweep. Raises SettingsError."""
    from mmadlib.data import DATASETS
    from mmadlib.data.rendered import CATEGORIES
    from mmadlib.methods import METHODS

    for name in content:
        one_of("key", name, [*NEEDED, *COMMON])
    for name in NEEDED:
        if not content.get(name):
            raise SettingsError(f"does not say {name}; add it")
    for name in ("categories", "shots", "seeds"):
        if not isinstance(content[name], list):
            raise SettingsError(f"{name}={content[name]!r}: expected a list such as [{content[name]}]")
    for name in MAPPINGS:
        if not isinstance(content.get(name) or {}, dict):
            raise SettingsError(f"{name}={content[name]!r}: expected a mapping, one 'name: value' per line")
    one_of("dataset", content["dataset"], DATASETS)
    for category in content["categories"] if content["dataset"] == "rendered" else ():
        one_of("rendered category", category, CATEGORIES)
    for shots in content["shots"]:
        whole("shots", shots)
    for method, variants in content["methods"].items():
        one_of("method", method, METHODS)
        if not isinstance(variants, (dict, list)) or not variants:
            raise SettingsError(f"methods: {method}={variants!r}: expected its variants, e.g. {method}: {{default: {{}}}}")
        for variant, settings in _named(method, variants).items():
            if not isinstance(settings or {}, dict):
                raise SettingsError(f"methods: {method}: {variant}={settings!r}: expected a mapping of settings, or {{}}")
            for name in ("options", "reader"):
                if not isinstance(given := (settings or {}).get(name, {}), dict):
                    raise SettingsError(f"methods: {method}: {variant}: {name}={given!r}: expected a mapping, or {{}}")


def _named(method: str, variants: Mapping[str, Any] | Sequence[str]) -> Mapping[str, Any]:
    """variant -> settings; those of a list are the method's own VARIANTS. Raises UnknownName."""
    from mmadlib.methods import METHODS

    if isinstance(variants, Mapping):
        return variants
    for name in variants:
        one_of(f"variant of {method}", name, METHODS[method].VARIANTS)
    return {name: METHODS[method].VARIANTS[name] for name in variants}


def _pair(seed: Any) -> tuple[int, int]:
    """(data seed, seed) from [1, 0], or (0, seed) from a plain number."""
    pair = seed if isinstance(seed, list) else [0, seed]
    if len(pair) != 2:
        raise SettingsError(f"seeds: {seed!r} is no pair; write [data seed, seed] or a plain seed")
    return check_seed(pair[0], "data seed"), check_seed(pair[1])


def narrow(cells: Sequence[Cell], **limits: Sequence | None) -> list[Cell]:
    """The cells with one of the given methods, categories, shots (0: all) and data_seeds; None does not narrow.

    Raises UnknownName for a limit or a value that no cell has.
    """
    for name, wanted in limits.items():
        if wanted is None:
            continue
        one_of("limit", name, LIMITS)
        found = {getattr(c, LIMITS[name]) or 0 for c in cells}
        for value in wanted:
            if value not in found:
                raise unknown(f"{LIMITS[name]} of this sweep", value, map(str, found))
        cells = [c for c in cells if (getattr(c, LIMITS[name]) or 0) in wanted]
    return list(cells)
