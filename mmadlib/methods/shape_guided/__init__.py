"""Shape-Guided (ICML 2023): shape codes of local patches, and the RGB features that belong to them."""

from mmadlib.methods.shape_guided.network import SDF
from mmadlib.methods.shape_guided.patches import Patches, cut
from mmadlib.methods.shape_guided.pursuit import pursue
from mmadlib.methods.shape_guided.settings import VARIANTS, Settings
from mmadlib.methods.shape_guided.shape_guided import ShapeGuided

__all__ = ["SDF", "VARIANTS", "Patches", "Settings", "ShapeGuided", "cut", "pursue"]
