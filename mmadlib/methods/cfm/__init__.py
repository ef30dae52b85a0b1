"""CFM (CVPR 2024): two mappers between the modalities and the product of their errors."""

from mmadlib.methods.cfm.cfm import CFM, VARIANTS, Settings, aggregate, mapping_losses

__all__ = ["CFM", "VARIANTS", "Settings", "aggregate", "mapping_losses"]
