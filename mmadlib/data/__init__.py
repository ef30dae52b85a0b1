"""Data: one reader per dataset, the rendered parts, converters and few-shot draws, all as lists of Samples."""

from mmadlib.data.contents import content_keys
from mmadlib.data.files import Entry, Samples
from mmadlib.data.loading import DATASETS, categories, check_reader, load, root_of, splits
from mmadlib.data.shots import draw, draws

__all__ = ["DATASETS", "Entry", "Samples", "categories", "check_reader", "content_keys", "draw", "draws", "load", "root_of",
           "splits"]
