"""MVTec 3D-AD as delivered, or preprocessed into the same layout (Bergmann et al., VISAPP 2022; CC BY-NC-SA 4.0).

Clouds in metres, sensor frame, invalid points (0, 0, 0). Mask values 250 to 255 are defects: 253, 254 and 255 are kinds.
"""

from __future__ import annotations

from pathlib import Path

from mmadlib.data import layout
from mmadlib.data.files import Entry
from mmadlib.data.layout import categories, read

__all__ = ["categories", "entries", "read"]


def entries(root: Path, category: str, split: str) -> list[Entry]:
    """Entries of one category; split train | validation | test. Raises DataError."""
    return layout.entries(root, category, split, dataset="mvtec3d")
