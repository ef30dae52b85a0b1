"""PatchCore: a memory bank of locally aware patches of one modality, in two dialects."""

from mmadlib.methods.patchcore.patchcore import VARIANTS, PatchCore, Settings, embedding

__all__ = ["VARIANTS", "PatchCore", "Settings", "embedding"]
