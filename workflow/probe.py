"""What the code of one commit makes of the committed data, as digests: run by same_numbers.py, in that code's own process.

Every scan of every category behind results/ goes from its reader to the working grid, its table removed where it stands on
one; and for every method and dataset one committed run is repeated on a few test samples, with a feature cache that is new
and then out of it. Every step is a file of its own, so an interrupted comparison goes on. What is imported here, old commits
have too.
"""

from __future__ import annotations

import hashlib
import json
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from mmadlib.atomic import atomic
from mmadlib.data import load, splits
from mmadlib.experiments import evaluate, unlabelled
from mmadlib.experiments.identity import run_identity, runner
from mmadlib.prepare.grid import to_grid
from mmadlib.prepare.isolate import isolate_object, on_a_table


def digest(*found: Any) -> str:
    """32 hex digits of arrays, bytes of them, and of texts and numbers."""
    total = hashlib.blake2b(digest_size=16)
    for value in found:
        array = isinstance(value, np.ndarray)
        total.update(f"{value.dtype} {value.shape} ".encode() if array else repr(value).encode())
        total.update(np.ascontiguousarray(value).tobytes() if array else b"")
    return total.hexdigest()


def scan(sample: Any, grids: list[tuple[int, str]]) -> str:
    """Digest of a sample as read, without its table, and on every grid that committed runs use."""
    found = [sample.label, sample.defect, sample.modality, sample.isolated, sample.missing,
             sample.rgb, sample.xyz, sample.valid, sample.mask]
    if on_a_table(sample):
        sample = isolate_object(sample)
        found += [sample.xyz, sample.valid]
    for size, pad in grids:
        grid = to_grid(sample, size, pad)
        found += [grid.rgb, grid.xyz, grid.valid, grid.mask]
    return digest(*found)


def scans(dataset: str, category: str, data_seed: int, grids: list[tuple[int, str]]) -> dict[str, str]:
    """split/defect/number -> digest, of the splits of a category that runs use."""
    found = {}
    for split in set(splits(dataset)) & {"train", "test", "twins"}:
        samples = load(dataset, category, split, data_seed=data_seed)
        for entry, sample in zip(samples.entries, samples, strict=True):
            found[f"{dataset} {data_seed} {category}: {split}/{entry.defect}/{entry.rgb.stem}"] = scan(sample, grids)
    return found


def run(arguments: dict[str, Any]) -> dict[str, Any]:
    """Every metric of a run, as exactly as it can be written, its draw, and a digest of all scores and maps."""
    method = {"evaluate": evaluate.run, "unlabelled": unlabelled.run_batches}[runner(arguments["method"])]
    with tempfile.TemporaryDirectory() as base:
        made, outcome = (method(**arguments, base=Path(base) / name, cache=Path(base) / "cache", progress=False)
                         for name in ("made", "read"))  # features are computed, then read back from the cache
    record = outcome.record
    return {"metrics": repr([record.metrics, record.by_defect, record.undefined]), "draw": record.draw,
            "settings": json.dumps(record.settings, sort_keys=True, default=str),
            "scores": digest(*(part for run in (made, outcome) for s in run.scores
                               for part in (s.image, s.map, *s.parts.values())))}


def kept(path: Path, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What is in a file of an earlier comparison, else made and written there."""
    if not path.is_file():
        with atomic(path) as temporary:
            temporary.write_text(json.dumps(make()), encoding="utf-8")
        print(path.stem, flush=True)
    return json.loads(path.read_text(encoding="utf-8"))


def main(task: Path, out: Path) -> None:
    """Do what `task` (JSON) lists; write {what: digest} and identities as JSON into the folder `out`, all.json last."""
    asked = json.loads(task.read_text(encoding="utf-8"))
    found: dict[str, Any] = {"scans": {}, "runs": {}, "identities": {}}
    for dataset, category, data_seed in asked["categories"]:
        grids = [tuple(grid) for grid in asked["grids"][dataset]]
        found["scans"] |= kept(out / f"{dataset}_{data_seed}_{category}_{digest(grids)[:8]}.json",
                               partial(scans, dataset, category, data_seed, grids))
    for name, arguments in asked["runs"].items():
        found["runs"][name] = kept(out / f"{name.replace(' ', '_')}_{digest(arguments)[:8]}.json", partial(run, arguments))
    for method, dataset in asked["identities"]:
        found["identities"][f"{method} {dataset}"] = run_identity(method, dataset)
    with atomic(out / "all.json") as path:
        path.write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
