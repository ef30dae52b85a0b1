"""Memory banks: a greedy coreset of features, and their nearest neighbours. Shared by all bank-based methods.

Source: greedy k-centre as in PatchCore (Roth et al., CVPR 2022, algorithm 1; amazon-science/patchcore-inspection
src/patchcore/sampler.py) and M3DM (nomewang/M3DM feature_extractors/features.py). The two differ in where they start:
give `reach` to start as they do.
"""

from __future__ import annotations

import faiss
import numpy as np
import torch
from sklearn.random_projection import SparseRandomProjection, johnson_lindenstrauss_min_dim

CHUNK = 8192  # queries searched at once


def distances_to(x: torch.Tensor, row: torch.Tensor, squares: torch.Tensor) -> torch.Tensor:
    """Euclidean distances (n,) of the rows of x (n, C) to one row (C,), given squares = (x**2).sum(1)."""
    return (squares - 2 * (x @ row) + row @ row).clamp_min(0).sqrt()


def greedy_coreset(x: torch.Tensor, k: int, seed: int = 0, reach: torch.Tensor | None = None) -> np.ndarray:
    """k rows of x (n, C) that cover it: the row furthest from the rows chosen so far, again and again. int64 (k,), in order.

    reach  distances (n,) that the search starts from; default: the first row is drawn from `seed`. Infinite distances choose
           row 0 first (M3DM); `mean_reach` and `norm_reach` are PatchCore's. k is clipped to n; rows are distinct.
    """
    x = torch.as_tensor(x).float()
    x = x - x.mean(0)  # distances come from products: centred ones lose fewer digits
    squares = (x**2).sum(1)
    if reach is None:
        first = int(np.random.default_rng(seed).integers(len(x)))
        reach = distances_to(x, x[first], squares)
        reach[first] = torch.inf
    reach = torch.as_tensor(reach, device=x.device).float()
    chosen = []
    for _ in range(min(k, len(x))):
        chosen.append(int(reach.argmax()))
        reach = torch.minimum(reach, distances_to(x, x[chosen[-1]], squares))
        reach[chosen[-1]] = -1  # never again, not even among equal rows
    return np.array(chosen, dtype=np.int64)


def mean_reach(x: torch.Tensor, rows: np.ndarray) -> torch.Tensor:
    """Mean distance (n,) of the rows of x (n, C) to some of them: the start of PatchCore's approximate coreset."""
    x = torch.as_tensor(x).float()
    return torch.cdist(x, x[torch.as_tensor(rows)]).mean(1)


def norm_reach(x: torch.Tensor) -> torch.Tensor:
    """Norm (n,) of each row of the distance matrix of x (n, C): the start of PatchCore's exact coreset."""
    x = torch.as_tensor(x).float()
    return torch.cat([torch.cdist(some, x).norm(dim=1) for some in x.split(CHUNK)])


def project(x: torch.Tensor, seed: int = 0, eps: float = 0.9) -> torch.Tensor:
    """Sparse random projection (n, C) -> (n, c) that keeps distances to 1 +- eps, to make a coreset search cheaper.

    x is returned as it is when C is not larger than the width that eps asks for (M3DM's rule, eps 0.9).
    """
    x = torch.as_tensor(x).float()
    if x.shape[1] <= johnson_lindenstrauss_min_dim(len(x), eps=eps):
        return x
    projection = SparseRandomProjection(eps=eps, random_state=seed, dense_output=True)
    return torch.from_numpy(projection.fit_transform(x.numpy()).astype(np.float32))


class Bank:
    """Rows (n, C) float32 and their exact Euclidean nearest neighbours. `rows` is the tensor to save."""

    def __init__(self, rows: torch.Tensor) -> None:
        self.rows = torch.as_tensor(rows).detach().float().cpu().contiguous()
        if self.rows.ndim != 2 or len(self.rows) == 0:
            raise ValueError(f"a bank needs rows (n, C), n >= 1, not {tuple(self.rows.shape)}")
        self.index = faiss.IndexFlatL2(self.rows.shape[1])
        self.index.add(self.rows.numpy())

    def __len__(self) -> int:
        return len(self.rows)

    def distance(self, query: torch.Tensor, k: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
        """Distances (m, k) float32 and row indices (m, k) int64 of the k nearest rows of query (m, C), nearest first.

        k is clipped to the size of the bank. The library's distances come from products and lose digits near zero, so they
        only choose the neighbours; the distances returned are taken from the differences.
        """
        query = torch.as_tensor(query).detach().float().cpu().contiguous()
        k = min(k, len(self))
        found = [self._nearest(some, k) for some in query.split(CHUNK) if len(some)]
        if not found:
            return torch.zeros(0, k), torch.zeros(0, k, dtype=torch.int64)
        return tuple(torch.cat(part) for part in zip(*found, strict=True))

    def _nearest(self, query: torch.Tensor, k: int) -> tuple[torch.Tensor, torch.Tensor]:
        index = torch.from_numpy(self.index.search(query.numpy(), k)[1])
        distance = torch.stack([(query - self.rows[column]).norm(dim=1) for column in index.T], dim=1)
        order = distance.argsort(dim=1, stable=True)
        return distance.gather(1, order), index.gather(1, order)
