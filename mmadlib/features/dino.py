"""Tokens of a picture from a frozen vision transformer of timm: DINO ViT-B/8 by default, DINOv2 or any other ViT by name."""

from __future__ import annotations

import importlib
import os
import re
import sys
import urllib.error
import urllib.request
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import UInt8

from mmadlib import paths
from mmadlib.checks import check_device
from mmadlib.errors import SettingsError, WeightsError, explain, unknown
from mmadlib.features.tokens import Patches
from mmadlib.features.weights import ANY, RANDOM, State, digest, existing, fill, read_state
from mmadlib.prepare.grid import Grid, rgb_tensor

if TYPE_CHECKING:
    from timm.models import VisionTransformer

NAMES = {  # short name -> timm name
    "dino_vitb8": "vit_base_patch8_224.dino",
    "dinov2_vitb14": "vit_base_patch14_dinov2.lvd142m",
}


def import_timm() -> ModuleType:
    """timm, also where torchvision's compiled operators do not fit the installed torch.

    That happens on Linux with a CPU build of torch beside the index's torchvision ("operator torchvision::nms does not
    exist"). Nothing here uses those operators, so an empty stand-in for the module that registers them is enough; it is put
    in place only after the real import has failed.
    """
    try:
        return importlib.import_module("timm")
    except RuntimeError as err:
        if "torchvision" not in str(err):
            raise
    for name in [n for n in sys.modules if n.split(".")[0] in ("timm", "torchvision")]:
        del sys.modules[name]  # half imported
    stand_in = "torchvision._meta_registrations"
    sys.modules[stand_in] = ModuleType(stand_in)
    return importlib.import_module("timm")


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

    name: see NAMES, or any timm ViT. weights: a local file (safetensors, or torch.load without pickle), "random" for random
    weights from `seed`, or None for data/weights/<timm name>.safetensors if it exists and timm's own download otherwise.
    Source: CVLAB-Unibo/crossmodal-feature-mapping models/full_models.py. Raises WeightsError, SettingsError, UnknownName.
    """

    def __init__(self, name: str = "dino_vitb8", blocks: int = 12, size: int = 224, weights: str | None = None,
                 sha256: str = ANY, device: str = "cpu", seed: int = 0, layers: str = "") -> None:
        self.device = check_device(device)
        model = _model(name, size, weights, sha256, seed)
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
        self.model = model.eval().requires_grad_(False).to(self.device)
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


def timm_name(name: str) -> str:
    """The name that timm has for a ViT. Raises UnknownName or SettingsError when it is none."""
    timm = import_timm()
    full = NAMES.get(name, name)
    if not timm.is_model(full):
        raise unknown("feature", name, [*NAMES, "descriptors", "random", "point_mae", "normals_dinov2_vitb14", "any timm ViT"])
    if not timm.models.is_model_in_modules(full.split(".")[0], ["vision_transformer"]):
        raise SettingsError(f"{name} is no vision transformer of timm; its patches would not be tokens")
    return full


def weights_file(name: str, weights: str | None) -> Path | None:
    """The file from which a ViT takes its weights; None for random ones and for those that timm has to download.

    Raises UnknownName, SettingsError; WeightsError when the file is missing, or can neither be found nor downloaded.
    """
    full = timm_name(name)
    if weights == RANDOM:
        return None
    if weights is not None:
        return existing(paths.here(weights))
    local = paths.WEIGHTS / f"{full}.safetensors"
    if local.is_file():
        return local
    from huggingface_hub import try_to_load_from_cache

    cached = try_to_load_from_cache(f"timm/{full}", "model.safetensors")
    if isinstance(cached, str):
        return Path(cached)
    if not _reachable(os.environ.get("HF_ENDPOINT", "https://huggingface.co")):
        fault = "its weights are not on this machine and the network cannot be reached"
        raise WeightsError(explain(full, fault, _remedy(full)))
    return None


def _remedy(name: str) -> str:
    return (f"download model.safetensors of huggingface.co/timm/{name} once and put it at "
            f"{paths.shown(paths.WEIGHTS / (name + '.safetensors'))}, or give its path as rgb_weights")


def _model(name: str, size: int, weights: str | None, sha256: str, seed: int) -> VisionTransformer:
    """The whole ViT with its weights."""
    timm, full, file = import_timm(), timm_name(name), weights_file(name, weights)
    options = {"num_classes": 0, "img_size": size}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = timm.create_model(full, **options) if file or weights == RANDOM else _download(timm, full, options)
    if file:
        def adapt(state: State) -> State:
            """Official names and other picture sizes in timm's form."""
            filtered = timm.models.vision_transformer.checkpoint_filter_fn
            return filtered(state, model) if "pos_embed" in state else state

        fill(model, read_state(file, sha256, "rgb_sha256"), file, adapt)
    return model


def _download(timm: ModuleType, name: str, options: dict) -> VisionTransformer:
    """timm's pretrained model, downloaded. Raises WeightsError."""
    try:
        return timm.create_model(name, pretrained=True, **options)
    except (OSError, RuntimeError) as err:
        fault = f"its weights could not be downloaded ({type(err).__name__})"
        raise WeightsError(explain(name, fault, _remedy(name))) from None


def _reachable(address: str) -> bool:
    """Whether a web server answers; asked first because the download itself retries for most of a minute."""
    try:
        urllib.request.urlopen(address, timeout=10).close()
    except urllib.error.HTTPError:
        return True  # it answered
    except (OSError, ValueError):
        return False
    return True
