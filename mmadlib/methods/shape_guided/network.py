"""The SDF network: a PointNet turns a patch into its shape code, a decoder turns code and point into a signed distance.

Source: jayliu0313/Shape-Guided core/model.py; pulling as in Neural-Pull (Ma et al., ICML 2021); geometric initialisation as
in SAL (Atzmon & Lipman, CVPR 2020): before training the field is about that of a sphere with radius RADIUS.
"""

from __future__ import annotations

import math
from itertools import pairwise

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

RADIUS = 0.5
SPHERES = {"behind": (0.0, 0.0, RADIUS), "centre": (0.0, 0.0, 0.0)}  # name -> its middle, in the frame of a patch
TINY = 1e-12  # below the root of a squared gradient


class Encoder(nn.Module):
    """Patch -> f, its shape code: 1x1 convolutions, the maximum over points, two layers; BN and ReLU after each of them.

    width 512 and code 128 are published: 3-64-128-1024, 1024-512-128. Widths in between scale with `width`.
    """

    def __init__(self, width: int = 512, code: int = 128) -> None:
        super().__init__()
        wide, narrow = (3, max(1, width // 8), max(1, width // 4), 2 * width), (2 * width, width, code)
        self.points = nn.ModuleList(_block(a, b) for a, b in pairwise(wide))
        self.whole = nn.ModuleList(_block(a, b) for a, b in pairwise(narrow))

    def forward(self, points: Float[torch.Tensor, "P n 3"]) -> Float[torch.Tensor, "P code"]:
        x = points.flatten(0, 1)
        for layer in self.points:
            x = layer(x)
        x = x.unflatten(0, points.shape[:2]).amax(1)
        for layer in self.whole:
            x = layer(x)
        return x


class Decoder(nn.Module):
    """Code and points -> signed distances; `layers` weight-normalised layers, 7 are published.

    sphere  where the field's first sphere lies: around the patch's mean ("centre", published), or touching it from behind,
            z being the direction of view. A patch is a sheet with copies on both of its sides, and pulling them onto it knows
            no sign: |f| does as well as f. On planes, a field that starts around the sheet is soon positive on both sides;
            one that starts behind it changes sign across it for about the first hundred steps and is smaller on it; after the
            400 of the defaults both are an unsigned distance, and nothing here takes more than |f|
    """

    def __init__(self, width: int = 512, code: int = 128, layers: int = 7, sphere: str = "centre") -> None:
        super().__init__()
        self.code, self.point = nn.Linear(code, width), nn.Linear(3, width)
        self.both = nn.Linear(2 * width, width)
        self.hidden = nn.ModuleList(nn.Linear(width, width) for _ in range(layers))
        self.out = nn.Linear(width, 1)
        for layer in (self.code, self.point, self.both, *self.hidden):
            nn.init.normal_(layer.weight, 0, math.sqrt(2 / layer.out_features))
            nn.init.zeros_(layer.bias)
        nn.init.zeros_(self.both.weight[:, width:])
        with torch.no_grad():
            self.point.bias -= self.point.weight @ torch.tensor(SPHERES[sphere])  # type: ignore[misc]  # a Parameter, in place
        nn.init.normal_(self.out.weight, math.sqrt(math.pi / width), 1e-5)
        nn.init.constant_(self.out.bias, -RADIUS)
        for layer in self.hidden:
            weight_norm(layer)

    def forward(self, code: Float[torch.Tensor, "P code"], points: Float[torch.Tensor, "P n 3"]) -> Float[torch.Tensor, "P n"]:
        of_code = F.relu(self.code(code))[:, None].expand(-1, points.shape[1], -1)
        x = F.relu(self.both(torch.cat([F.relu(self.point(points)), of_code], dim=-1)))
        for layer in self.hidden:
            x = F.relu(layer(x))
        return self.out(x)[..., 0]


class SDF(nn.Module):
    """Both together: `encoder`, `decoder`."""

    def __init__(self, width: int = 512, code: int = 128, layers: int = 7, sphere: str = "centre") -> None:
        super().__init__()
        self.encoder, self.decoder = Encoder(width, code), Decoder(width, code, layers, sphere)

    def pulled(self, code: Float[torch.Tensor, "P code"], queries: Float[torch.Tensor, "P n 3"],
               differentiable: bool = True) -> Float[torch.Tensor, "P n 3"]:
        """q - f grad f / |grad f|: each query moved onto the surface as the field has it."""
        with torch.enable_grad():
            q = queries.detach().requires_grad_()
            f = self.decoder(code, q)
            slope, = torch.autograd.grad(f.sum(), q, create_graph=differentiable)
        return q - f[..., None] * slope / (slope.square().sum(-1, keepdim=True) + TINY).sqrt()


def _block(a: int, b: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(a, b), nn.BatchNorm1d(b), nn.ReLU())
