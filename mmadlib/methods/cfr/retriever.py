"""Attention retriever: a feature made of the few most similar normal ones.

Facts: CFR, Yuan-Honoka-Guo/CFR models/attention_retrieval.py.
"""

from __future__ import annotations

import torch
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

    def weights(self, query: torch.Tensor, keys: torch.Tensor) -> torch.Tensor:
        """softmax(q . k / sqrt(width)) over the neighbours: (n, C), (n, k, C) -> (n, k), rows sum to 1."""
        q, k = self.query(query), self.key(keys)
        return ((q[:, None] * k).sum(-1) / q.shape[-1] ** 0.5).softmax(-1)

    def forward(self, query: torch.Tensor, keys: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
        """(n, C), keys (n, k, C) and values (n, k, C') of the neighbours -> (n, C')."""
        return self.out((self.weights(query, keys)[..., None] * self.value(values)).sum(1))
