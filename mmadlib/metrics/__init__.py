"""Metrics: arrays in, numbers out. This room knows no sample, feature or method."""

from mmadlib.metrics.aupro import aupro, pixel_auroc
from mmadlib.metrics.auroc import bootstrap_auroc, image_auroc
from mmadlib.metrics.evaluate import evaluate_maps
from mmadlib.metrics.paired import auroc_gap
from mmadlib.metrics.precision import image_ap, image_f1_max, pixel_ap, pixel_f1_max

__all__ = ["aupro", "auroc_gap", "bootstrap_auroc", "evaluate_maps", "image_ap", "image_auroc", "image_f1_max", "pixel_ap",
           "pixel_auroc", "pixel_f1_max"]
