"""Turn the stereo_pothole set into road tiles in the MVTec 3D-AD layout.

    mmadlib convert road SRC DST

SRC is a clone of github.com/ruirangerfan/stereo_pothole_datasets (MIT, (c) 2021 Rui (Ranger) Fan) or a reduced copy of it:
dataset{1,2,3}/{rgb,disp_tg,label}/NN.png.
What comes out is said in ABOUT, which is written beside the tiles.
"""

from __future__ import annotations

import csv
import json
import re
import shutil
from collections import Counter
from dataclasses import asdict
from pathlib import Path

import numpy as np
import tifffile
from PIL import Image
from scipy import ndimage

from mmadlib.data.convert.once import convert_once
from mmadlib.data.convert.road_tiles import Rules, cloud, height_score, read_label, tile_corners
from mmadlib.data.images import read_gray16, read_rgb
from mmadlib.data.listing import PICTURES, files, folders, index, pair
from mmadlib.errors import DataError, explain
from mmadlib.paths import real
from mmadlib.progress import bar
from mmadlib.untrusted import read_text

SOURCE = "https://github.com/ruirangerfan/stereo_pothole_datasets"
PARTS = ("dataset1", "dataset2", "dataset3")
KINDS = ("rgb", "disp_tg", "label")
ABOUT = """# Road tiles

Real road surfaces seen by a stereo camera, cut into tiles in the MVTec 3D-AD layout. Every frame holds a pothole, so normal
samples are tiles clear of it, and training and test tiles come from different frames. Tiles that only touch a pothole are
left out. The clouds are PSEUDO-METRIC: the source's disparity has the road plane removed and is stretched frame by frame, so
height is its robust score within the frame, one deviation counted as one millimetre, one pixel as one millimetre, the road
one metre away. Shapes can be trusted, lengths cannot.

Source: {source}, commit {commit}. Licence: {licence}.
Cite R. Fan et al., IEEE Transactions on Image Processing 2019 and 2018.

{counts}

Constants are in manifest.json, the place of every tile in road/tiles.csv.
"""
LAST_TRAIN = {"dataset1": 11, "dataset2": 20, "dataset3": 0}  # frames up to this number train, the others test


def convert(src: str | Path, dst: str | Path, rules: Rules | None = None, progress: bool = True) -> dict[str, int]:
    """Write DST/road/{train,test}/... and return the number of tiles per "split/defect".

    A finished DST with the same manifest is left as it is. Nothing is left behind when it fails. Raises DataError when SRC is
    not the set, DST lies in SRC or holds something else.
    """
    src, dst, rules = real(src), real(dst), rules or Rules()
    frames = find_frames(src)
    manifest = {"source": SOURCE, "licence": "MIT, (c) 2021 Rui (Ranger) Fan", "commit": _commit(src), "rules": asdict(rules)}

    def write(work: Path) -> dict[str, int]:
        rows = [row for frame in bar(frames, "cutting road tiles", progress) for row in _cut(*frame, work / "road", rules)]
        counts = dict(sorted(Counter(f"{row['split']}/{row['defect']}" for row in rows).items()))
        if "train/good" not in counts:
            raise DataError(explain(src, "gives no normal training tile", "check the labels of dataset1 and dataset2"))
        _describe(work, src, rows, manifest | {"tiles": counts})
        return counts

    return convert_once(src, dst, manifest, "tiles", write)


def find_frames(src: Path) -> list[tuple[str, int, Path, Path, Path]]:
    """(part, number, rgb, disp_tg, label) of every frame, in order. Raises DataError when `src` is not the set."""
    parts = [part for part in PARTS if (src / part).is_dir()]
    for folder in [src / part / kind for part in parts for kind in KINDS] or [src / "dataset1" / "rgb"]:
        if not folder.is_dir():
            there = ", ".join(folders(src)) if src.is_dir() else "no such folder"
            raise DataError(explain(src, f"is not the stereo_pothole set: no {folder.relative_to(src)}",
                                    f"looked for dataset1..3 with rgb, disp_tg and label; there are: {there}. Clone {SOURCE}"))
    frames = []
    for part in parts:
        tables = {kind: index(files(src / part / kind, PICTURES)) for kind in KINDS}
        names = pair(src / part, **tables)
        numbers = [n for n in names if isinstance(n, int)]
        if len(numbers) < len(names):
            raise DataError(explain(src / part, f"has a frame named {names[-1]!r}", "frames are numbered 01, 02, ..."))
        frames += [(part, n, tables["rgb"][n], tables["disp_tg"][n], tables["label"][n]) for n in numbers]
    return frames


def _cut(part: str, number: int, rgb: Path, disp: Path, label: Path, out: Path, rules: Rules) -> list[dict]:
    """Write the tiles of one frame; one row of tiles.csv for each."""
    picture, disparity, hole = read_rgb(rgb), read_gray16(disp), read_label(label)
    if not picture.shape[:2] == disparity.shape == hole.shape:
        raise DataError(explain(rgb, "picture, disparity and label differ in size", "copy the three files again"))
    size = (rules.width, round(picture.shape[0] * rules.width / picture.shape[1]))
    picture = np.array(Image.fromarray(picture).resize(size, Image.Resampling.BOX))
    disparity, hole = (np.array(Image.fromarray(a).resize(size, Image.Resampling.NEAREST)) for a in (disparity, hole))
    score, near = height_score(disparity, rules.clip), ndimage.maximum_filter(hole, 2 * rules.margin + 1)
    split, rows = "train" if number <= LAST_TRAIN[part] else "test", []
    for i, (top, left) in enumerate(tile_corners(hole.shape[0], hole.shape[1], rules.tile)):
        tile = np.s_[top : top + rules.tile, left : left + rules.tile]
        share = float(hole[tile].mean())
        defect = "good" if not near[tile].any() else "pothole"
        if defect == "good" or (split == "test" and share >= rules.share):
            name = f"{PARTS.index(part) + 1}{number:02d}{i:02d}"
            xyz = cloud(score[tile], disparity[tile] > 0, rules)
            _write(out / split / defect, name, picture[tile], xyz, hole[tile] if split == "test" else None)
            rows.append({"split": split, "defect": defect, "number": name, "frame": f"{part}/{number:02d}", "top": top,
                         "left": left, "share": f"{share:.4f}"})
    return rows


def _write(folder: Path, name: str, rgb: np.ndarray, xyz: np.ndarray, mask: np.ndarray | None) -> None:
    for kind in ("rgb", "xyz") if mask is None else ("rgb", "xyz", "gt"):
        (folder / kind).mkdir(parents=True, exist_ok=True)
    Image.fromarray(rgb).save(folder / "rgb" / f"{name}.png")
    tifffile.imwrite(folder / "xyz" / f"{name}.tiff", xyz, photometric="rgb")
    if mask is not None:
        Image.fromarray(mask.astype(np.uint8) * 255).save(folder / "gt" / f"{name}.png")


def _describe(work: Path, src: Path, rows: list[dict], manifest: dict) -> None:
    """tiles.csv, defects.csv, manifest.json, README.md and the licence, which must travel with copies."""
    with (work / "road" / "tiles.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        table.writeheader()
        table.writerows(rows)
    (work / "road" / "defects.csv").write_text("defect,modality\npothole,both\n")
    (work / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n")
    counts = "\n".join(f"- {name}: {count} tiles" for name, count in manifest["tiles"].items())
    (work / "README.md").write_text(ABOUT.format(counts=counts, **manifest))
    licence = [p for p in src.iterdir() if p.is_file() and p.stem.upper() in ("LICENSE", "LICENCE")]
    if licence:
        shutil.copyfile(licence[0], work / "LICENSE")


def _commit(src: Path) -> str:
    """The commit of the set: from the clone, or from the note beside a reduced copy; otherwise "unknown"."""
    head, note = src / ".git" / "HEAD", src / "SOURCE.txt"
    text = read_text(head) if head.is_file() else read_text(note) if note.is_file() else ""
    if found := re.fullmatch(r"ref: (refs(/[\w-][\w.-]*)+)\s*", text):  # no path that leaves the folder
        ref = src / ".git" / found[1]
        text = read_text(ref) if ref.is_file() else ""
    found = re.search(r"\b[0-9a-f]{40}\b", text)
    return found.group() if found else "unknown"
