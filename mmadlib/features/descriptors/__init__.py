"""Dense hand-crafted descriptors on a 56 x 56 token grid: the front end that needs no weights.

26 numbers for the picture (Lab statistics, oriented gradients) and 15 for the cloud (signed curvatures, slope, roughness,
height differences). Raw values: a method standardises them with its training foreground.
"""

from mmadlib.features.descriptors.mask import GRID, token_mask
from mmadlib.features.descriptors.rgb import RGB_CHANNELS, rgb_descriptors
from mmadlib.features.descriptors.xyz import XYZ_CHANNELS, xyz_descriptors

__all__ = ["GRID", "RGB_CHANNELS", "XYZ_CHANNELS", "rgb_descriptors", "token_mask", "xyz_descriptors"]
