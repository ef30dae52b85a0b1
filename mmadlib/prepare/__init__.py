"""Prepare: from a stored sample to one that front ends take, its table removed, on a square grid; and sensor faults."""

from mmadlib.prepare.corruptions import CORRUPTIONS, corrupt
from mmadlib.prepare.dataset import preprocess_dataset
from mmadlib.prepare.grid import Grid, to_grid
from mmadlib.prepare.isolate import isolate_object

__all__ = ["CORRUPTIONS", "Grid", "corrupt", "isolate_object", "preprocess_dataset", "to_grid"]
