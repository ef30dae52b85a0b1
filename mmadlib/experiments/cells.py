"""Cell: one run of a grid, with all that decides it; and how a grid is narrowed."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from mmadlib.checks import one_of, typed
from mmadlib.errors import SettingsError, unknown
from mmadlib.paths import RUNS, run_dir

LIMITS = {"methods": "method", "categories": "category", "shots": "shots", "data_seeds": "data_seed"}  # -> field it narrows


@dataclass(frozen=True)
class Cell:
    """One run of a sweep: arguments of evaluate.run, or of unlabelled.run_batches, where shots are the parts of a batch.

    shots None: all training samples, or all test samples in one batch. names: one's own draw of that many shots, as a list of
    names or a file of them (data.shots); what they name decides a run as data, see causes.
    """

    dataset: str
    category: str
    method: str
    variant: str
    shots: int | None
    seed: int
    data_seed: int = 0
    settings: dict = field(default_factory=dict)
    features: str = "learned"
    options: dict = field(default_factory=dict)
    reader: dict = field(default_factory=dict)
    rule: str = "auto"
    root: str | None = None
    device: str = "cpu"
    test_limit: int | None = None
    checkpoint: bool = False
    names: tuple[str, ...] | str = field(default=(), repr=False)

    def folder(self, base: str | Path = RUNS) -> Path:
        """The folder of the run."""
        return run_dir(*self.keys, base)

    @property
    def keys(self) -> tuple[str, int, str, str, str, str, int | None, int]:
        """What tells the runs of all sweeps apart, in the order of `paths.run_dir`."""
        return (self.dataset, self.data_seed, self.category, self.method, self.variant, self.features, self.shots, self.seed)

    def source(self) -> dict[str, Any]:
        """What the features depend on but for the draw: arguments of source.Source."""
        names = ("dataset", "category", "data_seed", "features", "options", "reader", "root", "test_limit", "device")
        return {name: getattr(self, name) for name in names}

    def expected(self) -> dict[str, Any]:
        """The settings that the record of this run holds."""
        from mmadlib.features import family
        from mmadlib.features.options import check_options, settings_of
        from mmadlib.methods import EVERY

        features = settings_of(*family(self.features), check_options(self.options))
        return asdict(typed(EVERY[self.method].SETTINGS, self.settings, f"{self.method} setting")) | {
            "features": features, "rule": self.rule, "reader": self.reader}

    def __str__(self) -> str:
        shots = "all" if self.shots is None else self.shots
        return (f"{self.dataset}/{self.category} {self.method}/{self.variant} {self.features}, {shots} shots, "
                f"data seed {self.data_seed}, seed {self.seed}")


def narrow(cells: Sequence[Cell], **limits: Collection | None) -> list[Cell]:
    """The cells with one of the given methods, categories, shots (0: all) and data_seeds; None does not narrow.

    Raises UnknownName for a limit or a value that no cell has, SettingsError for what is no list.
    """
    for name, wanted in limits.items():
        if wanted is None:
            continue
        one_of("limit", name, LIMITS)
        if isinstance(wanted, str) or not isinstance(wanted, Collection):
            raise SettingsError(f"{name}={wanted!r}: expected a list such as [{wanted}]")
        found = {getattr(c, LIMITS[name]) or 0 for c in cells}
        for value in wanted:
            if value not in found:
                raise unknown(f"{LIMITS[name]} of this sweep", value, map(str, found))
        cells = [c for c in cells if (getattr(c, LIMITS[name]) or 0) in wanted]
    return list(cells)


def adapt(cells: Sequence[Cell], root: str | None = None, device: str | None = None,
          features: str | None = None) -> list[Cell]:
    """The cells on another root, device or features; None leaves them as they are.

    Other features have their usual options, also for a variant that named its own. Raises UnknownName, SettingsError.
    """
    from mmadlib.checks import check_device
    from mmadlib.features import family

    given: dict[str, Any] = {name: value for name, value in (("root", root), ("device", device)) if value is not None}
    if device is not None:
        check_device(device)
    if features is not None:
        family(features)
        given |= {"features": features, "options": {}}
    return [replace(cell, **given) for cell in cells]
