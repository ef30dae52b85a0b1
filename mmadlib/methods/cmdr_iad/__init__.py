"""CMDR-IAD (2026): two mappers and two reconstructing decoders, fused by reliability and confidence."""

from mmadlib.methods.cmdr_iad.cmdr_iad import CMDRIAD, VARIANTS, Settings
from mmadlib.methods.cmdr_iad.decoders import Dec2D, Dec3D
from mmadlib.methods.cmdr_iad.fusion import confident_mean, finished, local_deviation, reliability

__all__ = ["CMDRIAD", "VARIANTS", "Dec2D", "Dec3D", "Settings", "confident_mean", "finished", "local_deviation", "reliability"]
