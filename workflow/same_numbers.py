"""Prove that the code of today gives the numbers of an older commit: .venv/bin/python workflow/same_numbers.py OLD_COMMIT

A change of the code that reads and prepares scans makes all committed rows stale, also where it changes no number. This runs
the code of OLD_COMMIT, which made the rows, and that of the working tree over all data behind results/ (probe.py), each in its
own pinned process. Only when every digest and every metric is equal does it write mmadlib/experiments/same_numbers.csv, by
which today's identity counts as the one of the rows (mmadlib.experiments.identity), until the code is edited again.

It speaks for reading, preparing and measuring alone: a change in a method or a front end is refused, because a few samples do
not show all that it does; its runs are measured again (`mmadlib sweep`). Data have to be there: `mmadlib render --data-seed`
0 to 3, data/road. Some 30 minutes on two cores.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pandas as pd

from mmadlib.atomic import atomic
from mmadlib.digest import PACKAGE, code_digest, meaning
from mmadlib.errors import MmadError
from mmadlib.experiments.identity import SAME, code_identity, follow
from mmadlib.paths import RESULTS, ROOT, WORKFLOW

COLUMNS = ("method", "dataset", "found", "counts_as", "evidence")
TABLES = ("runs.csv", "choices/runs.csv")
# rooms and files whose changes the probe sees whole; of what front ends are given and how it is kept
SEEN = ("sample.py", "data/", "prepare/", "experiments/", "features/given.py", "features/tokens.py", "features/entry.py",
        "features/cache.py", "features/extractor.py")
LIMIT = 12  # test samples of a repeated run


def committed() -> pd.DataFrame:
    """The runs behind the tables, settings as mappings."""
    runs = pd.concat([pd.read_csv(RESULTS / name, dtype={"shots": str}, keep_default_na=False) for name in TABLES])
    return runs.assign(settings=runs["settings"].map(json.loads))


def task(runs: pd.DataFrame) -> dict[str, Any]:
    """What probe.py is to do: all categories with the grids of their runs; of every method and dataset the quickest run."""
    grids: dict[str, set] = {}
    for dataset, settings in zip(runs["dataset"], runs["settings"], strict=True):
        grids.setdefault(dataset, set()).add((settings["features"]["size"], settings["features"]["pad"]))
    quickest = runs.assign(wall_s=runs["wall_s"].astype(float)).sort_values("wall_s").groupby(["method", "dataset"]).head(1)
    again = {}
    for row in quickest.to_dict("records"):
        settings = dict(row["settings"])
        features, rule, reader = (settings.pop(name) for name in ("features", "rule", "reader"))
        names = f"{features.pop('rgb')}+{features.pop('xyz')}"
        again[f"{row['method']} {row['dataset']}"] = {
            **{name: row[name] for name in ("dataset", "category", "method")}, "features": names, "options": features,
            **{name: int(row[name]) for name in ("data_seed", "seed")}, "settings": settings, "reader": reader, "rule": rule,
            "shots": None if row["shots"] == "full" else int(row["shots"]), "test_limit": LIMIT}
    places = runs[["dataset", "category", "data_seed"]].drop_duplicates().sort_values(["dataset", "data_seed", "category"])
    pairs = sorted({(m, d) for m, d in zip(runs["method"], runs["dataset"], strict=True)})
    return {"categories": [[d, c, int(s)] for d, c, s in places.itertuples(index=False)], "runs": dict(sorted(again.items())),
            "grids": {dataset: sorted(found) for dataset, found in grids.items()}, "identities": pairs}


def changed(tree: Path) -> set[str]:
    """Files of the library whose meaning differs from that in `tree`, below mmadlib/, also those that only one has."""
    def texts(package: Path) -> dict[str, str]:
        return {p.relative_to(package).as_posix(): p.read_text(encoding="utf-8") for p in package.rglob("*.py")}

    old, new = texts(tree / PACKAGE.name), texts(PACKAGE)
    return {name for name in old.keys() | new.keys()
            if name not in old or name not in new or meaning(old[name]) != meaning(new[name])}


def unseen(files: set[str]) -> list[str]:
    """Of changed files those that decide numbers and whose changes the probe cannot vouch for; a renderer makes other data."""
    start = [PACKAGE / f"experiments/{name}.py" for name in ("evaluate", "unlabelled")]
    start += [*(PACKAGE / "methods").rglob("*.py"), *(PACKAGE / "data").glob("*.py")]
    deciding = {file.relative_to(PACKAGE).as_posix() for file in follow(start)}
    renders = [name for name in files if name.startswith("render/") or name in ("data/rendered.py", "data/rendered_plan.py")]
    gone = {name for name in files if not (PACKAGE / name).is_file()}
    return sorted({name for name in files & (deciding | gone) if not name.startswith(SEEN)} | set(renders))


def place(tree: Path) -> Path:
    """The folder below build/ for what the code in `tree` makes, by its meaning and that of the probe, kept between calls."""
    sources = sorted([*(tree / PACKAGE.name).rglob("*.py"), WORKFLOW / "probe.py"])
    folder = ROOT / "build/same_numbers" / code_digest(source.read_text(encoding="utf-8") for source in sources)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def start(tree: Path, asked: Path, out: Path) -> subprocess.Popen:
    """probe.py of today under the code in `tree`, pinned, on the data of this workspace."""
    env = os.environ | {"PYTHONPATH": str(tree), "PYTHONHASHSEED": "0", "MMADLIB_HOME": str(ROOT), "MPLBACKEND": "Agg"}
    command = [sys.executable, "-m", "mmadlib.pinned", sys.executable, str(WORKFLOW / "probe.py"), str(asked), str(out)]
    return subprocess.Popen(command, env=env, cwd=out, stdout=(out / "log").open("w"), stderr=subprocess.STDOUT)


def differences(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """What two probes do not agree in; also what only one of them has."""
    return [f"{what}: {name}" for what in ("scans", "runs") for name in sorted(old[what].keys() | new[what].keys())
            if name not in old[what] or name not in new[what] or old[what][name] != new[what][name]]


def summary(found: dict[str, Any]) -> str:
    """How much was compared, and one digest of it all."""
    total = hashlib.sha256(json.dumps([found["scans"], found["runs"]], sort_keys=True).encode()).hexdigest()[:16]
    return f"{len(found['scans'])} scans and {len(found['runs'])} runs equal, digest {total}"


def rows(old: dict[str, Any], new: dict[str, Any], identities: dict[str, str], commit: str) -> list[dict[str, str]]:
    """The table: what counts as what, for every method and dataset whose identity has changed.

    Raises MmadError when anything differs, or nothing was compared.
    """
    if faults := differences(old, new):
        more = f"\nand {len(faults) - 10} more" if len(faults) > 10 else ""
        raise MmadError("\n".join([f"{len(faults)} numbers differ, so the rows stay stale:", *faults[:10]]) + more)
    if not new["scans"] or not new["runs"]:
        raise MmadError("nothing was compared")
    evidence = f"{commit}: {summary(new)}"
    return [dict(zip(COLUMNS, (*name.split(), found, old["identities"][name], evidence), strict=True))
            for name, found in sorted(identities.items()) if found != old["identities"][name]]


def main(commit: str, same: Path = SAME) -> int:
    """Compare, and write the table; exit code 1 when it may not be written."""
    asked = task(committed())
    commit = subprocess.run(["git", "-C", str(ROOT), "rev-parse", "--short=12", f"{commit}^{{commit}}"], check=True,
                            capture_output=True, text=True).stdout.strip()
    with tempfile.TemporaryDirectory() as folder:
        trees, listed = {"old": Path(folder) / "tree", "new": PACKAGE.parent}, Path(folder) / "task.json"
        worktree = ["git", "-C", str(ROOT), "worktree"]
        subprocess.run([*worktree, "add", "--quiet", "--detach", str(trees["old"]), commit], check=True)
        try:
            files = changed(trees["old"])
            if beyond := unseen(files):
                print(f"not seen whole by this comparison: {', '.join(beyond)}; measure these runs again", file=sys.stderr)
                return 1
            listed.write_text(json.dumps(asked), encoding="utf-8")
            identities = {" ".join(pair): code_identity(*pair) for pair in asked["identities"]}
            places = [place(tree) for tree in trees.values()]
            jobs = [start(tree, listed, out) for tree, out in zip(trees.values(), places, strict=True)]
            if any([job.wait() for job in jobs]):
                print(*((out / "log").read_text() for out in places), sep="\n", file=sys.stderr)
                return 1
            if places[1] != place(PACKAGE.parent):
                print("the code was edited meanwhile: start again", file=sys.stderr)
                return 1
            old, new = (json.loads((out / "all.json").read_text()) for out in places)
            table = rows(old, new, identities, commit)
        except MmadError as fault:
            print(fault, file=sys.stderr)
            return 1
        finally:
            subprocess.run([*worktree, "remove", "--force", str(trees["old"])], check=False)
    with atomic(same) as path, path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(table)
    print(f"{summary(new)}\n{len(table)} identities count as those of {commit}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
