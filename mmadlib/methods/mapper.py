"""The MLP that maps one modality's features to the other's; its first layer may run on tokens."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import nn

from mmadlib.checks import one_of
from mmadlib.features.field import FeatureMap, blend

HIDDEN_LAYERS = {"mlp2": 0, "mlp3": 1, "mlp7": 5}  # hidden-to-hidden layers; mlp3 is CFM's, mlp7 its "big", mlp2 CPIR's MLP


class Mapper(nn.Module):
    """Linear layers with exact GELU between, no norm, no dropout.

    Source: CVLAB-Unibo/crossmodal-feature-mapping models/feature_transfer_nets.py; mlp2 from CPIR Sec. 4.1.
    """

    def __init__(self, c_in: int, c_out: int, hidden: int, kind: str = "mlp3") -> None:
        super().__init__()
        one_of("mapper", kind, HIDDEN_LAYERS)
        self.input = nn.Linear(c_in, hidden)
        self.projection = nn.ModuleList(nn.Linear(hidden, hidden) for _ in range(HIDDEN_LAYERS[kind]))
        self.output = nn.Linear(hidden, c_out)

    def after_input(self, x: Float[torch.Tensor, "*n h"]) -> Float[torch.Tensor, "*n c_out"]:
        """The layers behind the first linear one."""
        x = F.gelu(x)
        for layer in self.projection:
            x = F.gelu(layer(x))
        return self.output(x)

    def forward(self, x: Float[torch.Tensor, "*n c_in"]) -> Float[torch.Tensor, "*n c_out"]:
        return self.after_input(self.input(x))

    def at(self, fmap: FeatureMap, pixels: Int[np.ndarray, " n"]) -> Float[torch.Tensor, "n c_out"]:
        """The same at pixels of a map: the first layer commutes with the interpolation, so it runs on tokens."""
        return self.after_input(linear_at(self.input, fmap, pixels))


class GatedMapper(Mapper):
    """x -> Linear(c_in, 2h) -> halves (gate, value) -> GELU(gate) * value -> Linear(h, c_out).

    Source: CFR, Yuan-Honoka-Guo/CFR models/feature_transfer_nets.py.
    """

    def __init__(self, c_in: int, c_out: int, hidden: int) -> None:
        super().__init__(c_in, c_out, hidden, "mlp2")
        self.input = nn.Linear(c_in, 2 * hidden)

    def after_input(self, x: Float[torch.Tensor, "*n _"]) -> Float[torch.Tensor, "*n c_out"]:
        gate, value = x.chunk(2, dim=-1)
        return self.output(F.gelu(gate) * value)


def linear_at(layer: nn.Linear, fmap: FeatureMap, pixels: Int[np.ndarray, " n"]) -> Float[torch.Tensor, "n c_out"]:
    """A linear layer at pixels of a map, computed on its tokens: exact, and cheaper than on the pixels."""
    return blend(fmap.interp[pixels], fmap.tokens @ layer.weight.T) + layer.bias
