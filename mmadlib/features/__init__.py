"""Features: front ends that turn a Sample into tokens, and the cache that keeps them."""

from mmadlib.features.cache import FeatureSet, extract_all
from mmadlib.features.extractor import FAMILIES, Extractor, extract, family
from mmadlib.features.field import FeatureMap, Features
from mmadlib.features.tokens import Truth

__all__ = ["FAMILIES", "Extractor", "FeatureMap", "FeatureSet", "Features", "Truth", "extract", "extract_all", "family"]
