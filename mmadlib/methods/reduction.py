"""Reduction: one width for both modalities, and tokens of order one.

PIRN reads both modalities through one encoder; features of unequal widths have no common space, so each side is mapped to one
width first (reconstruction). Linear with an offset, so it acts on tokens and commutes with the interpolation.
"""

from __future__ import annotations

import numpy as np
import torch
from sklearn.decomposition import PCA

from mmadlib.errors import SettingsError, TrainingError
from mmadlib.features.field import FeatureMap

KINDS = ("pca", "random")
ROWS = 20_000  # pixels that a fit looks at
WIDEST = 256


def common_width(c2: int, c3: int, multiple: int, width: int = 0) -> int:
    """The width that both sides are mapped to; 0: none, they fit as they are.

    width 0 leaves equal widths alone if `multiple` (heads) divides them, else takes min(256, the smaller one) rounded down
    to it. Raises SettingsError for a width that heads do not divide, or when none is left.
    """
    if not width and c2 == c3 and c2 % multiple == 0:
        return 0
    width = width or min(WIDEST, c2, c3) // multiple * multiple
    if not 0 < width or width % multiple:
        raise SettingsError(f"width {width}: features of widths {c2} and {c3} need a multiple of {multiple} heads; give other "
                            "heads, or a width")
    return width


class Reduction:
    """x -> (x - offset) @ matrix / scale for one side; scale is the root mean square of what it was fitted on.

    kind: pca (offset is the mean) | random (a seeded Gaussian matrix); width 0: the features themselves.
    """

    def __init__(self, offset: torch.Tensor, matrix: torch.Tensor) -> None:
        self.offset, self.matrix = offset, matrix

    @classmethod
    def fit(cls, rows: torch.Tensor, width: int, kind: str = "pca", seed: int = 0) -> Reduction:
        """From pixel features (n, C). Raises SettingsError when a PCA is to widen them, TrainingError with too few rows."""
        rng, n = np.random.default_rng(seed), len(rows)
        if n > ROWS:
            rows = rows[torch.from_numpy(np.sort(rng.choice(n, ROWS, replace=False)))]
        offset, matrix = torch.zeros(rows.shape[1]), torch.ones(())
        if width and kind == "pca":
            if width > rows.shape[1]:
                raise SettingsError(f"width={width}: features of width {rows.shape[1]} have fewer principal components; lower "
                                    "it, or set project='random'")
            if n < width:
                raise TrainingError(f"{n} training pixels are too few for {width} principal components; give more")
            pca = PCA(width, svd_solver="covariance_eigh").fit(rows.double().numpy())
            offset, matrix = (torch.from_numpy(x).float() for x in (pca.mean_, pca.components_.T.copy()))
        elif width:
            matrix = torch.from_numpy(rng.normal(size=(rows.shape[1], width)) / rows.shape[1] ** 0.5).float()
        scale = cls(offset, matrix)._apply(rows).square().mean().sqrt().clamp_min(1e-12)
        return cls(offset, matrix / scale)

    def _apply(self, x: torch.Tensor) -> torch.Tensor:
        x, matrix = x - self.offset.to(x.device), self.matrix.to(x.device)
        return x @ matrix if matrix.ndim else x * matrix

    def __call__(self, fmap: FeatureMap) -> FeatureMap:
        """The map over reduced tokens (T, width)."""
        return fmap.with_tokens(self._apply(fmap.tokens))
