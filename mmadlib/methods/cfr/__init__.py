"""CFR (ICML 2026): CFM's mappers trained with a cycle, and features retrieved from memory where a mapper is unreliable."""

from mmadlib.methods.cfr.cfr import CFR, VARIANTS, Settings
from mmadlib.methods.cfr.retriever import Retriever

__all__ = ["CFR", "VARIANTS", "Retriever", "Settings"]
