"""BTF: back to the feature, a bank of RGB features beside point feature histograms."""

from mmadlib.methods.btf.btf import BTF, VARIANTS, Settings
from mmadlib.methods.btf.histograms import fpfh

__all__ = ["BTF", "VARIANTS", "Settings", "fpfh"]
