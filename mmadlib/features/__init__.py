"""Features: front ends for colour and 3D, by name, and what they give: tokens with a map to pixels, cached on disk."""

from mmadlib.features.cache import FeatureSet, extract_all
from mmadlib.features.extractor import FAMILIES, Extractor, extract, family
from mmadlib.features.field import FeatureMap, Features
from mmadlib.features.front_ends import weights_of
from mmadlib.features.normals import normal_image, surface_normals
from mmadlib.features.operators import bilinear
from mmadlib.features.tokens import Truth

__all__ = ["FAMILIES", "Extractor", "FeatureMap", "FeatureSet", "Features", "Truth", "bilinear", "extract", "extract_all",
           "family", "normal_image", "surface_normals", "weights_of"]
