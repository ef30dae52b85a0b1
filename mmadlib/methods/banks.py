"""Memory banks: a greedy coreset of features, and their nearest neighbours. Shared by all bank-based methods.

Source: greedy k-centre as in PatchCore (Roth et al., CVPR 2022, algorithm 1; amazon-science/patchcore-inspection
src/patchcore/sampler.py) and M3DM (nomewang/M3DM feature_extractors/features.py). The two differ in where they start:
give `reach` to start as they do. Search by cosine as in CFR (Yuan-Honoka-Guo/CFR test_memory_bank.py).
"""

from __future__ import annotations

import faiss
import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Float32, Int, Int64
from sklearn.random_projection import SparseRandomProjection, johnson_lindenstrauss_min_dim

CHUNK = 8192  # queries searched at once
PRODUCTS = 2**25  # cosines held at once, 128 MiB


def distances_to(x: Float[torch.Tensor, "n C"], row: Float[torch.Tensor, " C"],
                 squares: Float[torch.Tensor, " n"]) -> Float[torch.Tensor, " n"]:
    """Euclidean distances of the rows of x to one row, given squares = (x**2).sum(1)."""
    return (squares - 2 * (x @ row) + row @ row).clamp_min(0).sqrt()


def greedy_coreset(x: Float[torch.Tensor | np.ndarray, "n C"], k: int, seed: int = 0,
                   reach: Float[torch.Tensor, " n"] | None = None, distinct: bool = False) -> Int64[np.ndarray, " k"]:
    """k rows of x that cover it, in order: the row furthest from the rows chosen so far, again and again.

    reach  distances that the search starts from; default: the first row is drawn from `seed`. Infinite distances choose
           row 0 first (M3DM); `mean_reach` and `norm_reach` are PatchCore's. k is clipped to n; no row is taken twice.
    distinct  stop, with fewer than k rows, once every row left equals a chosen one (up to the round-off of products)
    """
    x = torch.as_tensor(x).float()
    x = x - x.mean(0)  # distances come from products: centred ones lose fewer digits
    squares = (x**2).sum(1)
    if reach is None:
        first = int(np.random.default_rng(seed).integers(len(x)))
        reach = distances_to(x, x[first], squares)
        reach[first] = torch.inf
    reach = torch.as_tensor(reach, device=x.device).float()
    chosen: list[int] = []
    zero = 1e-3 * float(squares.max()) ** 0.5 if distinct else -torch.inf
    for _ in range(min(k, len(x))):
        if chosen and reach.max() <= zero:
            break
        chosen.append(int(reach.argmax()))
        reach = torch.minimum(reach, distances_to(x, x[chosen[-1]], squares))
        reach[chosen[-1]] = -1  # never again, not even among equal rows
    return np.array(chosen, dtype=np.int64)


def mean_reach(x: Float[torch.Tensor | np.ndarray, "n C"], rows: Int[np.ndarray, " k"]) -> Float32[torch.Tensor, " n"]:
    """Mean distance of the rows of x to some of them: the start of PatchCore's approximate coreset."""
    x = torch.as_tensor(x).float()
    return torch.cdist(x, x[torch.as_tensor(rows)]).mean(1)


def norm_reach(x: Float[torch.Tensor | np.ndarray, "n C"]) -> Float32[torch.Tensor, " n"]:
    """Norm of each row of the distance matrix of x: the start of PatchCore's exact coreset."""
    x = torch.as_tensor(x).float()
    return torch.cat([torch.cdist(some, x).norm(dim=1) for some in x.split(CHUNK)])


def project(x: Float[torch.Tensor | np.ndarray, "n C"], seed: int = 0, eps: float = 0.9) -> Float32[torch.Tensor, "n c"]:
    """Sparse random projection that keeps distances to 1 +- eps, to make a coreset search cheaper.

    x is returned as it is when C is not larger than the width that eps asks for (M3DM's rule, eps 0.9).
    """
    x = torch.as_tensor(x).float()
    if x.shape[1] <= johnson_lindenstrauss_min_dim(len(x), eps=eps):
        return x
    projection = SparseRandomProjection(eps=eps, random_state=seed, dense_output=True)
    return torch.from_numpy(projection.fit_transform(x.numpy()).astype(np.float32))


def dense_projection(width: int, to: int = 128, seed: int = 0) -> Float32[torch.Tensor, "width to"]:
    """Matrix of an untrained linear layer without bias: PatchCore's projection before a search; CFR's, too."""
    generator = torch.Generator().manual_seed(seed)
    return (2 * torch.rand(width, to, generator=generator) - 1) / width**0.5


class Bank:
    """Rows (n, C) float32 and their exact Euclidean nearest neighbours. `rows` is the tensor to save."""

    def __init__(self, rows: torch.Tensor | np.ndarray) -> None:
        self.rows = torch.as_tensor(rows).detach().float().cpu().contiguous()
        if self.rows.ndim != 2 or len(self.rows) == 0:
            raise ValueError(f"a bank needs rows (n, C), n >= 1, not {tuple(self.rows.shape)}")
        self.index = faiss.IndexFlatL2(self.rows.shape[1])
        self.index.add(self.rows.numpy())

    def __len__(self) -> int:
        return len(self.rows)

    def distance(self, query: Float[torch.Tensor | np.ndarray, "m C"],
                 k: int = 1) -> tuple[Float32[torch.Tensor, "m k"], Int64[torch.Tensor, "m k"]]:
        """Distances and row indices of the k rows nearest to each query, nearest first.

        k is clipped to the size of the bank. The library's distances come from products and lose digits near zero, so they
        only choose the neighbours; the distances returned are taken from the differences.
        """
        query = torch.as_tensor(query).detach().float().cpu().contiguous()
        k = min(k, len(self))
        found = [self._nearest(some, k) for some in query.split(CHUNK) if len(some)]
        if not found:
            return torch.zeros(0, k), torch.zeros(0, k, dtype=torch.int64)
        distances, indices = zip(*found, strict=True)
        return torch.cat(distances), torch.cat(indices)

    def _nearest(self, query: torch.Tensor, k: int) -> tuple[torch.Tensor, torch.Tensor]:
        index = torch.from_numpy(self.index.search(query.numpy(), k)[1])
        distance = torch.stack([(query - self.rows[column]).norm(dim=1) for column in index.T], dim=1)
        order = distance.argsort(dim=1, stable=True)
        return distance.gather(1, order), index.gather(1, order)


class CosineBank:
    """Rows on any device, searched by cosine in chunks of bounded size. `rows` is the tensor to save."""

    def __init__(self, rows: Float32[torch.Tensor, "n C"]) -> None:
        self.rows, self.unit = rows, F.normalize(rows, dim=1)

    def __len__(self) -> int:
        return len(self.rows)

    @torch.no_grad()
    def nearest(self, query: Float[torch.Tensor, "m C"], k: int = 1, own: Int[torch.Tensor, " m"] | None = None,
                owner: Int[torch.Tensor, " n"] | None = None
                ) -> tuple[Float32[torch.Tensor, "m k"], Int64[torch.Tensor, "m k"]]:
        """Cosines and row indices of the k rows most similar to each query, the best first.

        own, owner  labels of queries and rows: rows with the label of the query are no neighbours of it (cosine -inf)
        k is clipped to the size of the bank; the cosine with a zero row or query is 0.
        """
        k, size, found = min(k, len(self)), max(1, PRODUCTS // len(self)), []
        for start in range(0, max(1, len(query)), size):
            with torch.autocast(query.device.type, enabled=False):
                cosine = F.normalize(query[start:start + size].float(), dim=1) @ self.unit.T
            if own is not None:
                cosine[own[start:start + size, None] == owner] = -torch.inf
            found.append(cosine.topk(k, dim=1))
        return torch.cat([f.values for f in found]), torch.cat([f.indices for f in found])
