"""The first prototypes of PIRN's codebooks (reconstruction: its sources do not say where training starts)."""

from __future__ import annotations

import faiss
import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float32

from mmadlib.errors import TrainingError

INITS = ("kmeans", "random")
ROUNDS = 20  # of k-means


def first_prototypes(tokens: Float32[torch.Tensor, "n D"], k: int, init: str = "kmeans",
                     seed: int = 0) -> Float32[torch.Tensor, "k D"]:
    """k prototypes from training tokens of order one.

    kmeans  the mean token of each cluster of a seeded k-means by cosine;   random  standard normal numbers
    Raises TrainingError with fewer tokens than prototypes.
    """
    if init == "random":
        numbers = np.random.default_rng(seed).normal(size=(k, tokens.shape[1]))
        return torch.from_numpy(numbers.astype(np.float32))
    if len(tokens) < k:
        raise TrainingError(f"{len(tokens)} training tokens are fewer than {k} prototypes; lower K or use a finer grid")
    unit = F.normalize(tokens, dim=1).numpy()
    search = faiss.Kmeans(tokens.shape[1], k, niter=ROUNDS, spherical=True, seed=seed, min_points_per_centroid=1,
                          max_points_per_centroid=len(tokens))
    search.train(unit)
    assert search.centroids is not None  # since it was trained
    nearest = torch.from_numpy((unit @ search.centroids.T).argmax(1))
    count = torch.bincount(nearest, minlength=k)[:, None]
    mean = torch.zeros(k, tokens.shape[1]).index_add_(0, nearest, tokens) / count.clamp_min(1)
    return torch.where(count > 0, mean, torch.from_numpy(search.centroids))
