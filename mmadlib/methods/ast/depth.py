"""What AST sees of the 3D side: filled depth in centimetres, packed into channels, and the soft weight m of the foreground.

Source: marco-rudolph/AST preprocess.py and utils.py.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Float32
from scipy.ndimage import correlate

from mmadlib.errors import SettingsError

HEIGHT = 7e-3  # metres: what stands out of the background surface by more is the object
BLOCK = np.ones((3, 3))


def fill_holes(z: Float[np.ndarray, "H W"], passes: int = 3, border: bool = False) -> Float32[np.ndarray, "H W"]:
    """Depth z (metres, 0: none) in which every empty pixel takes the mean of its 3x3 neighbours with depth, pass by pass.

    border: row 0 and column 0, too; as published they stay empty, because their slice of neighbours starts at -1.
    """
    z = np.asarray(z, np.float64)
    for _ in range(passes):
        count = correlate((z > 0).astype(float), BLOCK, mode="constant")
        empty = (z == 0) & (count > 0)
        if not border:
            empty[0], empty[:, 0] = False, False
        z = np.where(empty, correlate(z, BLOCK, mode="constant") / count.clip(1), z)
    return z.astype(np.float32)


def background(z: Float[np.ndarray, "H W"]) -> Float[np.ndarray, "H W"]:
    """The bilinear surface through the four corners of z, each the mean of what is positive in 2x2 pixels.

    Raises SettingsError where a corner has no depth: there the background was removed before.
    """
    corners = [block[block > 0] for block in (z[:2, :2], z[-2:, :2], z[:2, -2:], z[-2:, -2:])]
    if any(len(corner) == 0 for corner in corners):
        raise SettingsError("the corners of the cloud have no depth, so no background surface can be laid through them; set "
                            "foreground='features', or extract with isolate=False")
    (top_left, bottom_left, top_right, bottom_right), (h, w) = [np.float64(c.mean()) for c in corners], z.shape
    row, column = np.linspace(0, 1, h)[:, None], np.linspace(0, 1, w)
    left, right = top_left + row * (bottom_left - top_left), top_right + row * (bottom_right - top_right)
    return left + column * (right - left)


def standing_out(z: Float[np.ndarray, "H W"], height: float = HEIGHT) -> Bool[np.ndarray, "H W"]:
    """The foreground by the four corners: depth there, and off the background surface by more than `height` metres."""
    return (np.abs(background(z) - z) > height) & (z != 0)


def levelled(z: Float[np.ndarray, "H W"], on: Bool[np.ndarray, "H W"]) -> Float32[np.ndarray, "H W"]:
    """Depth in which the foreground `on` lies square to the view: minus the plane through it (least squares in row, column),
    plus its mean. As it is where no three points span a plane; off the foreground nothing changes.
    """
    known = on & (z != 0)
    row, column = np.nonzero(known)
    plane = np.stack([row, column, np.ones_like(row)], 1).astype(np.float64)
    if np.linalg.matrix_rank(plane) < 3:
        return np.asarray(z, np.float32)
    depth = z[known].astype(np.float64)
    found = np.array(z, np.float32)
    found[known] = depth - plane @ np.linalg.lstsq(plane, depth, rcond=None)[0] + depth.mean()
    return found


def centimetres(z: Float[np.ndarray, "H W"], on: Bool[np.ndarray, "H W"]) -> Float32[np.ndarray, "H W"]:
    """Depth from the mean of the foreground `on`, in centimetres; 0 off it and where there is no depth."""
    known = on & (z != 0)
    mean = z[known].mean(dtype=np.float64) if known.any() else 0.0
    return np.where(known, (z - mean) * 100, 0).astype(np.float32)


def packed(depth: Float[torch.Tensor, "H W"], grid: tuple[int, int], side: int) -> Float32[torch.Tensor, "C h w"]:
    """Depth on a raster of (h, w) cells: resized (bilinear) to side x side pixels a cell, which become C = side^2 channels."""
    h, w = grid
    resized = F.interpolate(depth[None, None], (h * side, w * side), mode="bilinear", align_corners=False)
    return F.pixel_unshuffle(resized, side)[0]


def soft_weight(on: Bool[torch.Tensor, "H W"], grid: tuple[int, int], side: int,
                dilation: int) -> Float32[torch.Tensor, "h w"]:
    """m in [0, 1]: the foreground at side x side pixels a cell, spread by `dilation` pixels, then on (h, w) cells (bilinear).

    A pixel is set where any of its window is: from (dilation - 1) // 2 before to dilation // 2 behind it.
    """
    h, w = grid
    resized = F.interpolate(on[None, None].float(), (h * side, w * side), mode="bilinear", align_corners=False) > 0
    before, behind = (dilation - 1) // 2, dilation // 2
    spread = F.max_pool2d(F.pad(resized.float(), (before, behind, before, behind)), dilation, stride=1)
    return F.interpolate(spread, grid, mode="bilinear", align_corners=False)[0, 0]
