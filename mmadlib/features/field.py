"""FeatureMap and Features: pixel features as a few tokens and a sparse token-to-pixel map.

Pixel features of all front ends used here are *linear* in a small set of tokens: RGB pixels are bilinear in ViT tokens,
3D pixels are a 3-neighbour blend of group tokens followed by a 3x3 mean. Storing (T, C) tokens and a sparse (H*W, T)
matrix replaces 385 MB of 224x224x1920 floats by about 4 MB, and a first linear layer may run on tokens, exactly.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Float32, Int64
from scipy import sparse

from mmadlib.errors import SettingsError


def blend(rows: sparse.csr_array, tokens: Float[torch.Tensor, "T C"]) -> Float[torch.Tensor, "n C"]:
    """rows (n, T) @ tokens on the device of `tokens`, differentiable in `tokens`.

    One embedding bag with a weight per entry is a sparse row product; unlike torch's CSR tensors it has gradients on every
    device and an empty row is simply zero. Without gradients on the CPU, SciPy's product is 2.5 times faster.
    """
    if tokens.device.type == "cpu" and not (tokens.requires_grad and torch.is_grad_enabled()):
        return torch.from_numpy(rows @ tokens.detach().numpy())
    index = torch.from_numpy(rows.indices.astype(np.int64)).to(tokens.device)
    start = torch.from_numpy(rows.indptr[:-1].astype(np.int64)).to(tokens.device)
    weight = torch.from_numpy(np.ascontiguousarray(rows.data, dtype=np.float32)).to(tokens.device)
    return F.embedding_bag(index, tokens, start, mode="sum", per_sample_weights=weight)


def as_csr(matrix: sparse.csr_array | sparse.coo_array | np.ndarray | torch.Tensor) -> sparse.csr_array:
    """A SciPy matrix, array or torch tensor (dense, COO or CSR) as float32 CSR; one that is so already is not copied."""
    if isinstance(matrix, torch.Tensor):
        coo = matrix.detach().cpu().to_sparse_coo().coalesce()
        matrix = sparse.coo_array((coo.values().numpy(), tuple(coo.indices().numpy())), shape=tuple(coo.shape))
    if not isinstance(matrix, sparse.csr_array):
        matrix = sparse.csr_array(matrix)
    return matrix.astype(np.float32, copy=False)


@dataclass(frozen=True, eq=False)
class FeatureMap:
    """Features of one modality on an H x W grid: pixel = interp @ tokens.

    tokens  float32 tensor (T, C); an array is accepted
    interp  sparse CSR (H*W, T), float32; a pixel without features has an empty row and reads as zeros. Other sparse or
            dense matrices and tensors are converted
    size    (H, W), or one int for a square grid

    Raises SettingsError when the three do not fit together.
    """

    tokens: torch.Tensor
    interp: sparse.csr_array
    size: tuple[int, int]

    def __post_init__(self) -> None:
        height, width = np.broadcast_to(self.size, 2)
        object.__setattr__(self, "size", (int(height), int(width)))
        object.__setattr__(self, "tokens", torch.as_tensor(self.tokens).float())
        object.__setattr__(self, "interp", as_csr(self.interp))
        expected = (self.size[0] * self.size[1], self.tokens.shape[0])
        if self.tokens.ndim != 2 or self.interp.shape != expected:
            raise SettingsError(f"interp {self.interp.shape} must be (H*W, T) = {expected} "
                                f"for tokens {tuple(self.tokens.shape)}")

    @property
    def channels(self) -> int:
        """C, the width of a feature."""
        return self.tokens.shape[1]

    @property
    def support(self) -> Bool[np.ndarray, "H W"]:
        """Pixels that any token reaches."""
        return (np.diff(self.interp.indptr) > 0).reshape(self.size)

    def at(self, pixels: np.ndarray | torch.Tensor) -> Float32[torch.Tensor, "n C"]:
        """Features at n flat row-major pixel indices. Differentiable in `tokens`."""
        return blend(self.interp[np.asarray(pixels, dtype=np.int64)], self.tokens)

    def dense(self) -> Float32[torch.Tensor, "H W C"]:
        """The full map; only for pictures and tests."""
        return blend(self.interp, self.tokens).reshape(*self.size, -1)

    def with_tokens(self, tokens: Float[torch.Tensor, "T C"]) -> FeatureMap:
        """The same grid over other tokens, e.g. after a linear layer or a change of device."""
        return replace(self, tokens=tokens)


@dataclass(frozen=True, eq=False)
class Features:
    """Everything a method may see of one sample: two feature maps on one grid, and the geometry.

    rgb, xyz    FeatureMap on the same (H, W)
    foreground  bool (H, W): pixels where both modalities have features and the object is
    cloud       metres, invalid points (0, 0, 0)
    meta        names, family ("learned" | "descriptors" | "paper" | "random"), sizes, "standardise" (sides whose channels
                differ in scale), "extraction" (see features.extraction): never ground truth; "missing" where one is

    A missing modality has features of width 0 that reach every pixel, so the foreground is the other one's.
    """

    rgb: FeatureMap
    xyz: FeatureMap
    foreground: np.ndarray
    cloud: Float32[np.ndarray, "H W 3"]
    meta: dict = field(default_factory=dict)

    def __post_init__(self) -> None:
        if isinstance(self.foreground, torch.Tensor):
            object.__setattr__(self, "foreground", self.foreground.cpu().numpy())
        object.__setattr__(self, "foreground", np.asarray(self.foreground, dtype=bool))
        if not (self.rgb.size == self.xyz.size == self.foreground.shape):
            raise SettingsError(f"rgb {self.rgb.size}, xyz {self.xyz.size} and foreground {self.foreground.shape} "
                                "must lie on one grid")

    @property
    def size(self) -> tuple[int, int]:
        """(H, W)."""
        return self.rgb.size

    @property
    def missing(self) -> str:
        """The modality that this sample lacks, "rgb" or "xyz"; empty when both are there."""
        return self.meta.get("missing", "")

    @property
    def extraction(self) -> dict[str, Any] | None:
        """The account of how these features were made, see mmadlib.features.extraction; None for those made by hand."""
        return self.meta.get("extraction")

    @property
    def pixels(self) -> Int64[np.ndarray, " n"]:
        """Flat indices of the foreground, row-major."""
        return np.flatnonzero(self.foreground)
