"""The dual memory: shape codes of normal patches, the RGB cells that each is linked to, and these cells' features."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float32, Int64
from scipy import sparse


@dataclass(frozen=True, eq=False)
class Memory:
    """M codes of some images, R features of RGB cells that any of them is linked to; R is 0 without colour.

    links  (M, R) sparse; owner, owner_rgb  the image that each code and each row is of
    """

    codes: Float32[torch.Tensor, "M code"]
    owner: Int64[torch.Tensor, " M"]
    rgb: Float32[torch.Tensor, "R C"]
    owner_rgb: Int64[torch.Tensor, " R"]
    links: sparse.csr_array

    @classmethod
    def of(cls, codes: Sequence[Float32[torch.Tensor, "_P code"]], rgb: Sequence[Float32[torch.Tensor, "_G C"]],
           links: Sequence[Bool[np.ndarray, "_P _G"]]) -> Memory:
        """From the codes of each image, the features on its RGB raster and which of these each code is linked to."""
        kept = [link.any(0) for link in links]
        rows = [torch.from_numpy(np.flatnonzero(some)) for some in kept]
        both = sparse.block_diag([sparse.csr_array(link[:, some]) for link, some in zip(links, kept, strict=True)], "csr")
        return cls(torch.cat(list(codes)), _owner(codes), torch.cat([x[row] for x, row in zip(rgb, rows, strict=True)]),
                   _owner(rows), sparse.csr_array(both))

    def without(self, image: int) -> Memory:
        """The memory as if the image had not been there; the whole one if there is no other."""
        keep, keep_rgb = self.owner != image, self.owner_rgb != image
        if not keep.any():
            return self
        return Memory(self.codes[keep], self.owner[keep], self.rgb[keep_rgb], self.owner_rgb[keep_rgb],
                      self.links[keep.numpy()][:, keep_rgb.numpy()])

    def linked(self, codes: Int64[torch.Tensor, "P k"]) -> Float32[torch.Tensor, "D C"]:
        """Each RGB row once that any of these codes is linked to."""
        rows = np.unique(self.links[np.unique(codes.numpy())].indices)
        return self.rgb[torch.from_numpy(rows.astype(np.int64))]

    def state(self) -> dict[str, torch.Tensor]:
        """The tensors to save; row numbers take four bytes."""
        return {"codes": self.codes, "owner": self.owner, "rgb": self.rgb, "owner_rgb": self.owner_rgb,
                "link.start": torch.from_numpy(self.links.indptr.astype(np.int32)),
                "link.row": torch.from_numpy(self.links.indices.astype(np.int32))}

    @classmethod
    def restored(cls, state: dict[str, torch.Tensor]) -> Memory:
        """The memory whose `state` this is. Raises ValueError where links lead nowhere."""
        start, row = state["link.start"].numpy(), state["link.row"].numpy()
        links = sparse.csr_array((np.ones(len(row), bool), row, start), shape=(len(state["codes"]), len(state["rgb"])))
        links.check_format(full_check=True)
        return cls(state["codes"], state["owner"], state["rgb"], state["owner_rgb"], links)


def _owner(parts: Sequence[torch.Tensor]) -> Int64[torch.Tensor, " _"]:
    """The number of the part that each row is of."""
    return torch.repeat_interleave(torch.arange(len(parts)), torch.tensor([len(part) for part in parts]))
