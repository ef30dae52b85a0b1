"""EfficientNet checkpoints under the names of lukemelas/EfficientNet-PyTorch, brought to the names that timm has."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mmadlib.errors import WeightsError, explain
from mmadlib.features.weights import State

STEM = "_conv_stem.weight"  # by which such a checkpoint is known
TOP = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier"}
EXPANDED = {"_expand_conv": "conv_pw", "_bn0": "bn1", "_depthwise_conv": "conv_dw", "_bn1": "bn2", "_project_conv": "conv_pwl",
            "_bn2": "bn3"}
SEPARABLE = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}  # nothing is expanded


def from_lukemelas(state: State, model: Any, path: str | Path) -> State:
    """The same tensors by timm's names, blocks counted within their stage.

    model: timm's EfficientNet, which says how many blocks a stage has. path: where the state is from. Raises WeightsError
    for a name that has no place in such a network.
    """
    places = [f"blocks.{stage}.{i}" for stage, blocks in enumerate(model.blocks) for i in range(len(blocks))]
    found: State = {}
    for name, tensor in state.items():
        layer, _, kind = name.rpartition(".")
        if match := re.fullmatch(r"_blocks\.([0-9]+)\.(\w+)", layer):
            number, layers = int(match[1]), EXPANDED if f"_blocks.{match[1]}._expand_conv.weight" in state else SEPARABLE
            place = f"{places[number]}.{layers[match[2]]}" if number < len(places) and match[2] in layers else ""
        else:
            place = TOP.get(layer, "")
        if not place:
            fault = f"is no checkpoint of this {type(model).__name__}: {name} has no place in it"
            raise WeightsError(explain(path, fault, "give the right file"))
        found[f"{place}.{kind}"] = tensor
    return found
