"""The networks of CMDR-IAD: mapping between the modalities, and a decoder that reconstructs each modality from itself.

Shapes: B images, N = h * w tokens in raster order, C channels. Layers and their names: ECGAI-Research/CMDR-IAD networks/
Map.py, Dec2d.py, Dec3d.py; the widths given there (C2 = 768, C3 = 1152) are the defaults here or follow from C.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import nn

UPSAMPLING = 32  # five transposed convolutions of stride 2


class Mapping(nn.Module):
    """Token by token; unlike CFM's mapper it has layer norms and dropout."""

    def __init__(self, c_in: int, c_out: int, hidden: int, dropout: float = 0.1) -> None:
        super().__init__()
        self.input = nn.Linear(c_in, hidden)
        self.projection = nn.Sequential(nn.Linear(hidden, hidden), nn.GELU(), nn.LayerNorm(hidden), nn.Dropout(dropout),
                                        nn.Linear(hidden, hidden), nn.GELU(), nn.LayerNorm(hidden))
        self.output = nn.Linear(hidden, c_out)

    def forward(self, x: Float[torch.Tensor, "... c_in"]) -> Float[torch.Tensor, "... c_out"]:
        return self.output(self.projection(F.gelu(self.input(x))))


def _squeeze(width: int, inner: int, dropout: float) -> nn.Sequential:
    """The entry of both decoders: two linear layers, each with GELU and layer norm."""
    return nn.Sequential(nn.Linear(width, inner), nn.GELU(), nn.LayerNorm(inner), nn.Dropout(dropout),
                         nn.Linear(inner, inner), nn.GELU(), nn.LayerNorm(inner))


class WindowAttention(nn.Module):
    """Self-attention inside windows of consecutive raster tokens, without overlap or position code.

    A last window that is not full gets keys and values of zero, which take part in the softmax as in the official code.
    """

    def __init__(self, width: int, heads: int = 8, window: int = 128, dropout: float = 0.1) -> None:
        super().__init__()
        self.heads, self.window, self.dropout = heads, window, dropout
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Float[torch.Tensor, "B N r"]) -> Float[torch.Tensor, "B N r"]:
        batch, n, width = x.shape
        windows = -(-n // self.window)
        qkv = F.pad(self.qkv(x), (0, 0, 0, windows * self.window - n))
        # (3, B * windows, heads, window, r / heads); the scale 1 / sqrt(r / heads) is the function's own
        q, k, v = qkv.reshape(batch * windows, self.window, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        out = F.scaled_dot_product_attention(q, k, v, dropout_p=self.dropout if self.training else 0.0)
        out = out.transpose(1, 2).reshape(batch, windows * self.window, width)[:, :n]
        return F.dropout(self.proj(out), self.dropout, self.training)


class Block(nn.Module):
    """Pre-norm transformer block: x + Attn(LN x), then x + MLP(LN x), the MLP twice as wide inside."""

    def __init__(self, width: int, heads: int, window: int, dropout: float) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attn = WindowAttention(width, heads, window, dropout)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Dropout(dropout),
                                 nn.Linear(2 * width, width), nn.Dropout(dropout))

    def forward(self, x: Float[torch.Tensor, "B N r"]) -> Float[torch.Tensor, "B N r"]:
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class Dec2D(nn.Module):
    """Reconstructs RGB tokens. Squeeze to r, one attention block, three 3x3 convolutions, widen.

    size    (h, w) of the token grid
    inner   r, C // 2 as published; a multiple of `heads`
    middle  channels between the convolutions
    """

    def __init__(self, channels: int, size: tuple[int, int], inner: int | None = None, heads: int = 8, window: int = 128,
                 middle: Sequence[int] = (256, 128), dropout: float = 0.1) -> None:
        super().__init__()
        self.size, inner = size, inner or channels // 2
        self.projection = _squeeze(channels, inner, dropout)
        self.attn = Block(inner, heads, window, dropout)
        widths = (inner, *middle, inner)
        self.conv_decoder = nn.Sequential(*(layer for a, b in pairwise(widths) for layer in
                                            (nn.ConvTranspose2d(a, b, 3, padding=1), nn.BatchNorm2d(b), nn.GELU())))
        self.reconstruct = nn.Sequential(nn.Linear(inner, 2 * channels), nn.GELU(), nn.Dropout(dropout),
                                         nn.Linear(2 * channels, channels), nn.LayerNorm(channels))

    def forward(self, x: Float[torch.Tensor, "B N C"]) -> Float[torch.Tensor, "B N C"]:
        x = self.attn(self.projection(x))
        image = x.transpose(1, 2).reshape(len(x), -1, *self.size)
        return self.reconstruct(self.conv_decoder(image).flatten(2).transpose(1, 2))


class Dec3D(nn.Module):
    """Reconstructs 3D tokens along the token axis, every value in (-1, 1).

    The N values of a channel are squeezed to N / 32 by a linear layer, so a weight belongs to a position of the image:
    nothing here is shift-invariant. N is padded with zeros to a multiple of 32 where it is none.

    middle  channels between the transposed convolutions
    """

    def __init__(self, channels: int, tokens: int, middle: Sequence[int] = (768, 512, 256, 128),
                 dropout: float = 0.1) -> None:
        super().__init__()
        steps = -(-tokens // UPSAMPLING)
        self.tokens, self.padding = tokens, steps * UPSAMPLING - tokens
        self.projection = _squeeze(steps * UPSAMPLING, steps, dropout)
        widths = (channels, *middle, channels)
        layers = [layer for a, b in pairwise(widths) for layer in
                  (nn.ConvTranspose1d(a, b, 4, stride=2, padding=1), nn.BatchNorm1d(b), nn.GELU())]
        self.decoder = nn.Sequential(*layers[:-2], nn.Tanh())
        narrow = max(1, channels // 8)
        self.attention = nn.Sequential(nn.AdaptiveAvgPool1d(1), nn.Conv1d(channels, narrow, 1), nn.ReLU(),
                                       nn.Conv1d(narrow, channels, 1), nn.Sigmoid())

    def forward(self, x: Float[torch.Tensor, "B N C"]) -> Float[torch.Tensor, "B N C"]:
        x = F.pad(x.transpose(1, 2), (0, self.padding))
        x = self.decoder(self.projection(x))[..., :self.tokens]
        return (x * self.attention(x)).transpose(1, 2)
