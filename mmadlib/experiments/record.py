"""One run = one record = one metrics.json; many runs = one long, sorted table."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import math
import platform
import subprocess
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from mmadlib import __version__
from mmadlib.atomic import atomic
from mmadlib.errors import DataError, SettingsError, explain
from mmadlib.paths import BESIDE, MARK, RUNS, here, run_dir, shown
from mmadlib.untrusted import read_text

KEYS = ["dataset", "data_seed", "category", "method", "variant", "features", "shots", "seed"]
COLUMNS = [*KEYS, "subset", "metric", "value"]
COSTS = {"wall_s": 1, "fit_s": 2, "score_ms": 2, "model_mb": 3, "peak_mb": 0, "peak_gpu_mb": 0}  # and their digits
PROVENANCE = [*KEYS, "n_test", "digest", "finished", "device", "pinned", *COSTS, "python", "numpy", "torch", "mmadlib", "git",
              "code", "data", "draw", "settings"]
LATER = ["fit_s", "score_ms", "model_mb", "peak_gpu_mb", "code", "data", "pinned"]  # columns that older tables lack
NUMBERS = {"data_seed": int, "seed": int, "value": float, "n_test": int}  # all other columns of the tables are text
SHOWN = 5  # of the damaged records of a folder
RECORD = "metrics.json"
LIMIT = 2**25  # bytes of one: thousands of defect kinds
RUN_FOLDERS = f"*/data*/*/*/*/*/shots*/seed*/{RECORD}"  # paths.run_dir; a base inside a base does not match


def git(root: Path, *words: str) -> str | None:
    """What a git command prints in the folder `root`; None when it fails, as outside a repository, or there is no git."""
    try:
        done = subprocess.run(["git", "-C", str(root), *words], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return None
    return None if done.returncode else done.stdout


def environment() -> dict[str, str | None]:
    """Versions, time and git revision ("+" after it: with local changes; None outside a checkout); no host, no user."""
    ours = (BESIDE / MARK).is_file()  # an installed library may lie in somebody else's repository
    revision = (ours and git(BESIDE, "describe", "--always", "--exclude=*", "--abbrev=12", "--dirty=+")) or ""
    versions = {name: importlib.metadata.version(name) for name in ("numpy", "torch")}
    return {"finished": datetime.now(UTC).isoformat(timespec="seconds"), "python": platform.python_version(), **versions,
            "mmadlib": __version__, "git": revision.strip() or None}


@dataclass(frozen=True)
class Record:
    """Everything that is kept of one run.

    The first eight fields are the keys; shots None means all training samples.
    metrics      {subset: {metric: value}}; NaN where a metric has no value on that subset
    undefined    {subset: {metric: why it has no value}}
    by_defect    {defect kind: {metric: value}}, each kind against all normal samples; kept in metrics.json alone
    settings     of the method and the features;   draw  names of the training samples
    n_test       number of test samples
    wall_s, fit_s, score_ms    seconds of the whole run and of fitting, median milliseconds to score one image; in the last two
                 features are there already
    model_mb, peak_mb, peak_gpu_mb   MiB of the fitted model, of resident memory at its peak and of torch's on the GPU
    causes       cause -> digest of all that decided the numbers, see mmadlib.experiments.causes
    provenance   see `environment`; filled when the record is made. A run adds `code`, see mmadlib.experiments.identity,
                 `data`, a digest of the content of its samples or what rendered them, and `pinned`, mmadlib.pinned.state
    """

    dataset: str
    data_seed: int
    category: str
    method: str
    variant: str
    features: str
    shots: int | None
    seed: int
    metrics: dict[str, dict[str, float]]
    settings: dict[str, Any] = field(default_factory=dict)
    draw: list[str] = field(default_factory=list)
    device: str = "cpu"
    wall_s: float = math.nan
    fit_s: float = math.nan
    score_ms: float = math.nan
    model_mb: float = math.nan
    peak_mb: float = math.nan
    peak_gpu_mb: float = math.nan
    n_test: int = 0
    undefined: dict[str, dict[str, str]] = field(default_factory=dict)
    by_defect: dict[str, dict[str, float]] = field(default_factory=dict)
    causes: dict[str, str] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=environment)

    @property
    def keys(self) -> dict[str, str | int]:
        """The key columns of results.csv; shots is text, "full" or a number."""
        return {k: getattr(self, k) for k in KEYS} | {"shots": "full" if self.shots is None else str(self.shots)}

    @property
    def digest(self) -> str:
        """Equal for two runs that gave the same numbers from the same settings and draw."""
        content = [self.keys, self.rows(), self.settings, self.draw, self.n_test]
        return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()[:12]

    def folder(self, base: str | Path = RUNS) -> Path:
        """The run folder under `base`."""
        return run_dir(self.dataset, self.data_seed, self.category, self.method, self.variant, self.features, self.shots,
                       self.seed, base)

    def rows(self) -> list[dict[str, Any]]:
        """Rows of results.csv: one per subset and metric that has a value, rounded to 4 digits."""
        return [self.keys | {"subset": subset, "metric": metric, "value": round(float(value), 4)}
                for subset, values in self.metrics.items() for metric, value in values.items() if math.isfinite(value)]

    def run_row(self) -> dict[str, Any]:
        """The row of runs.csv."""
        facts = {"n_test": self.n_test, "digest": self.digest, "device": self.device, "draw": " ".join(self.draw),
                 "settings": json.dumps(self.settings, sort_keys=True, default=str)}
        row = self.keys | facts | {name: round(getattr(self, name), n) for name, n in COSTS.items()} | self.provenance
        return {column: row.get(column) for column in PROVENANCE}


def plain(value: Any) -> Any:
    """JSON knows no NaN and no NumPy numbers."""
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    value = value.item() if hasattr(value, "item") else value
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _checksum(content: dict[str, Any]) -> str:
    """Of the fields of a record as JSON has them: an edited number is no measurement."""
    return hashlib.blake2b(json.dumps(content, sort_keys=True).encode(), digest_size=8).hexdigest()


def write(record: Record, folder: str | Path | None = None) -> Path:
    """Write metrics.json into `folder` (default: record.folder()), all or nothing; returns its path."""
    path = (record.folder() if folder is None else here(folder)) / RECORD
    content = json.loads(json.dumps(plain(asdict(record)), default=str))
    with atomic(path) as temporary:
        temporary.write_text(json.dumps(content | {"checksum": _checksum(content)}, indent=1) + "\n")
    return path


def read(path: str | Path, base: str | Path | None = None) -> Record:
    """The record in a metrics.json; below `base`, if that is given, only in the folder of its own run.

    Raises DataError when the file is missing, truncated, was edited or copied, or holds something else.
    """
    path, remedy = Path(path), "delete it and run again"
    if not path.exists():
        raise DataError(explain(shown(path), "no such record", "run the experiment first"))
    try:
        content = json.loads(read_text(path, limit=LIMIT, remedy=remedy))
        if content.pop("checksum", "") != _checksum(content):
            raise DataError(explain(shown(path), "is no record as it was written: edited, or of an older version", remedy))
        for name in ("metrics", "by_defect"):
            content[name] = {subset: {m: math.nan if v is None else v for m, v in values.items()}
                             for subset, values in content.get(name, {}).items()}
        for name in COSTS:
            content[name] = math.nan if content.get(name) is None else content[name]
        record = Record(**content)
        if base is not None and record.folder(base) != here(path).parent:
            raise DataError(explain(shown(path), f"is the record of another run, {shown(record.folder(base))}", remedy))
        return record
    except OSError as err:
        raise DataError(explain(shown(path), f"cannot be read ({err.strerror or err})", remedy)) from None
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, SettingsError) as err:
        raise DataError(explain(shown(path), f"is no complete record ({err})", remedy)) from None


def find_records(base: str | Path = RUNS) -> list[Record]:
    """All records under `base`, sorted by folder; damaged ones are left out, and a warning names them."""
    found, faults = [], []
    for path in sorted(here(base).glob(RUN_FOLDERS)):
        try:
            found.append(read(path, base))
        except DataError as fault:
            faults.append(str(fault))
    if faults:
        more = f"\nand {len(faults) - SHOWN} more" if len(faults) > SHOWN else ""
        warnings.warn("\n".join([f"{len(faults)} damaged records are left out:", *faults[:SHOWN]]) + more, stacklevel=2)
    return found


def ordered(table: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """Rows by key, shots as numbers with "full" last; columns in the given order, numbers as numbers."""
    table = table.astype({c: kind for c, kind in NUMBERS.items() if c in columns}).reset_index(drop=True)
    order = table.assign(shots=pd.to_numeric(table["shots"].replace("full", "inf")))
    by = [c for c in (*KEYS, "subset", "metric") if c in columns]
    return table.loc[order.sort_values(by).index, list(columns)].reset_index(drop=True)


def collect(runs: str | Path | Sequence[Record] = RUNS) -> pd.DataFrame:
    """Runs as one long table with columns COLUMNS, sorted; `runs` is a folder or a list of records."""
    records = find_records(runs) if isinstance(runs, (str, Path)) else runs
    return ordered(pd.DataFrame([row for r in records for row in r.rows()], columns=COLUMNS), COLUMNS)
