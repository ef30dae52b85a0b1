"""Dense hand-crafted descriptors on a 56 x 56 token grid: the front end that needs no weights.

26 numbers for the picture (Lab statistics, oriented gradients) and 15 for the cloud (signed curvatures, slope, roughness,
height differences). Raw values: a method standardises them with its training foreground.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mmadlib.features.rgb_descriptors import RGB_CHANNELS, rgb_descriptors
from mmadlib.features.windows import GRID, object_mask, tokens_on
from mmadlib.features.xyz_descriptors import XYZ_CHANNELS, xyz_descriptors

if TYPE_CHECKING:
    from mmadlib.loading import Grid

__all__ = ["GRID", "RGB_CHANNELS", "XYZ_CHANNELS", "rgb_descriptors", "token_mask", "xyz_descriptors"]


def token_mask(grid: Grid) -> np.ndarray:
    """bool (GRID * GRID,): tokens on the object, the same for both modalities."""
    return tokens_on(object_mask(grid.valid))
