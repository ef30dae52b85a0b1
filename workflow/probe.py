"""What the code of one commit makes of the committed data, as digests: run by same_numbers.py, in that code's own process.

Every scan of every category behind results/ goes from its reader to the working grid, its table removed where it stands on
one; and for every method and dataset one committed run is repeated on a few test samples. Nothing is taken from the feature
cache. What is imported here, old commits have, too.
"""

from __future__ import annotations

import hashlib
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

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
    """split/defect/number -> digest, of all splits of a category."""
    found = {}
    for split in splits(dataset):
        samples = load(dataset, category, split, data_seed=data_seed)
        for entry, sample in zip(samples.entries, samples, strict=True):
            found[f"{dataset} {data_seed} {category}: {split}/{entry.defect}/{entry.rgb.stem}"] = scan(sample, grids)
    return found


def run(arguments: dict[str, Any]) -> dict[str, Any]:
    """Every metric of a run, as exactly as it can be written, its draw, and a digest of all scores and maps."""
    method = {"evaluate": evaluate.run, "unlabelled": unlabelled.run_batches}[runner(arguments["method"])]
    with tempfile.TemporaryDirectory() as base:
        outcome = method(**arguments, base=base, cache=None, progress=False)
    record = outcome.record
    return {"metrics": repr([record.metrics, record.by_defect, record.undefined]), "draw": record.draw,
            "settings": json.dumps(record.settings, sort_keys=True, default=str),
            "scores": digest(*(part for s in outcome.scores for part in (s.image, s.map, *s.parts.values())))}


def main(task: Path, out: Path) -> None:
    """Do what `task` (JSON) lists; write {what: digest} and identities as JSON, a line per step to stdout."""
    asked = json.loads(task.read_text(encoding="utf-8"))
    found: dict[str, Any] = {"scans": {}, "runs": {}, "identities": {}}
    for dataset, category, data_seed in asked["categories"]:
        found["scans"] |= scans(dataset, category, data_seed, [tuple(grid) for grid in asked["grids"][dataset]])
        print(f"{len(found['scans'])} scans, up to {dataset} {category} {data_seed}", flush=True)
    for name, arguments in asked["runs"].items():
        found["runs"][name] = run(arguments)
        print(f"{name}: {found['runs'][name]['scores']}", flush=True)
    for method, dataset in asked["identities"]:
        found["identities"][f"{method} {dataset}"] = run_identity(method, dataset)
    out.write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
