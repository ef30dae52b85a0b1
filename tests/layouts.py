"""Tiny datasets on disk, in exactly the layouts that the readers know. Used by many tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tifffile
from PIL import Image

SIZE = (48, 64)  # rows, columns


def picture(path: Path, pixels: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def tiff(path: Path, xyz: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(path, xyz, photometric="rgb" if xyz.ndim == 3 and xyz.shape[2] == 3 else "minisblack")
    return path


def rgb(seed: int = 0, size=SIZE) -> np.ndarray:
    """A random picture, uint8 (H, W, 3)."""
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)


def table(size=SIZE, bump: float = 0.02) -> np.ndarray:
    """Half-metre-away table with a bump in the middle, 1 mm per pixel, all points valid, float32 (H, W, 3)."""
    v, u = np.mgrid[1 : size[0] + 1, 1 : size[1] + 1]
    r2 = (v - size[0] / 2) ** 2 + (u - size[1] / 2) ** 2
    z = 0.5 - bump * np.exp(-r2 / (2 * (size[0] / 8) ** 2))
    return np.stack([u * 1e-3, v * 1e-3, z], -1).astype(np.float32)


def isolated(size=SIZE) -> np.ndarray:
    """The bump of `table` with everything around it (0, 0, 0)."""
    xyz = table(size)
    xyz[xyz[..., 2] > 0.499] = 0
    return xyz


def spot(size=SIZE, value: int = 255) -> np.ndarray:
    """A mask with a 6x6 defect, uint8 (H, W)."""
    mask = np.zeros(size, np.uint8)
    mask[20:26, 30:36] = value
    return mask


def mvtec(root: Path, category: str = "bagel", train: int = 4, test: dict | None = None, size=SIZE, cloud=table) -> Path:
    """MVTec 3D-AD layout; returns the category's folder."""
    base = root / category
    for split, kinds in {"train": {"good": train}, "validation": {"good": 2}, "test": test or {"good": 3, "crack": 2}}.items():
        for kind, count in kinds.items():
            for i in range(count):
                folder = base / split / kind
                picture(folder / "rgb" / f"{i:03d}.png", rgb(i, size))
                tiff(folder / "xyz" / f"{i:03d}.tiff", cloud(size))
                if split == "test":
                    picture(folder / "gt" / f"{i:03d}.png", spot(size, 0 if kind == "good" else 255))
    return base


def eyecandies(root: Path, category: str = "Lollipop", train: int = 3, val: int = 2, bad=(0, 1, 1), size=SIZE) -> Path:
    """Eyecandies layout: a ball on the ground; `bad` is the metadata label of the public test samples."""
    rng = np.random.default_rng(0)
    for split, count, digits in (("train", train, 3), ("val", val, 2), ("test_public", len(bad), 2)):
        folder = root / category / split / "data"
        for i in range(count):
            stem, label = folder / f"{i:0{digits}d}", bad[i] if split == "test_public" else 0
            low, high = 1.0 + 0.01 * i, 2.0 + 0.1 * i  # every sample its own range
            code = np.round((ball(size) - low) / (high - low) * 65535).astype(np.uint16)
            for light in range(6):
                picture(Path(f"{stem}_image_{light}.png"), np.full((*size, 3), 40 * light, np.uint8))
            picture(Path(f"{stem}_depth.png"), code)
            picture(Path(f"{stem}_normals.png"), rng.integers(0, 256, (*size, 3), dtype=np.uint8))
            Path(f"{stem}_info_depth.yaml").write_text(f"normalization:\n  max: {high}\n  min: {low}\n")
            np.savetxt(f"{stem}_pose.txt", np.eye(4))
            Path(f"{stem}_metadata.yaml").write_text(f"anomalous: {label}\n")
            Path(f"{stem}_obj_params.yaml").write_text("{}\n")
            for kind in ("bumps", "dents", "colors", "normals"):
                picture(Path(f"{stem}_{kind}_mask.png"), spot(size, 255 if label and kind == "dents" else 0))
            picture(Path(f"{stem}_mask.png"), spot(size, 255 if label else 0))
    return root / category


def ball(size=SIZE) -> np.ndarray:
    """Depth in metres of a ground seen at a slant with a ball on it, float64 (H, W)."""
    v, u = np.mgrid[: size[0], : size[1]]
    ground = 1.8 - 0.4 * v / size[0]
    r2 = (v - size[0] / 2) ** 2 + (u - size[1] / 2) ** 2
    return ground - np.sqrt(np.clip((size[0] / 3) ** 2 - r2, 0, None)) * 0.02


def real_iad_d3(root: Path, category: str = "power_jack", train: int = 3, test: dict | None = None, size=SIZE) -> Path:
    """Real-IAD D3 layout: views in one folder per sample, NaN in Z, gt/rgb masks."""
    base, xyz = root / category, table(size)
    xyz[..., 0] -= xyz[0, 10, 0]  # a column with x = 0 that is valid
    xyz[:5, :7, 2] = np.nan
    for split, kinds in {"train": {"GOOD": train}, "test": test or {"GOOD": 2, "scratch": 2}}.items():
        for kind, count in kinds.items():
            folder = base / split / kind
            for i in range(count):
                for view in ("L01", "L05"):
                    picture(folder / "rgb" / f"S{i:04d}" / f"{category}_{i:04d}_{view}_RGB.jpg", rgb(i, size))
                tiff(folder / "xyz" / f"{category}_{i:04d}.tiff", xyz)
                picture(folder / "ps" / f"{category}_{i:04d}.jpg", rgb(i + 50, size))
                if kind != "GOOD":
                    picture(folder / "gt" / "rgb" / f"{category}_{i:04d}_L05.png", spot(size))
    return base


def stereo_pothole(root: Path, frames: dict | None = None, size=(342, 576), colour: bool = True) -> Path:
    """stereo_pothole layout: each frame a noisy road with one pothole; labels (153, 0, 0) or gray 255."""
    for part, numbers in (frames or {"dataset1": (1, 12), "dataset2": (20, 21), "dataset3": (1,)}).items():
        for n in numbers:
            rng = np.random.default_rng(n)
            hole = np.zeros(size, bool)
            top, left = (int(s * f) for s, f in zip(size, (0.1, 0.2), strict=True))
            hole[top : top + size[0] // 5, left : left + size[1] // 8] = True
            level = np.clip(rng.normal(50000, 500, size) - 8000 * hole, 1, 65535).astype(np.uint16)
            level[-3:, -3:] = 0
            label = np.where(hole, 153, 0).astype(np.uint8)
            label = np.dstack([label, 0 * label, 0 * label]) if colour else (hole * 255).astype(np.uint8)
            folder = root / part
            picture(folder / "rgb" / f"{n:02d}.png", rng.integers(90, 130, (*size, 3), dtype=np.uint8))
            picture(folder / "disp_tg" / f"{n:02d}.png", level)
            picture(folder / "label" / f"{n:02d}.png", label)
    (root / "LICENSE").write_text("MIT License\n")
    return root


def snapshot(root: Path) -> dict[str, tuple[bytes, int]]:
    """Bytes and modification time of every file: equal before and after means untouched."""
    return {str(p.relative_to(root)): (p.read_bytes(), p.stat().st_mtime_ns) for p in sorted(root.rglob("*")) if p.is_file()}
