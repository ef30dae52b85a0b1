"""Turn the captures of a depth camera into pictures and organised clouds on one grid, that of the depth.

    mmadlib convert depth SRC DST --intrinsics cam.json

SRC is a folder of parts (rgb/ and depth/) or a dataset of such folders, category/train/good and so on; see sources.py. DST
gets the same folders with rgb/*.png, xyz/*.tiff (float32 metres, camera frame, invalid points (0, 0, 0)) and gt/.

The lens of the depth camera is removed from the rays of its pixels and not by resampling its pictures: every point lies where
it was measured, no depth is made up between two surfaces, and a picture on the grid of the depth fits as it is. A picture of
another camera is sampled where each point is seen in it, lens included (register.py).
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections import Counter
from dataclasses import asdict
from pathlib import Path

import numpy as np
import tifffile
from PIL import Image

from mmadlib.data.convert.grids import Rules, dressed, geometry
from mmadlib.data.convert.once import convert_once
from mmadlib.data.convert.sources import Capture, captures
from mmadlib.paths import here, real
from mmadlib.progress import bar


def convert(src: str | Path, dst: str | Path, intrinsics: str | Path | None = None, depth_scale: float | None = None,
            colour: str | Path | None = None, progress: bool = True, **rules: object) -> dict[str, int]:
    """Write DST and return its number of parts per folder. The options are the fields of Rules.

    A finished DST of the same rules, cameras and files is left as it is; nothing is left behind when it fails, and what a
    killed run left is deleted. Raises DataError that names file, fault and remedy: no camera, no scale, another size, a cloud
    without rows, a part without a partner, a DST in SRC or that holds something else; SettingsError for an impossible option.
    """
    src, dst = real(src), real(dst)
    told = {name: None if path is None else str(here(path)) for name, path in (("intrinsics", intrinsics), ("colour", colour))}
    how = Rules(depth_scale=depth_scale, **told, **rules)  # type: ignore[arg-type]
    _ = how.reading  # which checks its own
    found = captures(src)
    manifest: dict = {"rules": asdict(how) | {name: _digest(path) for name, path in told.items()}, "source": _list(src, found)}
    manifest = json.loads(json.dumps(manifest))  # as it comes back: a tuple is a list then

    def write(work: Path) -> dict[str, int]:
        for capture in bar(found, "converting depth", progress):
            write_capture(capture, work, how)
        for table in sorted(src.glob("*/defects.csv")) + sorted(src.glob("defects.csv")):
            if (target := work / table.relative_to(src)).parent.is_dir():
                shutil.copyfile(table, target)
        counts = dict(Counter(c.folder.as_posix() if c.folder.parts else "parts" for c in found))
        (work / "manifest.json").write_text(json.dumps(manifest | {"parts": counts}, indent=1) + "\n")
        return counts

    return convert_once(src, dst, manifest, "parts", write)


def _digest(path: str | None) -> str | None:
    try:
        return None if path is None else hashlib.sha256(Path(path).read_bytes()[:2**20]).hexdigest()
    except OSError:
        return ""  # read_camera says what is wrong


def _list(src: Path, found: list[Capture]) -> str:
    """A digest of names, sizes and times of all files: a camera's program may write the same names every day."""
    paths = sorted(p for c in found for p in (c.rgb, c.geometry, c.gt) if p)
    text = "\n".join(f"{p.relative_to(src).as_posix()} {p.stat().st_size} {p.stat().st_mtime_ns}" for p in paths)
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def write_capture(capture: Capture, work: Path, how: Rules) -> None:
    """One part's files below `work`. Raises DataError."""
    xyz, camera = geometry(capture, how)
    rgb, xyz, mask = dressed(capture, xyz, camera, how)
    folder = work / capture.folder
    for name in ("rgb", "xyz", *(["gt"] if mask is not None else [])):
        (folder / name).mkdir(parents=True, exist_ok=True)
    Image.fromarray(rgb).save(folder / "rgb" / f"{capture.name}.png")
    tifffile.imwrite(folder / "xyz" / f"{capture.name}.tiff", xyz, photometric="rgb")
    if mask is not None:
        Image.fromarray(mask.astype(np.uint8) * 255).save(folder / "gt" / f"{capture.name}.png")
