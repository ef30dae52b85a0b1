"""CFR's memory of normal samples: which reconstructed features to trust, and what to put in the place of the others.

Symbols for the direction that reconstructs RGB from 3D, as published: B2 rows of normal RGB features; keys, normal 3D
features of width C, with values, the RGB features of the same pixels, of width D; rho the unreliability of a reconstruction,
in [0, 2].
Facts: Yuan-Honoka-Guo/CFR construct_memory_bank.py, models/sampler.py, test_memory_bank.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float32, Int64
from torch import nn

from mmadlib.features.field import FeatureMap
from mmadlib.methods.banks import CosineBank, dense_projection, greedy_coreset, mean_reach

STARTS = 10  # random rows that the coreset search measures its first distances from
THIN = 128  # width of the projection that the search runs on


@dataclass(frozen=True, eq=False)
class Memory:
    """Banks of one direction, and where their rows come from: image number and flat pixel.

    trusted  B2: normal features of the reconstructed modality
    keys     normal features of the other modality; `values` belong to the same pixels
    """

    trusted: CosineBank
    trusted_from: Int64[torch.Tensor, "b 2"]
    keys: CosineBank
    values: Float32[torch.Tensor, "m D"]
    pairs_from: Int64[torch.Tensor, "m 2"]

    def unreliability(self, reconstructed: Float[torch.Tensor, "n D"],
                      origin: Int64[torch.Tensor, "n 2"] | None = None) -> Float32[torch.Tensor, " n"]:
        """rho = 1 - max_j cos(reconstructed, B2_j).

        origin  for pixels that the bank was chosen from: rows of their own image do not count; where all rows come
                from one image, only the row of the own pixel does not
        """
        labels: tuple[torch.Tensor, ...] = ()
        if origin is not None:
            column = 0 if (self.trusted_from[:, 0] != self.trusted_from[0, 0]).any() else 1
            labels = origin[:, column], self.trusted_from[:, column]
        return 1 - self.trusted.nearest(reconstructed, 1, *labels)[0][:, 0]

    def neighbours(self, query: Float[torch.Tensor, "n C"], k: int, origin: Int64[torch.Tensor, "n 2"] | None = None
                   ) -> tuple[Float32[torch.Tensor, "n k C"], Float32[torch.Tensor, "n k D"]]:
        """Keys and values most similar to the queries, by the cosine of the raw keys.

        origin  leave out the pair of the query's own pixel
        """
        labels = () if origin is None else (pixel_label(origin), pixel_label(self.pairs_from))
        index = self.keys.nearest(query, k, *labels)[1]
        return self.keys.rows[index], self.values[index]

    def replacement(self, query: Float[torch.Tensor, "n C"], observed: Float[torch.Tensor, "n D"], rule: str, k: int,
                    retriever: nn.Module | None = None) -> Float[torch.Tensor, "n D"]:
        """What stands in for an unreliable reconstruction.

        attention    retriever over the k pairs whose keys are most similar to the query, as published
        topk_mean    the mean of their values
        nn_observed  the row of B2 most similar to the OBSERVED feature: such pixels are judged as PatchCore judges them
        """
        if rule == "nn_observed":
            return self.trusted.rows[self.trusted.nearest(observed)[1][:, 0]]
        keys, values = self.neighbours(query, k)
        if rule == "topk_mean":
            return values.mean(1)
        assert retriever is not None  # attention needs one
        return retriever(query, keys, values)

    def subset(self, size: int, seed: int | list[int]) -> Memory:
        """The same with at most `size` of the pairs, drawn at random; 0: all of them."""
        if not 0 < size < len(self.keys):
            return self
        drawn = torch.from_numpy(np.random.default_rng(seed).choice(len(self.keys), size, replace=False))
        drawn = drawn.to(self.values.device)
        return Memory(self.trusted, self.trusted_from, CosineBank(self.keys.rows[drawn]), self.values[drawn],
                      self.pairs_from[drawn])

    def state(self) -> dict[str, torch.Tensor]:
        """The tensors to save."""
        return {"trusted": self.trusted.rows, "trusted_from": self.trusted_from, "keys": self.keys.rows, "values": self.values,
                "pairs_from": self.pairs_from}

    @classmethod
    def restored(cls, state: dict[str, torch.Tensor]) -> Memory:
        """The memory whose `state` this is."""
        return cls(CosineBank(state["trusted"]), state["trusted_from"], CosineBank(state["keys"]), state["values"],
                   state["pairs_from"])


def pixel_label(origin: Int64[torch.Tensor, "n 2"]) -> Int64[torch.Tensor, " n"]:
    """One number for image and pixel."""
    return origin[:, 0] << 32 | origin[:, 1]


def draw(pixels: Mapping[int, Int64[np.ndarray, " _"]], total: int, seed: list[int]) -> Int64[torch.Tensor, "n 2"]:
    """About `total` of the pixels {image: flat indices}, as many of each image, none twice; 0: all of them."""
    rng, share, drawn = np.random.default_rng(seed), -(-total // len(pixels)), []
    for image, found in pixels.items():
        if 0 < share < len(found):
            found = np.sort(rng.choice(found, share, replace=False))
        drawn.append(np.stack([np.full(len(found), image), found], axis=1))
    return torch.from_numpy(np.concatenate(drawn))


def remember(maps: Sequence[FeatureMap], others: Sequence[FeatureMap], candidates: Int64[torch.Tensor, "n 2"], share: float,
             seed: int) -> Memory:
    """Fill the banks from maps of the reconstructed modality and of the other one; candidates in order of images.

    B2 covers the features of `maps`, the pairs those of `others`: the values follow their keys.
    """
    trusted, pairs = choose_rows(maps, candidates, share, seed), choose_rows(others, candidates, share, seed)
    return Memory(CosineBank(gather(maps, trusted)), trusted, CosineBank(gather(others, pairs)), gather(maps, pairs), pairs)


def choose_rows(maps: Sequence[FeatureMap], candidates: Int64[torch.Tensor, "n 2"], share: float,
                seed: int) -> Int64[torch.Tensor, "rows 2"]:
    """A share of the candidate pixels that covers their features: greedy k-centre on a seeded 128-d projection.

    Tokens are projected, not pixels: both maps are linear, so the features of all pixels never exist at full width. Fewer
    rows come back where the candidates hold fewer distinct features (invalid pixels share one zero).
    """
    if share == 1:
        return candidates
    if maps[0].channels > THIN:
        matrix = dense_projection(maps[0].channels, THIN, seed).to(maps[0].tokens.device)
        maps = [m.with_tokens(m.tokens @ matrix) for m in maps]
    thin = gather(maps, candidates)
    starts = np.random.default_rng(seed).choice(len(thin), min(STARTS, len(thin)), replace=False)
    rows = max(1, int(share * len(thin)))
    return candidates[np.sort(greedy_coreset(thin, rows, reach=mean_reach(thin, starts), distinct=True))]


def gather(maps: Sequence[FeatureMap], origin: Int64[torch.Tensor, "n 2"]) -> Float32[torch.Tensor, "n C"]:
    """Features at pixels of several images, in order of images."""
    image, pixel = origin.cpu().numpy().T
    return torch.cat([maps[i].at(pixel[image == i]) for i in np.unique(image)])
