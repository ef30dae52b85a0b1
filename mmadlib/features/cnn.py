"""Tokens of a picture from the first stages of a frozen convolutional network of timm: EfficientNet-Lite0 by default.

The outputs of its stages are laid side by side on the raster of the finest one. They have no final norm and channels differ
in scale, so methods standardise them as they do descriptors.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float32, UInt8

from mmadlib.checks import check_device
from mmadlib.errors import SettingsError
from mmadlib.features.networks import create, timm_name
from mmadlib.features.packages import PACKAGES
from mmadlib.features.weights import ANY, digest

AT_ONCE = 8  # pictures of a forward pass on a GPU; on a CPU one after the other is faster (benchmarks/learned.py)
OTHER = "choose another network"


def strides(text: str) -> tuple[int, ...]:
    """Levels "8" or "8+16" as numbers, ascending: pixels of the network's input from one token to the next.

    Raises SettingsError for anything else.

    >>> strides("8+16")
    (8, 16)
    """
    found = tuple(map(int, text.split("+"))) if re.fullmatch(r"[1-9][0-9]{,2}(\+[1-9][0-9]{,2})*", text) else ()
    if not found or list(found) != sorted(set(found)):
        raise SettingsError(f"levels={text!r}: expected strides such as 8 or 8+16, ascending")
    return found


class Cnn:
    """Pictures -> tokens: the stages of `levels`, on one raster of size * enlarge // levels[0] tokens a side.

    name: see networks.NAMES, or any network of timm that takes pictures of any size and says what its stages are; of several
    stages at one stride the last. enlarge: the picture, of `size` px, is enlarged (bilinear) before it enters the network, so
    that stages with small receptive fields see details. weights, sha256, seed: see networks.create. Stages above the last
    level do not run. Raises WeightsError, SettingsError, UnknownName.
    """

    def __init__(self, name: str = "efficientnet_lite0", levels: str = "8", enlarge: float = 2, size: int = 224,
                 weights: str | None = None, sha256: str = ANY, device: str = "cpu", seed: int = 0) -> None:
        self.device = check_device(device)
        wanted = strides(levels)
        model: Any = create(name, weights, sha256, seed, num_classes=0)
        info = getattr(model, "feature_info", None) or []
        stages = {stage["reduction"]: i for i, stage in enumerate(info) if isinstance(stage, dict)}
        if not stages or not hasattr(model, "forward_intermediates"):
            raise SettingsError(f"{name}: timm does not say what its stages are; {OTHER}")
        if absent := [level for level in wanted if level not in stages]:
            there = ", ".join(map(str, stages))
            raise SettingsError(f"levels={levels!r}: {name} has no stage at stride {absent[0]}, only at {there}")
        self.input = round(size * enlarge)
        if abs(self.input - size * enlarge) > 1e-6 or not self.input or self.input % wanted[0]:
            raise SettingsError(f"size={size}, enlarge={enlarge:g}: the network's input of {size * enlarge:g} px must be a "
                                f"multiple of its level {wanted[0]}")
        self.raster, self.stages = self.input // wanted[0], [stages[level] for level in wanted]
        if timm_name(name) in PACKAGES:  # as they were trained
            mean, std = [127.0] * 3, [128.0] * 3
        else:
            mean, std = ([255 * x for x in model.pretrained_cfg[key]] for key in ("mean", "std"))
        self.mean, self.std = (torch.tensor(x, device=self.device)[:, None, None] for x in (mean, std))
        self.model = model.to(self.device)
        try:
            model.prune_intermediate_layers(self.stages, prune_head=True)
            self._encode([np.zeros((size, size, 3), np.uint8)])
        except Exception as err:  # transformers of one input size, windows that do not fit: each fails in its own way
            fault = f"cannot encode pictures of {self.input} px ({' '.join(str(err).split()) or type(err).__name__})"
            raise SettingsError(f"{name}: {fault}; {OTHER}, size or enlarge") from None
        self.key = digest(self.model)

    def encode(self, pictures: Sequence[UInt8[np.ndarray, "S S 3"]]) -> list[Float32[np.ndarray, "T C"]]:
        """Tokens of each picture, row-major, the channels of the finest level first."""
        at_once = AT_ONCE if self.device.type == "cuda" else 1
        return [tokens for k in range(0, len(pictures), at_once) for tokens in self._encode(pictures[k:k + at_once])]

    @torch.inference_mode()
    def _encode(self, pictures: Sequence[UInt8[np.ndarray, "S S 3"]]) -> Float32[np.ndarray, "N T C"]:
        stack = torch.from_numpy(np.ascontiguousarray(np.stack(pictures)))
        # as pictures lie in memory, channels last, up to the tokens: convolutions take half the time
        x = (stack.permute(0, 3, 1, 2).float().to(self.device) - self.mean) / self.std
        x = F.interpolate(x, size=(self.input, self.input), mode="bilinear", align_corners=False)
        outputs = self.model.forward_intermediates(x, self.stages, stop_early=True, intermediates_only=True)
        side = (self.raster, self.raster)
        maps = torch.cat([o if o.shape[2:] == side else F.interpolate(o, size=side, mode="bilinear", align_corners=False)
                          for o in outputs], 1)
        return np.ascontiguousarray(maps.permute(0, 2, 3, 1).flatten(1, 2).float().cpu().numpy())
