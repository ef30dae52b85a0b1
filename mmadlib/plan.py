"""The planned runs: workflow/config.yaml names parameter files and categories, workflow/params/ holds the settings."""

from __future__ import annotations

import ast
import hashlib
import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmadlib.errors import SettingsError, explain
from mmadlib.paths import NOTEBOOKS, ROOT, RUNS, WORKFLOW, run_dir, shown
from mmadlib.run import read_yaml

PARAMS = WORKFLOW / "params"
NAMED = ("dataset", "data_seed", "variant", "features", "shots", "seed")  # what a parameter file must say: the run's keys
# no number depends on these; the renderer's pictures have a version of their own (mmadlib.data.rendered.VERSION)
HOUSE = {"plan", "plots", "progress", "record", "results", "run", "tables", "convert_road", "rendered"}


@dataclass(frozen=True)
class Job:
    """One notebook with one set of parameters; `file` is its YAML under workflow/params/<notebook>/."""

    file: Path
    params: Mapping[str, Any]

    @property
    def notebook(self) -> Path:
        return NOTEBOOKS / f"{self.file.parent.name}.ipynb"

    @property
    def method(self) -> str:
        """20_cfm -> cfm"""
        return self.file.parent.name.partition("_")[2]

    def folder(self, base: str | Path = RUNS) -> Path:
        """Where the notebook writes its record; shots 0 in a notebook means all."""
        p = self.params
        return run_dir(p["dataset"], p["data_seed"], p["category"], self.method, p["variant"], p["features"],
                       p["shots"] or None, p["seed"], base)


def read_plan(config: Mapping[str, Any]) -> list[Job]:
    """One job per category, shots and seed of each entry of config["runs"].

    An entry has `params` (a file below workflow/params/) and `categories`, and may have lists `shots` and `seeds` that
    replace the file's single values. Raises SettingsError when a file is missing or leaves out a key of the run.
    """
    jobs = []
    for entry in config["runs"]:
        file = PARAMS / entry["params"]
        params = read_yaml(file)
        missing = [name for name in NAMED if name not in params]
        if missing:
            raise SettingsError(explain(shown(file), f"does not say {', '.join(missing)}", "add what the run is called by"))
        shots, seeds = entry.get("shots", [params["shots"]]), entry.get("seeds", [params["seed"]])
        jobs += [Job(file, params | {"category": c, "shots": k, "seed": s})
                 for c, k, s in itertools.product(entry["categories"], shots, seeds)]
    return jobs


def code_identity(notebook: Path, methods: Sequence[str] = ("*",)) -> str:
    """Hash of what decides the numbers: the code cells, and the library without HOUSE and other methods.

    Prose, comments and layout do not count, so editing them reruns nothing.
    """
    package = ROOT / "mmadlib"
    files = {f for f in package.rglob("*.py") if f.parent.name not in ("methods", "render") and f.stem not in HOUSE}
    for name in ("__init__", "base", "nearest", *methods):
        files |= set((package / "methods").glob(f"{name}.py"))
    cells = [c["source"] for c in json.loads(notebook.read_text())["cells"] if c["cell_type"] == "code"]
    sources = ["".join(c) for c in cells] + [f.read_text() for f in sorted(files)]
    return hashlib.sha256("\n".join(ast.dump(ast.parse(s)) for s in sources).encode()).hexdigest()[:16]
