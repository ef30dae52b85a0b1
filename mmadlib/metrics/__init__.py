"""Metrics: arrays in, numbers out. This room knows no sample, feature or method."""

from mmadlib.metrics.aupro import aupro, pixel_auroc
from mmadlib.metrics.auroc import bootstrap_auroc, image_auroc
from mmadlib.metrics.evaluate import evaluate_maps
from mmadlib.metrics.paired import auroc_gap

__all__ = ["aupro", "auroc_gap", "bootstrap_auroc", "evaluate_maps", "image_auroc", "pixel_auroc"]
