"""Turn polyurethane scans into the chunks that CMDR-IAD trains and tests on.

    mmadlib convert polyurethane SRC DST

SRC holds point_cloud/<scan>/PointCloud_merged.ply. DST gets the files that mmadlib.data.polyurethane reads, the chunks in
the scans' own unit as global_{data,labels,gtmask}.npy, and manifest.json. Source of the recipe: ECGAI-Research/CMDR-IAD
polyurethane_experiments (README.md, build_dataset.py).
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8
from sklearn.ensemble import IsolationForest
from sklearn.model_selection import train_test_split
from sklearn.neighbors import LocalOutlierFactor

from mmadlib.checks import one_of
from mmadlib.data.convert.once import convert_once
from mmadlib.data.convert.ply import read_ply
from mmadlib.data.listing import child, folders
from mmadlib.data.polyurethane import POINTS
from mmadlib.errors import DataError, SettingsError, explain
from mmadlib.paths import real
from mmadlib.progress import bar

CONTAMINATION = {"low": 1e-4, "high": 1.5e-4}
DETECTORS = ("forest", "lof")
SCAN = "PointCloud_merged.ply"
SEED = 42


@dataclass(frozen=True)
class Rules:
    """How scans become labelled chunks; written into the manifest."""

    detector: str = "forest"  # forest: isolation forest of 200 trees | lof: local outlier factor, 30 neighbours
    contamination: str = "low"  # low | high: share of outliers in a scan, see CONTAMINATION
    points: int = 9216  # consecutive points of a chunk; or 4096
    share: float = 0.0025  # a chunk with this share of outliers is anomalous: 24 of 9216

    def __post_init__(self) -> None:
        one_of("detector", self.detector, DETECTORS)
        one_of("contamination", self.contamination, CONTAMINATION)
        if self.points not in POINTS:
            raise SettingsError(f"points={self.points!r}: a chunk has {' or '.join(map(str, POINTS))} points")


def convert(src: str | Path, dst: str | Path, rules: Rules | None = None, progress: bool = True) -> dict[str, int]:
    """Write DST and return its numbers of chunks: train, test, anomalous.

    A finished DST of the same rules and scans is left as it is; nothing is left behind when it fails. Raises DataError when
    SRC holds no scans, one is damaged, fewer than two chunks are normal, or DST lies in SRC or holds something else.
    """
    src, dst, rules = real(src), real(dst), rules or Rules()
    scans = find_scans(src)
    manifest = {"rules": asdict(rules), "scans": {path.parent.name: path.stat().st_size for path in scans}}

    def write(work: Path) -> dict[str, int]:
        chunked = [chunks(points, outliers(points, rules), rules)
                   for points in map(read_ply, bar(scans, "labelling scans", progress))]
        data, labels, masks = (np.concatenate(part) for part in zip(*chunked, strict=True))
        if np.count_nonzero(labels == 0) < 2:
            raise DataError(explain(src, f"gives {len(labels)} chunks, fewer than two of them normal", "check the scans"))
        save(work, data, labels, masks)
        train, test = split(labels)
        counts = {"train": len(train), "test": len(test), "anomalous": int(labels.sum())}
        (work / "manifest.json").write_text(json.dumps(manifest | {"chunks": counts}, indent=1) + "\n")
        return counts

    return convert_once(src, dst, manifest, "chunks", write)


def find_scans(src: Path) -> list[Path]:
    """The merged cloud of every scan, by name. Raises DataError when there is none or a scan has none."""
    base = child(src, "point_cloud")
    scans = [base / name / SCAN for name in folders(base)]
    lacking = [path.parent for path in scans if not path.is_file()]
    if lacking or not scans:
        raise DataError(explain(lacking[0] if lacking else base, f"holds no {SCAN if lacking else 'scans'}",
                                f"each folder of point_cloud is a scan with one {SCAN}"))
    return scans


def outliers(points: Float[np.ndarray, "N 3"], rules: Rules) -> Bool[np.ndarray, " N"]:
    """Pseudo-labels of a scan: its rarest points."""
    share = CONTAMINATION[rules.contamination]
    if rules.detector == "lof":
        detector = LocalOutlierFactor(n_neighbors=30, contamination=share)
    else:
        detector = IsolationForest(n_estimators=200, max_samples="auto", contamination=share, random_state=SEED)
    return detector.fit_predict(points) == -1


def chunks(points: Float[np.ndarray, "N 3"], flags: Bool[np.ndarray, " N"],
           rules: Rules) -> tuple[Float[np.ndarray, "n {rules.points} 3"], UInt8[np.ndarray, " n"],
                                  UInt8[np.ndarray, "n {rules.points}"]]:
    """Chunks of consecutive points, their labels and masks; the remainder is dropped."""
    count = len(points) // rules.points
    whole = count * rules.points
    masks = flags[:whole].reshape(count, rules.points).astype(np.uint8)
    return points[:whole].reshape(count, rules.points, 3), (masks.mean(1) >= rules.share).astype(np.uint8), masks


def split(labels: UInt8[np.ndarray, " n"]) -> tuple[Int[np.ndarray, " train"], Int[np.ndarray, " test"]]:
    """Rows to train on, nine tenths of the normal ones, and rows to test on: the other normal ones, then the anomalous."""
    train, rest = train_test_split(np.flatnonzero(labels == 0), test_size=0.1, random_state=SEED)
    return train, np.concatenate([rest, np.flatnonzero(labels)])


def scale(data: Float[np.ndarray, "n p 3"]) -> Float[np.ndarray, "n p 3"]:
    """Chunks with every axis of every chunk stretched to [-1, 1]; a constant axis becomes -1."""
    low, span = data.min(1, keepdims=True), np.ptp(data, axis=1, keepdims=True)
    return (data - low) / np.where(span > 0, span, 1) * 2 - 1


def save(folder: Path, data: Float[np.ndarray, "n p 3"], labels: UInt8[np.ndarray, " n"],
         masks: UInt8[np.ndarray, "n p"]) -> None:
    """The eight arrays, under their official names."""
    train, test = split(labels)
    arrays = {"global_data": data, "global_labels": labels, "global_gtmask": masks, "test_label": labels[test]}
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)
    for name, rows in (("train", train), ("test", test)):
        np.save(folder / f"{name}.npy", scale(data[rows]))
        np.save(folder / f"{name}_gtmask.npy", masks[rows])
