"""The only place that knows where things lie. Every path is absolute; nothing is created on import.

A *workspace* is the folder that holds data/, runs/, results/, figures/ and workflow/. It is, the first that there is:

1. the folder named by the environment variable MMADLIB_HOME;
2. the checkout that mmadlib is imported from, which the file MARK marks;
3. the nearest marked folder at or above the current one: where mmadlib is installed, one may stand in a checkout;
4. the current folder.

What a workspace has none of, notebooks/, workflow/ and the tables of results/, is read in the checkout that mmadlib comes
from; nothing is ever written but in a workspace. So a read-only checkout works with MMADLIB_HOME.

MMADLIB_RESULTS names a folder that stands for results/: `make test` compares the stored notebooks with the committed tables.

It is chosen once, when mmadlib is imported: a later change of folder does not move it. Paths in notebooks and in files of
parameters are relative to the workspace (`resolve`); what a person types, or hands to a function, is relative to where that
person stands (`here`), as with any other library.
"""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

from mmadlib.errors import SettingsError, explain
from mmadlib.names import printable

MARK = ".mmadlib"  # a file of this name marks a folder as a workspace
BESIDE = Path(__file__).resolve().parent.parent  # what the package lies in: a checkout, or the site-packages of an environment


def workspace() -> Path:
    """The workspace of a process that starts here and now, absolute; it need not exist yet."""
    if home := os.environ.get("MMADLIB_HOME", "").strip():
        return Path(home).expanduser().resolve()
    here = Path.cwd()
    return next((folder for folder in (BESIDE, here, *here.parents) if (folder / MARK).is_file()), here)


ROOT = workspace()


def shipped(path: Path) -> Path:
    """A path of the workspace; while nothing is there, the same place in the checkout that mmadlib is imported from."""
    if path.exists() or not path.is_relative_to(ROOT) or not (BESIDE / MARK).is_file():
        return path
    return BESIDE / path.relative_to(ROOT)


NOTEBOOKS = shipped(ROOT / "notebooks")
DATA = ROOT / "data"  # rendered and converted datasets; generated
CACHE = DATA / "cache"  # feature tokens; generated
WEIGHTS = DATA / "weights"  # backbone checkpoints that the user puts there
RUNS = ROOT / "runs"  # one folder per experiment; generated
RESULTS = Path(os.environ.get("MMADLIB_RESULTS", "").strip() or ROOT / "results").absolute()  # tidy CSV, in git
FIGURES = ROOT / "figures"  # generated figures, in git
WORKFLOW = shipped(ROOT / "workflow")
CHECKOUT = "stand in a checkout of mmadlib or name one by MMADLIB_HOME"  # the remedy where a workspace lacks what one holds


def resolve(path: str | Path) -> Path:
    """A path given in a notebook or a file of parameters: absolute as it is, relative from the workspace."""
    path = _expanded(path)
    if path.parts[:1] == ("results",):
        return RESULTS.joinpath(*path.parts[1:])
    return path if path.is_absolute() else ROOT / path


def optional(path: str | Path) -> Path | None:
    """`resolve`, and None for an empty text: how a notebook hands on its `root`."""
    return resolve(path) if str(path) else None


def here(path: str | Path) -> Path:
    """A path that a person types or hands to a function: absolute, ~ expanded, relative from where one stands."""
    return _expanded(path).absolute()


def real(path: str | Path) -> Path:
    """`here`, without links: two names of one folder are equal. A link that goes in circles stays, nothing can be there."""
    return Path(os.path.realpath(here(path)))


def _expanded(path: str | Path) -> Path:
    if "\0" in str(path):
        raise SettingsError(f"{str(path)!r}: no path can hold this; give another")
    try:
        return Path(path).expanduser()
    except RuntimeError:  # a user that does not exist
        raise SettingsError(explain(path, "names the home of somebody unknown", "write the folder out")) from None


def shown(path: str | Path) -> str:
    """The path as a reader should see it: relative to the workspace when it lies there."""
    path = Path(path)
    return printable(path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else str(path))


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
    return here(base).joinpath(*map(_part, parts))


@cache  # plans name tens of thousands of runs with the same few parts
def _part(part: str) -> str:
    if not part or part in (".", "..") or set(part) & set("/\\") or part != printable(part):
        raise SettingsError(f"{part!r} cannot be part of a run's folder; use letters, digits and _ . + -")
    return part
