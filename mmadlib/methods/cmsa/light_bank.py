"""LightBank: few unit rows of one modality in few dimensions, and how far normal cells are from the rows of others.

"Lightweight memory banks, one per modality" are CMSA's (paper); projection, length, search and size are (reconstruction).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Float32, Int, Int64
from sklearn.decomposition import PCA

from mmadlib.methods.banks import Bank, greedy_coreset


class LightBank:
    """Rows of length 1, searched by Euclidean distance; features are projected as the rows were.

    mean, axes  principal axes of normal features; None: features are taken as they are
    """

    def __init__(self, rows: Float32[torch.Tensor, "M D"], mean: Float32[torch.Tensor, " C"] | None = None,
                 axes: Float32[torch.Tensor, "C D"] | None = None) -> None:
        self.bank, self.mean, self.axes = Bank(rows), mean, axes

    @classmethod
    def of(cls, x: Float[torch.Tensor, "n C"], size: int, dims: int = 0, seed: int = 0,
           anchored: bool = False) -> tuple[LightBank, Int64[np.ndarray, " M"]]:
        """A bank of `size` of the normal features x, n >= 1, that cover them, and which these are.

        dims      principal axes kept, at most min(n, C); 0: no projection
        anchored  the last channel is the constant one of a Standardiser: behind the axes as it is, because the mean that they
                  are counted from would remove it, and rows of length one would again be directions of noise
        """
        x, mean, axes = x.detach().float().cpu(), None, None
        if dims and len(x) > 1:
            with np.errstate(invalid="ignore"):  # the shares of no variance at all, which nobody asks for
                body = x[:, :-1] if anchored else x
                pca = PCA(min(dims, *body.shape), svd_solver="full").fit(body.numpy())
            mean, axes = (torch.from_numpy(np.ascontiguousarray(a, np.float32)) for a in (pca.mean_, pca.components_.T))
            if anchored:
                mean, axes = F.pad(mean, (0, 1)), torch.block_diag(axes, torch.ones(1, 1))
        unit = project(x, mean, axes)
        chosen = greedy_coreset(unit, size, seed)
        return cls(unit[torch.from_numpy(chosen)], mean, axes), chosen

    @property
    def n_bytes(self) -> int:
        """Of the rows and the projection, as saved."""
        return sum(t.numel() * t.element_size() for t in self.state().values())

    def distance(self, x: Float[torch.Tensor, "n C"], k: int = 1) -> Float32[torch.Tensor, " n"]:
        """Mean distance of features x to their k nearest rows, in [0, 2]."""
        return self.bank.distance(project(x, self.mean, self.axes), k)[0].mean(1)

    def normal_distances(self, x: Float[torch.Tensor, "n C"], image: Int[np.ndarray, " n"], chosen: Int64[np.ndarray, " M"],
                         k: int = 1) -> Float32[torch.Tensor, " m"]:
        """Distances of features x that the bank was chosen from, none of them to a row of its own image.

        Image by image, not in the order of x, and not of every feature, m <= n: they are for a range, not for a map.

        image  which image a feature is of. An image that owns all rows is left out. With one image only, its features that
               are no rows are measured; where all are rows, each against the other rows
        """
        unit, owner = project(x, self.mean, self.axes), image[chosen]
        if len(np.unique(image)) > 1:
            rows = {i: self.bank.rows[torch.from_numpy(owner != i)] for i in np.unique(image)}
            found = [Bank(others).distance(unit[torch.from_numpy(image == i)], k)[0].mean(1)
                     for i, others in rows.items() if len(others)]
            return torch.cat(found)
        rest = np.setdiff1d(np.arange(len(unit)), chosen)
        if len(rest):
            return self.bank.distance(unit[torch.from_numpy(rest)], k)[0].mean(1)
        return self.bank.distance(self.bank.rows, k + 1)[0][:, 1:].mean(1) if len(self.bank) > 1 else torch.zeros(0)

    def state(self) -> dict[str, torch.Tensor]:
        """The tensors to save."""
        kept = {"rows": self.bank.rows, "mean": self.mean, "axes": self.axes}
        return {name: tensor for name, tensor in kept.items() if tensor is not None}

    @classmethod
    def restored(cls, state: Mapping[str, torch.Tensor]) -> LightBank:
        """The bank whose `state` this is."""
        return cls(state["rows"], state.get("mean"), state.get("axes"))


def project(x: Float[torch.Tensor, "n C"], mean: Float32[torch.Tensor, " C"] | None,
            axes: Float32[torch.Tensor, "C D"] | None) -> Float32[torch.Tensor, "n D"]:
    """Features on the axes if there are any, then of length 1, on the CPU."""
    x = x.detach().float().cpu()
    return F.normalize(x if mean is None or axes is None else (x - mean) @ axes, dim=1)
