"""What the metrics take: scores, maps and masks as arrays, tensors or lists of those, brought into one form."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Shaped

from mmadlib.errors import SettingsError


def _plain(values: Any) -> Any:
    """The same without tensors, also inside of lists: NumPy takes no gradients, no bfloat16 and nothing from a GPU."""
    if isinstance(values, torch.Tensor):
        tensor = values.detach().cpu()
        return (tensor.float() if tensor.is_floating_point() and tensor.dtype != torch.float64 else tensor).numpy()
    return [_plain(v) for v in values] if isinstance(values, (list, tuple)) else values


def as_array(values: Any, name: str) -> Shaped[np.ndarray, "*shape"]:
    """The numbers of an array, of a tensor on any device, in any precision, with or without gradient, or of a list of such.

    Lists may be nested. No value changes, as tensors of less than 32 bits become float32. Raises SettingsError where there
    are no real numbers or lists differ in length; `name` is what the message calls them.
    """
    try:
        array = np.asarray(_plain(values))
    except ValueError:
        raise SettingsError(f"{name}: lists of one length are needed, these differ") from None
    if array.dtype.kind not in "buif":
        raise SettingsError(f"{name}: real numbers are needed, not values of type {array.dtype}")
    return array


def as_images(images: Iterable, name: str) -> list[Shaped[np.ndarray, "_ _"]]:
    """The images of a list or of an (n, H, W) array or tensor; they may differ in size. Raises SettingsError."""
    try:
        listed = list(images)
    except TypeError:
        raise SettingsError(f"{name} must be a list of images or (n, H, W), not one number") from None
    arrays = [as_array(image, f"{name}[{i}]") for i, image in enumerate(listed)]
    for i, array in enumerate(arrays):
        if array.ndim != 2:
            raise SettingsError(f"{name}[{i}] must be (H, W), not shape {array.shape}; give a list of images or (n, H, W)")
    return arrays


def as_masks(masks: Iterable, name: str, maps: list[Shaped[np.ndarray, "_ _"]]) -> list[Bool[np.ndarray, "_ _"]]:
    """`as_images` of masks, true where they are above 0. Raises SettingsError unless they have the shapes of the maps."""
    arrays = as_images(masks, name)
    ours, theirs = [m.shape for m in maps], [a.shape for a in arrays]
    if ours != theirs:
        first = next((i for i, (a, b) in enumerate(zip(ours, theirs, strict=False)) if a != b), None)
        raise SettingsError(f"{len(ours)} maps but {len(theirs)} {name}" if first is None else
                            f"maps[{first}] is {ours[first]} but {name}[{first}] is {theirs[first]}")
    for i, array in enumerate(arrays):
        if np.isnan(array).any():
            raise SettingsError(f"{name}[{i}] holds NaN; 0 or 1 is needed at every pixel")
    return [array > 0 for array in arrays]
