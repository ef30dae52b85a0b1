"""Print the folder of the tables that the stored notebooks were made from: those of the last commit, whatever was run since.

Empty, for results/ itself, where nothing differs, where notebooks were stored anew, and where there is no git.
"""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

from mmadlib.experiments.compare import BEFORE
from mmadlib.experiments.record import git
from mmadlib.paths import RESULTS, ROOT

PLACE = ROOT / "build" / "results_as_committed"


def changed(name: str, root: Path = ROOT) -> bool:
    """Whether a folder differs from the last commit."""
    return bool(git(root, "status", "--porcelain", "--", name))


def committed(root: Path = ROOT, place: Path = PLACE) -> Path | None:
    """The folder; None for results/ itself."""
    if git(root, "rev-parse", "HEAD") is None:
        if not BEFORE.is_file():
            return None
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(RESULTS, place, ignore=shutil.ignore_patterns("own"))
        shutil.copyfile(BEFORE, place / "results.csv")
        return place
    if changed("notebooks", root) or not changed("results", root):
        return None
    shutil.rmtree(place, ignore_errors=True)
    packed = subprocess.run(["git", "-C", str(root), "archive", "HEAD:results"], capture_output=True, check=True).stdout
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        archive.extractall(place, filter="data")
    return place


if __name__ == "__main__":
    print(committed() or "")
    sys.exit(0)
