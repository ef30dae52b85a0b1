"""Attention retriever: a feature made of the few most similar normal ones.

Facts: CFR, Yuan-Honoka-Guo/CFR models/attention_retrieval.py.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import nn


class Retriever(nn.Module):
    """Attention of a query over its own few keys, without biases: q = Wq f, k = Wk key, v = Wv value, out = Wo sum w v.

    As published, Wo falls away where the width is that of the values.
    """

    def __init__(self, c_key: int, c_value: int, width: int = 128) -> None:
        super().__init__()
        self.query, self.key = nn.Linear(c_key, width, bias=False), nn.Linear(c_key, width, bias=False)
        self.value = nn.Linear(c_value, width, bias=False)
        self.out = nn.Identity() if width == c_value else nn.Linear(width, c_value, bias=False)

    def weights(self, query: Float[torch.Tensor, "n C"], keys: Float[torch.Tensor, "n k C"]) -> Float[torch.Tensor, "n k"]:
        """softmax(q . k / sqrt(width)) over the k neighbours of each query; rows sum to 1."""
        q, k = self.query(query), self.key(keys)
        return ((q[:, None] * k).sum(-1) / q.shape[-1] ** 0.5).softmax(-1)

    def forward(self, query: Float[torch.Tensor, "n C"], keys: Float[torch.Tensor, "n k C"],
                values: Float[torch.Tensor, "n k D"]) -> Float[torch.Tensor, "n D"]:
        """The feature that the values of the k neighbours make."""
        return self.out((self.weights(query, keys)[..., None] * self.value(values)).sum(1))
