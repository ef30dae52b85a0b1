"""Reduction: one width for both modalities, and tokens of order one.

PIRN reads both modalities through one encoder; features of unequal widths have no common space, so each side is mapped to one
width first (reconstruction).
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float32

from mmadlib.errors import SettingsError, TrainingError

KINDS = ("svd", "pca", "random")
WIDEST = 256


def common_width(widths: list[int], multiple: int, width: int = 0) -> int:
    """The width that sides of these widths are mapped to; 0: none, they fit as they are.

    multiple  what a width has to be a multiple of, for the heads of attention
    width     0 leaves equal widths alone where `multiple` divides them, else takes min(256, the smallest) rounded down to it

    Raises SettingsError for a width that `multiple` does not divide, or when none is left.
    """
    if width:
        if width % multiple:
            raise SettingsError(f"width={width}: must be a multiple of {multiple}, which heads and graph_heads divide; change "
                                "one of them")
        return width
    if len(set(widths)) == 1 and widths[0] % multiple == 0:
        return 0
    width = min(WIDEST, *widths) // multiple * multiple
    if width == 0:
        raise SettingsError(f"features of widths {', '.join(map(str, widths))} are narrower than {multiple}, which heads and "
                            f"graph_heads divide; lower these, or set project='random' with width={multiple}")
    return width


class Reduction:
    """x -> (x - offset) @ matrix, of root mean square 1 on what it was fitted on.

    svd     the principal axes about zero: they carry the mean of a backbone's tokens and the anchor of standardised ones along
    pca     those about the mean, which takes both away: directions of short tokens are noise then
    random  a seeded Gaussian matrix;   width 0: the features themselves, scaled
    """

    def __init__(self, offset: Float32[torch.Tensor, " C"],
                 matrix: Float32[torch.Tensor, "C D"] | Float32[torch.Tensor, ""]) -> None:
        self.offset, self.matrix = offset, matrix

    @classmethod
    def fit(cls, rows: Float32[torch.Tensor, "n C"], width: int, kind: str = "svd", seed: int = 0) -> Reduction:
        """From training tokens. Raises SettingsError when axes are to widen them, TrainingError with too few rows."""
        n, c = rows.shape
        offset, matrix = torch.zeros(c), torch.ones(())
        if width and kind != "random":
            if width > c:
                raise SettingsError(f"width={width}: features of width {c} have fewer principal components; lower it, or set "
                                    "project='random'")
            if n < width:
                raise TrainingError(f"{n} training tokens are too few for {width} principal components; give more samples, "
                                    "lower width, or set project='random'")
            x = rows.double()
            offset = x.mean(0) if kind == "pca" else x.new_zeros(c)
            axes = torch.linalg.eigh((x - offset).T @ (x - offset)).eigenvectors.flip(1)[:, :width]
            sign = axes.gather(0, axes.abs().argmax(0, keepdim=True)).sign()  # or it would be the linear algebra's choice
            offset, matrix = offset.float(), (axes * sign).float().contiguous()
        elif width:
            matrix = torch.from_numpy(np.random.default_rng(seed).normal(size=(c, width)) / c**0.5).float()
        size, scale = (x.square().mean().sqrt() for x in (rows, cls(offset, matrix)(rows)))
        # features that do not vary: their round-off must not become tokens of order one
        return cls(offset, matrix / scale if scale > 1e-6 * size else matrix)

    def __call__(self, x: Float32[torch.Tensor, "n C"]) -> Float32[torch.Tensor, "n D"]:
        x = x - self.offset
        return x @ self.matrix if self.matrix.ndim else x * self.matrix
