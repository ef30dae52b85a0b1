"""Losses of very many pixels in the memory of a few."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch.utils.checkpoint import checkpoint

from mmadlib.methods.training import Terms


def in_chunks(losses: Callable[..., Terms], *features: Float[torch.Tensor, "n _"], size: int) -> Terms:
    """losses(*features) for losses that are means over the rows: the weighted mean of chunks of `size` rows.

    Each chunk is computed once more for its gradient, so that activations of one chunk exist at a time; with n <= size
    nothing changes.
    """
    n = len(features[0])
    if n <= size:
        return losses(*features)
    parts = list(zip(*(f.split(size) for f in features), strict=True))
    found = [checkpoint(losses, *part, use_reentrant=False) for part in parts]
    return {term: sum(f[term] * (len(part[0]) / n) for f, part in zip(found, parts, strict=True)) for term in found[0]}
