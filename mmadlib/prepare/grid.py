"""From a stored Sample to the square working grid: pad, resize, normalise.

Two nearest-neighbour rules meet here, as in the official code: masks are sampled at source index floor((i + 1/2) s), clouds
at floor(i s), so that the cloud lies half a target pixel off the picture and the mask. Source: the loaders of
CVLAB-Unibo/crossmodal-feature-mapping (models/dataset.py, utils/general_utils.py) and nomewang/M3DM (dataset.py).

A defect narrower than s may fall between the samples of a mask and vanish. `Grid.vanished` counts those; a sample whose
extra["mask_rule"] is "any" marks every target pixel that covers a defect pixel, so that none does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float32, Int64, Shaped, UInt8
from PIL import Image
from scipy.ndimage import label

from mmadlib.errors import SettingsError, unknown
from mmadlib.sample import Sample

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

# how the picture is made square: CFM, CMDR-IAD, CFR | CPIR | M3DM and BTF on raw data (aspect ratio lost)
PADS = ("edge", "zero", "none")
MASK_RULES = ("nearest", "any")  # how masks are reduced: as published | every pixel that covers a defect


@dataclass(frozen=True, eq=False)
class Grid:
    """One sample on the square grid that features are computed on.

    xyz    metres; invalid points and padding are (0, 0, 0)
    valid  points that the sample calls valid: all three coordinates non-zero
    mask   ground truth
    vanished  how many defects of the sample, connected parts of its mask, no pixel of the grid shows
    """

    rgb: UInt8[np.ndarray, "S S 3"]
    xyz: Float32[np.ndarray, "S S 3"]
    valid: Bool[np.ndarray, "S S"]
    mask: Bool[np.ndarray, "S S"]
    vanished: int = 0

    @property
    def size(self) -> int:
        """S."""
        return self.rgb.shape[0]


def square_margins(height: int, width: int, side: int | None = None) -> tuple[tuple[int, int], tuple[int, int]]:
    """((top, bottom), (left, right)) that centre H x W in a square; the leading margin is rounded down.

    >>> square_margins(60, 85)
    ((12, 13), (0, 0))
    """
    side = max(height, width) if side is None else side
    margins = ((side - height) // 2, (side - width) // 2)
    return ((margins[0], side - height - margins[0]), (margins[1], side - width - margins[1]))


def nearest_rows(length: int, size: int) -> Int64[np.ndarray, " {size}"]:
    """Source index floor(i * length / size) of every target row.

    torch does the arithmetic: the official loaders use it, and its float32 products decide ties such as 28 * 600 / 224.
    """
    source = torch.arange(length, dtype=torch.float32)[None, None]
    return F.interpolate(source, size=size, mode="nearest")[0, 0].long().numpy()


def to_grid(sample: Sample, size: int = 224, pad: str = "edge") -> Grid:
    """Bring a sample (H, W) to `size` x `size` pixels; the sample is not changed.

    pad: edge (picture and mask padded to a square by their own border, CFM family: a defect at the border grows into the
    margin) | zero (by black, CPIR) | none (squashed, M3DM). Clouds are always padded by invalid points. Picture: PIL bicubic;
    cloud: nearest, floor(i s); mask: PIL nearest, floor((i + 1/2) s), or by the sample's extra["mask_rule"] (MASK_RULES).
    Raises SettingsError on an unknown pad or rule, or size < 1.
    """
    if pad not in PADS:
        raise unknown("padding", pad, PADS)
    if (rule := sample.extra.get("mask_rule", "nearest")) not in MASK_RULES:
        raise unknown("mask rule", rule, MASK_RULES)
    if size < 1:
        raise SettingsError(f"size={size}: the grid needs at least one pixel")
    rgb, xyz, valid, mask = sample.rgb, sample.xyz, sample.valid, sample.mask
    if pad != "none" and rgb.shape[0] != rgb.shape[1]:
        margins = square_margins(*sample.size)
        mode: Literal["edge", "constant"] = "edge" if pad == "edge" else "constant"
        rgb, mask = np.pad(rgb, (*margins, (0, 0)), mode=mode), np.pad(mask, margins, mode=mode)
        xyz, valid = np.pad(xyz, (*margins, (0, 0))), np.pad(valid, margins)
    points = np.ix_(nearest_rows(rgb.shape[0], size), nearest_rows(rgb.shape[1], size))
    picture = Image.fromarray(np.ascontiguousarray(rgb)).resize((size, size), Image.Resampling.BICUBIC)
    truth = covering(mask, size) if rule == "any" else _sampled(mask, size).astype(bool)
    return Grid(np.array(picture), xyz[points], valid[points], truth, 0 if rule == "any" else _vanished(mask, size))


def _sampled(values: Shaped[np.ndarray, "H W"], size: int) -> Shaped[np.ndarray, "{size} {size}"]:
    """Whole numbers of 8 or 32 bits, or truth values, at floor((i + 1/2) s)."""
    image = Image.fromarray(values.astype(np.int32 if values.dtype == np.int32 else np.uint8))
    return np.array(image.resize((size, size), Image.Resampling.NEAREST))


def covering(mask: Bool[np.ndarray, "H W"], size: int) -> Bool[np.ndarray, "{size} {size}"]:
    """A mask on the grid, True where a target pixel covers a marked one; enlarged, its nearest source pixel counts.

    >>> covering(np.eye(4, dtype=bool), 2).tolist()
    [[True, False], [False, True]]
    """
    for axis, length in enumerate(mask.shape):
        steps = np.arange(size)
        if length < size:
            mask = mask.take((2 * steps + 1) * length // (2 * size), axis)
        else:  # a source pixel belongs to the target pixel that its centre lies in
            mask = np.logical_or.reduceat(mask, (2 * steps * length + size - 1) // (2 * size), axis=axis)
    return mask


def _vanished(mask: Bool[np.ndarray, "H W"], size: int) -> int:
    """How many connected parts of a mask, corners connect, are not sampled at all."""
    if size >= max(mask.shape) or not mask.any():
        return 0
    parts, count = label(mask, np.ones((3, 3)))
    return count - np.setdiff1d(_sampled(parts, size), [0]).size


def rgb_tensor(rgb: UInt8[np.ndarray, "S S 3"]) -> Float32[torch.Tensor, "3 S S"]:
    """The picture scaled to [0, 1] and normalised by ImageNet mean and deviation."""
    unit = torch.from_numpy(np.ascontiguousarray(rgb)).permute(2, 0, 1).float() / 255
    return (unit - torch.tensor(IMAGENET_MEAN)[:, None, None]) / torch.tensor(IMAGENET_STD)[:, None, None]
