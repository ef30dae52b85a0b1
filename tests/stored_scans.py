"""A small part before a camera, and ways in which people store it. Used by the tests of one's own folders."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from layouts import picture, tiff

SIZE = (40, 56)
FOCAL = 80.0  # pixels
CAMERA = {"fx": FOCAL, "fy": FOCAL, "cx": (SIZE[1] - 1) / 2, "cy": (SIZE[0] - 1) / 2, "width": SIZE[1], "height": SIZE[0]}


def rays(size=SIZE) -> np.ndarray:
    """x and y at z = 1, float64 (H, W, 2); the centre lies between pixels."""
    v, u = np.mgrid[: size[0], : size[1]]
    return np.dstack([(u - (size[1] - 1) / 2) / FOCAL, (v - (size[0] - 1) / 2) / FOCAL])


def scan(seed: int = 0, size=SIZE, table: bool = False) -> np.ndarray:
    """A noisy dome 0.4 m before the camera, float32 (H, W, 3) metres; around it the table, or (0, 0, 0)."""
    rng = np.random.default_rng(seed)
    at = rays(size)
    r2 = (at**2).sum(-1) / (0.4 * size[0] / FOCAL) ** 2
    z = 0.4 - 0.02 * np.sqrt(np.clip(1 - r2, 0, 1)) + rng.normal(0, 5e-5, size)
    xyz = np.dstack([at * z[..., None], z])
    if not table:
        xyz[r2 >= 1] = 0
    return xyz.astype(np.float32)


def colours(seed: int = 0, size=SIZE) -> np.ndarray:
    """A picture of four flat quarters, so that compression leaves it alone, uint8 (H, W, 3)."""
    pixels = np.zeros((*size, 3), np.uint8)
    h, w = size[0] // 2, size[1] // 2
    pixels[:h, :w], pixels[:h, w:] = (200, 40, 40), (40, 160, 60)
    pixels[h:, :w], pixels[h:, w:] = (50, 70, 190), (120, 120, 20)
    pixels[-6:, -6:, 2] += seed
    return pixels


def defect(size=SIZE) -> np.ndarray:
    """A disc of 49 pixels in the middle, bool (H, W)."""
    v, u = np.mgrid[: size[0], : size[1]]
    return np.hypot(v - size[0] // 2, u - size[1] // 2) < 4


def part(folder: Path, name: str = "000", xyz: np.ndarray | None = None, rgb: np.ndarray | None = None) -> Path:
    """One part in rgb/ and xyz/ of a folder."""
    picture(folder / "rgb" / f"{name}.png", colours() if rgb is None else rgb)
    tiff(folder / "xyz" / f"{name}.tiff", scan() if xyz is None else xyz)
    return folder


def dataset(root: Path, test: dict[str, int], train: int = 2, named: Callable[[str], str] = str, gt=("dent",),
            table: bool = False) -> Path:
    """root/part with train/good and the folders of `test`; those of `gt` have masks."""
    for split, kinds in {"train": {"good": train}, "test": test}.items():
        for kind, count in kinds.items():
            for i in range(count):
                folder = root / "part" / named(split) / named(kind)
                picture(folder / named("rgb") / f"{i:03d}.png", colours(i))
                tiff(folder / named("xyz") / f"{i:03d}.tiff", scan(i, table=table))
                if kind in gt and split == "test":
                    picture(folder / named("gt") / f"{i:03d}.png", defect().astype(np.uint8) * 255)
    return root
