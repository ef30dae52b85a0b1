"""The only place that knows where things lie. Every path is absolute; nothing is created on import."""

from __future__ import annotations

from pathlib import Path

from mmadlib.errors import SettingsError

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = ROOT / "notebooks"
DATA = ROOT / "data"  # rendered and converted datasets; generated
CACHE = DATA / "cache"  # feature tokens; generated
WEIGHTS = DATA / "weights"  # backbone checkpoints that the user puts there
RUNS = ROOT / "runs"  # one folder per experiment; generated
RESULTS = ROOT / "results"  # tidy CSV, in git
FIGURES = ROOT / "figures"  # generated figures, in git
WORKFLOW = ROOT / "workflow"


def resolve(path: str | Path) -> Path:
    """A path given in a notebook: absolute as it is, relative from the repository root."""
    path = Path(path).expanduser()
    return path if path.is_absolute() else ROOT / path


def shown(path: str | Path) -> str:
    """The path as a reader should see it: relative to the repository root when it lies there."""
    path = Path(path)
    return path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else str(path)


def rendered_root(data_seed: int = 0) -> Path:
    """Folder of the rendered dataset of one data seed (MVTec 3D-AD layout, one folder per category)."""
    return DATA / "rendered" / f"data{int(data_seed)}"


def run_dir(dataset: str, data_seed: int, category: str, method: str, variant: str, features: str,
            shots: int | None, seed: int, base: str | Path = RUNS) -> Path:
    """Folder of one run; the same keys as one block of rows in results/results.csv. shots None means all.

    Raises SettingsError for a key that cannot name a folder.
    """
    k = "full" if shots is None else int(shots)
    parts = [dataset, f"data{int(data_seed)}", category, method, variant, features, f"shots{k}", f"seed{int(seed)}"]
    for part in parts:
        if not part or part in (".", "..") or set(part) & set('/\\\n'):
            raise SettingsError(f"{part!r} cannot be part of a run's folder; use letters, digits and _ . + -")
    return resolve(base).joinpath(*parts)
