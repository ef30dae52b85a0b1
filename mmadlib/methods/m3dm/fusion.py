"""UFF: M3DM's unsupervised feature fusion, two small networks that make the patches of both modalities agree.

Symbols: x 3D patch, r RGB patch at the same place, f = [MLP3(LN(x)) | MLP2(LN(r))] the fused patch. Trained by InfoNCE of
linear heads of its two halves, which are brought to length one: the only cosine in this room, of learned directions, so no
anchor. Source: nomewang/M3DM models/feature_fusion.py, fusion_pretrain.py.
"""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Float32, Int64
from torch import nn

from mmadlib.methods.m3dm.settings import Settings
from mmadlib.methods.training import train

HEAD, EXPANSION = 256, 4
BETAS = (0.9, 0.95)  # of AdamW
WARM_UP = 1 / 3  # of all steps: one epoch of three


class Block(nn.Module):
    """LayerNorm, Linear to four times the width, GELU, Linear back; nothing is added to it."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.input, self.output = nn.Linear(width, EXPANSION * width), nn.Linear(EXPANSION * width, width)

    def forward(self, x: Float[torch.Tensor, "n C"]) -> Float[torch.Tensor, "n C"]:
        return self.output(F.gelu(self.input(self.norm(x))))


class Fusion(nn.Module):
    """The fused patches of 3D patches (n, C3) and RGB patches (n, C2), and the loss that trains it."""

    def __init__(self, c3: int, c2: int) -> None:
        super().__init__()
        self.xyz, self.rgb = Block(c3), Block(c2)
        self.xyz_head, self.rgb_head = nn.Linear(c3, HEAD), nn.Linear(c2, HEAD)

    def forward(self, x: Float[torch.Tensor, "n C3"], r: Float[torch.Tensor, "n C2"]) -> Float[torch.Tensor, "n C3+C2"]:
        return torch.cat([self.xyz(x), self.rgb(r)], dim=1)

    def loss(self, x: Float[torch.Tensor, "n C3"], r: Float[torch.Tensor, "n C2"]) -> Float32[torch.Tensor, ""]:
        """Twice the InfoNCE of RGB against 3D, temperature 1, over the pairs whose 3D patch has no zero; 0 without any."""
        whole = (x != 0).all(1)
        x, r = self.xyz_head(self.xyz(x[whole])), self.rgb_head(self.rgb(r[whole]))
        return info_nce(r.float(), x.float()) if len(x) else x.sum().float()


def info_nce(query: Float32[torch.Tensor, "n D"], key: Float32[torch.Tensor, "n D"]) -> Float32[torch.Tensor, ""]:
    """2 CE(q k^T, diagonal) of vectors of length one: 2 log n where all of them coincide."""
    logits = F.normalize(query, dim=1) @ F.normalize(key, dim=1).T
    return 2 * F.cross_entropy(logits, torch.arange(len(logits), device=logits.device))


def rate(step: int, steps: int, lr: float) -> float:
    """Learning rate of a step: rising in a line, then falling as a half cosine to nothing."""
    warm = max(1, round(WARM_UP * steps))
    if step < warm:
        return lr * (step + 1) / warm
    return lr * 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))


def fitted_fusion(x: Float[torch.Tensor, "n C3"], r: Float[torch.Tensor, "n C2"], s: Settings, seed: int = 0,
                  progress: bool = True) -> tuple[Fusion, list[dict[str, float]]]:
    """The network after s.uff_steps updates on n pairs of patches, drawn anew for each, and the losses on the way."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = Fusion(x.shape[1], r.shape[1]).to(x.device)
    adam = torch.optim.AdamW(net.parameters(), lr=s.uff_lr, betas=BETAS)

    def terms(step: int) -> dict[str, torch.Tensor]:
        adam.param_groups[0]["lr"] = rate(step, s.uff_steps, s.uff_lr)
        drawn = np.random.default_rng([seed, step]).choice(len(x), min(s.uff_patches, len(x)), replace=False)
        some = torch.from_numpy(drawn).to(x.device)
        return {"InfoNCE": net.loss(x[some], r[some])}

    return net, train("m3dm", s.uff_steps, terms, {"uff": net}, {"adam": adam}, seed=seed, device=x.device,
                      progress=progress, label="fusion")


def published_order(n_rgb: int, n_xyz: int) -> Int64[np.ndarray, " n_xyz"]:
    """Which RGB cell stands beside each 3D cell in the stored training pairs of the released code: not the one at its place.

    repeat(4, 1) and a reshape that is no resize: of 28 x 28 beside 56 x 56 cells 8 pairs of 3,136 fit. Where both sides
    have as many cells nothing was repeated and all of them fit.
    """
    times, place = -(-n_xyz // n_rgb), np.arange(n_xyz)
    return (place % n_rgb * times + place // n_rgb) % n_rgb
