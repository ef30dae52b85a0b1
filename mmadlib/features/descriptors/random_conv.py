"""A frozen random convolution network: what the architecture of a front end gives without any training.

Three convolutions of seeded Gaussian weights with ReLU between them, 128 channels on the token grid of the descriptors. A
sanity baseline: a method should do better on features that mean something (random features are surprisingly strong: Saxe et
al., ICML 2011).
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float32
from scipy.ndimage import gaussian_filter
from torch import nn

from mmadlib.features.descriptors.mask import GRID, object_mask, tokens_on
from mmadlib.features.descriptors.xyz import object_frame

if TYPE_CHECKING:
    from mmadlib.prepare.grid import Grid

CHANNELS = 128
BLUR = 1 / 28  # of the picture's side, 8 px of 224: heights are local, measured from their surroundings


@lru_cache(maxsize=4)
def network(seed: int) -> nn.Sequential:
    """Three 5x5, 3x3, 3x3 convolutions 3 -> 32 -> 64 -> 128, He-initialised from `seed`, frozen."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        convs = [nn.Conv2d(3, 32, 5, padding=2), nn.Conv2d(32, 64, 3, padding=1), nn.Conv2d(64, CHANNELS, 3, padding=1)]
        for conv in convs:
            nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
            nn.init.zeros_(conv.get_parameter("bias"))
    first, second, third = convs
    return nn.Sequential(first, nn.ReLU(), second, nn.ReLU(), third).requires_grad_(False).eval()


def random_rgb(grid: Grid, seed: int = 0) -> Float32[np.ndarray, "56*56 128"]:
    """Random features of the picture; zero off the object. Depth enters by the mask alone."""
    mask = object_mask(grid.valid)
    return _tokens((grid.rgb / 127.5 - 1) * mask[..., None], mask, seed)


def random_xyz(grid: Grid, seed: int = 0) -> Float32[np.ndarray, "56*56 128"]:
    """Random features of local geometry; zero off the object. The picture is not looked at.

    Input: height above the surroundings and its two slopes, per pixel pitch, so that neither unit nor origin matters.
    """
    mask = object_mask(grid.valid)
    weight = mask & grid.valid
    if not weight.any():
        return np.zeros((GRID * GRID, CHANNELS), np.float32)
    points = object_frame(grid.xyz, weight)
    pitch = max(np.ptp(points[:2][:, weight], axis=1).max(), 1e-9) / np.sqrt(weight.sum())
    sigma = BLUR * len(mask)
    around = gaussian_filter(points[2], sigma) / np.maximum(gaussian_filter(weight.astype(float), sigma), 1e-6)
    height = np.where(weight, points[2] - around, 0) / pitch
    return _tokens(np.stack([height, *np.gradient(height)], -1), mask, seed)


def _tokens(image: np.ndarray, mask: np.ndarray, seed: int) -> np.ndarray:
    """Features (GRID * GRID, 128) of an image (S, S, 3): halved in size, convolved, averaged over the token cells."""
    x = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1).float()[None]
    x = network(seed)(F.adaptive_avg_pool2d(x, 2 * GRID))
    tokens = F.adaptive_avg_pool2d(x, GRID)[0].reshape(CHANNELS, -1).T.numpy()
    return np.where(tokens_on(mask)[:, None], tokens, 0).astype(np.float32)
