"""Small parts on a table as a depth camera sees them, with what goes wrong with them: for the tests of inspection."""

from __future__ import annotations

import numpy as np

from mmadlib.data import Samples
from mmadlib.data.files import Entry
from mmadlib.sample import Sample

SIZE = 64
PITCH = 1e-3  # metres a pixel
Z = 0.5  # of the table


def part(seed: int = 0, size: int = SIZE, *, table: bool = True, dent: bool = False, pit: bool = False, hole: bool = False,
         stain: bool = False, **fields) -> Sample:
    """A round part 18 mm high, half of the picture wide, on a table; no two alike.

    dent  2 mm deep in the middle;   pit  one that reaches the table;   hole  a place without points;   stain  another colour
    """
    rng = np.random.default_rng(seed)
    v, u = np.mgrid[:size, :size] - size / 2 + 0.5
    v, u = v + rng.uniform(-0.5, 0.5), u + rng.uniform(-0.5, 0.5)
    on, middle = np.hypot(u, v) < size * 0.3, np.hypot(u - size * 0.06, v) < size * 0.08
    height = np.where(on, 0.018 + 0.001 * np.sin(v / size * 9), 0) + rng.normal(0, 1e-4, u.shape)
    height = np.where(middle, height - 0.004, height) if dent else np.where(middle, 0, height) if pit else height
    xyz = np.stack([PITCH * 64 / size * (u + size), PITCH * 64 / size * (v + size), Z - height], -1).astype(np.float32)
    rgb = np.where(on[..., None], (150, 110, 70), (90, 95, 100)) + rng.normal(0, 4, (size, size, 3))
    if stain:
        rgb = np.where(middle[..., None], (60, 60, 160), rgb)
    valid = (on if not table else np.ones_like(on)) & ~(middle if hole else np.zeros_like(on))
    xyz[~valid] = 0
    return Sample(np.clip(rgb, 0, 255).astype(np.uint8), xyz, dataset="folder", isolated=not table, **fields)


def parts(count: int, first: int = 0, **kinds) -> list[Sample]:
    """So many good ones, or all with the same fault."""
    return [part(first + i, **kinds) for i in range(count)]


def in_files(samples: list[Sample], folder) -> Samples:
    """The same as entries that are read when taken, as from a folder; one that is None cannot be read."""
    from mmadlib.errors import DataError, explain

    entries = [Entry(folder / "rgb" / f"{i:03d}.png", folder / "xyz" / f"{i:03d}.tiff", extra={"i": i})
               for i in range(len(samples))]

    def read(entry: Entry) -> Sample:
        if samples[entry.extra["i"]] is None:
            raise DataError(explain(entry.xyz, "is truncated", "copy it again"))
        return samples[entry.extra["i"]].with_(path=entry.rgb)

    return Samples(entries, read)
