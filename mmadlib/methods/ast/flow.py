"""AST's teacher: a normalising flow of affine couplings, conditioned on the position.

Source: marco-rudolph/AST model.py and freia_funcs.py (blocks of FrEIA: VLL-HD/FrEIA).
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import nn

CLAMP = 1.9  # of the logarithm of a scale, before the factor below
LIMIT = 1e6  # of what a block puts out


def position_code(channels: int, grid: tuple[int, int]) -> Float32[torch.Tensor, "{channels} h w"]:
    """Sines and cosines by turns of the column (first half of the channels) and of the row of each cell.

    Frequencies 10^(-8 j / channels) for j = 0 .. channels / 4 - 1 to the base 10^4: 1e4^(-4 j / channels).
    """
    h, w = grid
    frequency = 1e4 ** (-torch.arange(channels // 4, dtype=torch.float64) * 4 / channels)

    def waves(n: int) -> torch.Tensor:
        angle = torch.arange(n, dtype=torch.float64) * frequency[:, None]
        return torch.stack([angle.sin(), angle.cos()], dim=1).flatten(0, 1)

    column, row = waves(w)[:, None].expand(-1, h, -1), waves(h)[:, :, None].expand(-1, -1, w)
    return torch.cat([column, row]).float()


class Subnet(nn.Module):
    """s and t of a coupling: conv, ReLU, conv, times gamma, which starts at 0: so the flow starts as a permutation."""

    def __init__(self, inside: int, hidden: int, outside: int, kernel: int) -> None:
        super().__init__()
        conv = {"padding": kernel // 2, "padding_mode": "replicate"}
        self.conv1 = nn.Conv2d(inside, hidden, kernel, **conv)  # type: ignore[arg-type]  # values of two types
        self.conv2 = nn.Conv2d(hidden, outside, kernel, **conv)  # type: ignore[arg-type]
        self.gamma = nn.Parameter(torch.zeros(1))

    def forward(self, x: Float[torch.Tensor, "B _ h w"]) -> tuple[torch.Tensor, torch.Tensor]:
        """(log of the scale, shift), each with half of the channels."""
        s, t = (self.gamma * self.conv2(torch.relu(self.conv1(x)))).chunk(2, dim=1)
        return CLAMP * 0.636 * torch.atan(s / CLAMP), t


class Coupling(nn.Module):
    """y1 = exp(s2) x1 + t2 with (s2, t2) from x2, then y2 = exp(s1) x2 + t1 with (s1, t1) from y1; both see the position."""

    def __init__(self, channels: int, hidden: int, condition: int, kernel: int) -> None:
        super().__init__()
        self.split = (channels // 2, channels - channels // 2)
        one, two = self.split
        self.s1 = Subnet(one + condition, hidden, 2 * two, kernel)
        self.s2 = Subnet(two + condition, hidden, 2 * one, kernel)

    def forward(self, x: Float[torch.Tensor, "B C h w"], condition: Float[torch.Tensor, "B P h w"]
                ) -> tuple[Float[torch.Tensor, "B C h w"], Float[torch.Tensor, "B h w"]]:
        """y, and log |det J| of each position."""
        x1, x2 = x.split(self.split, dim=1)
        s2, t2 = self.s2(torch.cat([x2, condition], dim=1))
        y1 = s2.exp() * x1 + t2
        s1, t1 = self.s1(torch.cat([y1, condition], dim=1))
        y = torch.cat([y1, s1.exp() * x2 + t1], dim=1)
        return y.clamp(-LIMIT, LIMIT), s1.sum(1) + s2.sum(1)

    def inverse(self, y: Float[torch.Tensor, "B C h w"],
                condition: Float[torch.Tensor, "B P h w"]) -> Float[torch.Tensor, "B C h w"]:
        """The x of a y."""
        y1, y2 = y.split(self.split, dim=1)
        s1, t1 = self.s1(torch.cat([y1, condition], dim=1))
        x2 = (y2 - t1) * (-s1).exp()
        s2, t2 = self.s2(torch.cat([x2, condition], dim=1))
        return torch.cat([(y1 - t2) * (-s2).exp(), x2], dim=1)


class Flow(nn.Module):
    """The teacher: `blocks` times a fixed permutation of the channels (drawn from the number of the block) and a coupling.

    Kernels are 3 x 3, those of the last block 5 x 5.
    """

    def __init__(self, channels: int, hidden: int = 64, condition: int = 32, blocks: int = 4) -> None:
        super().__init__()
        self.order = [torch.from_numpy(np.random.RandomState(i).permutation(channels)) for i in range(blocks)]
        self.couplings = nn.ModuleList(Coupling(channels, hidden, condition, 3 if i < blocks - 1 else 5)
                                       for i in range(blocks))

    def forward(self, x: Float[torch.Tensor, "B C h w"], condition: Float[torch.Tensor, "B P h w"]
                ) -> tuple[Float[torch.Tensor, "B C h w"], Float[torch.Tensor, "B h w"]]:
        """z_t, and log |det J| of each position."""
        total = torch.zeros_like(x[:, 0])
        for order, coupling in zip(self.order, self.couplings, strict=True):
            x, volume = coupling(x[:, order], condition)
            total = total + volume
        return x, total

    def inverse(self, z: Float[torch.Tensor, "B C h w"],
                condition: Float[torch.Tensor, "B P h w"]) -> Float[torch.Tensor, "B C h w"]:
        """The x of a z_t."""
        for order, coupling in zip(reversed(self.order), reversed(list(self.couplings)), strict=True):
            z = coupling.inverse(z, condition)[:, order.argsort()]  # type: ignore[operator]  # a module's attribute
        return z


def likelihood_loss(z: Float[torch.Tensor, "B C h w"], volume: Float[torch.Tensor, "B h w"],
                    m: Float[torch.Tensor, "B h w"]) -> Float[torch.Tensor, "B h w"]:
    """-log p of each position up to a constant, weighted: 1/2 sum over channels of m z^2, minus m log |det J|."""
    return 0.5 * (m[:, None] * z**2).sum(1) - m * volume
