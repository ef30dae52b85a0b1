"""AST's student: an ordinary convolutional network that imitates the flow on normal samples, and so cannot off them.

Source: marco-rudolph/AST model.py.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import nn


class Residual(nn.Module):
    """x + (conv, BN, LeakyReLU, conv, BN, LeakyReLU)(x)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(*(layer for _ in range(2) for layer in (
            nn.Conv2d(width, width, 3, padding=1), nn.BatchNorm2d(width), nn.LeakyReLU())))

    def forward(self, x: Float[torch.Tensor, "B C h w"]) -> Float[torch.Tensor, "B C h w"]:
        return x + self.layers(x)


class Student(nn.Module):
    """Position and input -> z_s, as wide as the input. Published: width 1024, 4 blocks, 77 to 83 million parameters."""

    def __init__(self, channels: int, width: int = 1024, condition: int = 32, blocks: int = 4) -> None:
        super().__init__()
        self.enter = nn.Sequential(nn.Conv2d(channels + condition, width, 3, padding=1), nn.LeakyReLU())
        self.blocks = nn.Sequential(*(Residual(width) for _ in range(blocks)))
        self.leave = nn.Conv2d(width, channels, 3, padding=1)

    def forward(self, x: Float[torch.Tensor, "B C h w"],
                condition: Float[torch.Tensor, "B P h w"]) -> Float[torch.Tensor, "B C h w"]:
        return self.leave(self.blocks(self.enter(torch.cat([condition, x], dim=1))))


def imitation_error(z_t: Float[torch.Tensor, "B C h w"], z_s: Float[torch.Tensor, "B C h w"],
                    m: Float[torch.Tensor, "B h w"]) -> Float[torch.Tensor, "B h w"]:
    """Mean over channels of m (z_t - z_s)^2: the student's loss, and the score of a position."""
    return m * ((z_t - z_s) ** 2).mean(1)
