"""Sample: one RGB+3D observation, as stored, whatever dataset it came from."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mmadlib.errors import DataError

if TYPE_CHECKING:  # Sample checks its arrays itself, by errors that name the file
    from jaxtyping import Bool, Float32, UInt8

MODALITIES = ("none", "rgb", "xyz", "both", "relation", "unknown")


@dataclass(frozen=True, eq=False)
class Sample:
    """One observation: a colour picture and an organised point cloud on the same pixel grid.

    xyz       metres, camera frame, z forward; invalid points are exactly (0, 0, 0)
    valid     by default all three coordinates non-zero (protocol of BTF, M3DM, CFM)
    mask      ground truth; all False for a normal sample, and, meaning nothing, for one that is not labelled
    label     0 normal, 1 anomalous, -1 nobody has said yet: scored, and in no metric
    modality  which modality shows the defect: none (normal) | rgb | xyz | both | relation | unknown
    isolated  True when the background is (0, 0, 0) already
    dataset   name of the reader; decides the background rule when features are extracted
    missing   the modality that was not measured: "" none | "rgb", then rgb is black | "xyz", then xyz is all (0, 0, 0)
              and `valid` says which pixels are looked at

    Raises DataError when shapes or dtypes disagree or a coordinate is not finite; `path` is named in the message.
    """

    rgb: UInt8[np.ndarray, "H W 3"]
    xyz: Float32[np.ndarray, "H W 3"]
    valid: Bool[np.ndarray, "H W"] = None  # type: ignore[assignment]  # made in __post_init__
    mask: Bool[np.ndarray, "H W"] = None  # type: ignore[assignment]  # made in __post_init__
    label: int = 0
    defect: str = "good"
    category: str = ""
    split: str = ""
    path: Path | None = None
    modality: str = ""
    isolated: bool = False
    dataset: str = ""
    missing: str = ""
    extra: dict = field(default_factory=dict)

    def __post_init__(self) -> None:
        set_ = lambda name, value: object.__setattr__(self, name, value)  # noqa: E731 - frozen dataclass
        where = f"sample {self.path}" if self.path else "sample"
        if self.rgb.dtype != np.uint8 or self.rgb.ndim != 3 or self.rgb.shape[2] != 3:
            raise DataError(f"{where}: rgb must be uint8 (H, W, 3), not {self.rgb.dtype} {self.rgb.shape}")
        if self.xyz.ndim != 3 or self.xyz.shape[2] != 3:
            raise DataError(f"{where}: xyz must have three channels (H, W, 3), not shape {self.xyz.shape}")
        if self.xyz.dtype != np.float32:
            raise DataError(f"{where}: xyz must be float32 metres, not {self.xyz.dtype}")
        if not np.isfinite(self.xyz).all():
            raise DataError(f"{where}: xyz holds NaN or infinite values; set such points to (0, 0, 0)")
        if self.xyz.shape[:2] != self.rgb.shape[:2]:
            raise DataError(f"{where}: sizes differ, rgb {self.rgb.shape[:2]} and xyz {self.xyz.shape[:2]}; "
                            "picture and cloud must share one pixel grid")
        if self.valid is None:
            set_("valid", (self.xyz != 0).all(-1))
        if self.mask is None:
            set_("mask", np.zeros(self.size, bool))
        for name in ("valid", "mask"):
            value = getattr(self, name)
            if value.dtype != bool or value.shape != self.size:
                raise DataError(f"{where}: {name} must be bool {self.size}, not {value.dtype} {value.shape}")
        if not self.modality:
            set_("modality", "unknown" if self.label else "none")
        if self.modality not in MODALITIES:
            raise DataError(f"{where}: modality {self.modality!r} is none of {', '.join(MODALITIES)}")
        if self.missing not in ("", "rgb", "xyz"):
            raise DataError(f"{where}: missing {self.missing!r} is neither rgb nor xyz")

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) of the stored grid."""
        return self.rgb.shape[:2]

    def with_(self, **changes: Any) -> Sample:
        """A copy with some fields replaced; arrays are never changed in place."""
        return replace(self, **changes)
