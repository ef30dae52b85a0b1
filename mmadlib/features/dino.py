"""Tokens of a picture from a frozen vision transformer of timm: DINO ViT-B/8 by default, DINOv2 or any other ViT by name."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, cast

import numpy as np
import torch
from jaxtyping import UInt8

from mmadlib.checks import check_device
from mmadlib.errors import SettingsError
from mmadlib.features.networks import create, is_vit
from mmadlib.features.tokens import Patches
from mmadlib.features.weights import ANY, digest
from mmadlib.prepare.grid import Grid, rgb_tensor

if TYPE_CHECKING:
    from timm.models import VisionTransformer


def layer_range(text: str) -> range:
    """Blocks "first-last", counted from 0, both included; nothing for "". Raises SettingsError.

    >>> list(layer_range("2-4"))
    [2, 3, 4]
    """
    found = re.fullmatch(r"([0-9]+)-([0-9]+)", text)
    layers = range(int(found[1]), int(found[2]) + 1) if found else range(0)
    if text and not layers:
        raise SettingsError(f"rgb_layers={text!r}: expected first-last such as 2-9, blocks counted from 0, or ''")
    return layers


class Dino:
    """Grid -> Patches: the first `blocks` blocks, then the final norm, without class and register tokens.

    layers: "first-last" for the mean of these blocks' tokens instead, without the final norm (PIRN averages "layers 2 to 10";
    (reconstruction): 2-9 as in luow23/INP-Former, or 2-10); the blocks above them do not run.

    name: see networks.NAMES, or any timm ViT. weights, sha256, seed: see networks.create. Source:
    CVLAB-Unibo/crossmodal-feature-mapping models/full_models.py. Raises WeightsError, SettingsError, UnknownName.
    """

    def __init__(self, name: str = "dino_vitb8", blocks: int = 12, size: int = 224, weights: str | None = None,
                 sha256: str = ANY, device: str = "cpu", seed: int = 0, layers: str = "") -> None:
        self.device = check_device(device)
        if not is_vit(name):
            raise SettingsError(f"{name} is no vision transformer of timm; its patches would not be tokens")
        model = cast("VisionTransformer", create(name, weights, sha256, seed, num_classes=0, img_size=size))
        if not 1 <= blocks <= len(model.blocks):
            raise SettingsError(f"rgb_blocks={blocks}: {name} has {len(model.blocks)} blocks")
        self.layers = layer_range(layers)
        if self.layers.stop > blocks:
            raise SettingsError(f"rgb_layers={layers!r}: its last block, counted from 0, is not among the {blocks} that "
                                "rgb_blocks keeps; lower the one or raise the other")
        patch = model.patch_embed.patch_size[0]
        if size % patch:
            raise SettingsError(f"size={size}: {name} needs a multiple of its patch of {patch} px")
        del model.blocks[self.layers.stop or blocks:]
        self.model = model.to(self.device)
        self.key = digest(self.model)

    def __call__(self, grid: Grid) -> Patches:
        """Tokens of the grid's picture, g = size // patch a side."""
        return self.encode(grid.rgb)

    @torch.inference_mode()
    def encode(self, picture: UInt8[np.ndarray, "S S 3"]) -> Patches:
        """Tokens of any picture, normalised by ImageNet's mean and deviation."""
        x = rgb_tensor(picture)[None].to(self.device)
        if self.layers:
            outputs = self.model.forward_intermediates(x, list(self.layers), output_fmt="NLC", intermediates_only=True)
            assert isinstance(outputs, list)  # of tensors, because of intermediates_only
            tokens = torch.stack(outputs).mean(0)[0]
        else:
            tokens = self.model.forward_features(x)[0, self.model.num_prefix_tokens:]
        return Patches(np.ascontiguousarray(tokens.float().cpu().numpy()))
