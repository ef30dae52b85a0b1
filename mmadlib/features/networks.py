"""Pretrained networks of timm by name: which there are, where their weights lie, the whole network with its weights in it.

The weights are a file of the user, an installed package where there is one (see packages), or timm's own download.
"""

from __future__ import annotations

import importlib
import os
import sys
import urllib.error
import urllib.request
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import nn

from mmadlib import paths
from mmadlib.errors import WeightsError, explain, unknown
from mmadlib.features.efficientnet import STEM, from_lukemelas
from mmadlib.features.packages import PACKAGES, installed
from mmadlib.features.weights import ANY, RANDOM, State, existing, fill, read_state

NAMES = {  # short name -> timm name
    "dino_vitb8": "vit_base_patch8_224.dino",
    "dinov2_vitb14": "vit_base_patch14_dinov2.lvd142m",
    "efficientnet_lite0": "tf_efficientnet_lite0",
    "efficientnet_lite1": "tf_efficientnet_lite1",
    "efficientnet_lite2": "tf_efficientnet_lite2",
}
KNOWN = (*NAMES, "descriptors", "random", "point_mae", "normals_<any of timm>", "any ViT or CNN of timm")
VIT = "vision_transformer"


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


def timm_name(name: str) -> str:
    """The name that timm has for a network. Raises UnknownName."""
    timm = import_timm()
    full = NAMES.get(name, name)
    if not timm.is_model(full):
        raise unknown("feature", name, KNOWN)
    return full


def is_vit(name: str) -> bool:
    """Whether a network is a vision transformer, whose patches are tokens. Raises UnknownName."""
    return import_timm().models.is_model_in_modules(timm_name(name).split(".")[0], [VIT])


def weights_file(name: str, weights: str | None) -> Path | None:
    """The file from which a network takes its weights; None for random ones and for those that timm has to download.

    Raises UnknownName; WeightsError when the file is missing or altered, or can neither be found nor downloaded.
    """
    full = timm_name(name)
    if weights == RANDOM:
        return None
    if weights is not None:
        return existing(paths.here(weights))
    local = paths.WEIGHTS / f"{full}.safetensors"
    if local.is_file():
        return existing(local)
    if full in PACKAGES:
        return installed(full)
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


def create(name: str, weights: str | None = None, sha256: str = ANY, seed: int = 0, **options: Any) -> nn.Module:
    """The whole network with its weights, in evaluation mode.

    weights: a local file (safetensors, or torch.load without pickle), "random" for random ones from `seed`, or None: a file
    in data/weights/, an installed package, timm's own download. options: of timm.create_model. Raises WeightsError,
    UnknownName.
    """
    timm, full, file = import_timm(), timm_name(name), weights_file(name, weights)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = timm.create_model(full, **options) if file or weights == RANDOM else _download(timm, full, options)
    if file:
        def adapt(state: State) -> State:
            """The names and sizes that timm has, of what others publish."""
            if is_vit(full):
                return timm.models.vision_transformer.checkpoint_filter_fn(state, model)
            theirs = STEM in state and isinstance(model, timm.models.efficientnet.EfficientNet)
            return from_lukemelas(state, model, file) if theirs else state

        fill(model, read_state(file, sha256, "rgb_sha256"), file, adapt)
    return model.eval().requires_grad_(False)


def _download(timm: ModuleType, name: str, options: dict) -> nn.Module:
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
