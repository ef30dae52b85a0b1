"""CPIR: cross-modal prediction and intra-modal reconstruction through one shared latent."""

from mmadlib.methods.cpir.cpir import CPIR, VARIANTS, Settings, aggregate, parameters, relative_size
from mmadlib.methods.cpir.lb3m import PARTS

__all__ = ["CPIR", "PARTS", "VARIANTS", "Settings", "aggregate", "parameters", "relative_size"]
