"""CMSA (ECAI 2025), a reconstruction of its abstract: aligned latents beside a light memory bank a modality."""

from mmadlib.methods.cmsa.aligner import ALIGN
from mmadlib.methods.cmsa.calibration import calibrated, fuse
from mmadlib.methods.cmsa.cmsa import CMSA, LOOKS_AT, VARIANTS, Settings
from mmadlib.methods.cmsa.light_bank import LightBank

__all__ = ["ALIGN", "CMSA", "LOOKS_AT", "VARIANTS", "LightBank", "Settings", "calibrated", "fuse"]
