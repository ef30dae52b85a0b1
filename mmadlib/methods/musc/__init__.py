"""MuSc-V2 (TPAMI 2026): the parts of an unlabelled batch judge each other; no good part is needed."""

from mmadlib.methods.musc.musc import LEAST, MuSc
from mmadlib.methods.musc.settings import VARIANTS, Settings

__all__ = ["LEAST", "VARIANTS", "MuSc", "Settings"]
