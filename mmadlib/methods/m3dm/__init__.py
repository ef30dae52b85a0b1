"""M3DM: banks of RGB, 3D and fused patches, and a decision layer over their scores."""

from mmadlib.methods.m3dm.decision import one_class, weights
from mmadlib.methods.m3dm.fusion import Fusion, published_order
from mmadlib.methods.m3dm.m3dm import M3DM
from mmadlib.methods.m3dm.settings import VARIANTS, Settings

__all__ = ["M3DM", "VARIANTS", "Fusion", "Settings", "one_class", "published_order", "weights"]
