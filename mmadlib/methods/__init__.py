"""Methods: one room a paper; METHODS finds their classes by name. Beside the rooms stands what several of them use.

A new method is one file, or a room, and one line here.
"""

from collections import ChainMap
from collections.abc import Mapping

from mmadlib.methods.ast import AST
from mmadlib.methods.base import Method, Scores
from mmadlib.methods.btf import BTF
from mmadlib.methods.cfm import CFM
from mmadlib.methods.cfr import CFR
from mmadlib.methods.cmdr_iad import CMDRIAD
from mmadlib.methods.cmsa import CMSA
from mmadlib.methods.cpir import CPIR
from mmadlib.methods.distances import image_score
from mmadlib.methods.m3dm import M3DM
from mmadlib.methods.mapper import GatedMapper, Mapper
from mmadlib.methods.musc import MuSc
from mmadlib.methods.nearest import Nearest
from mmadlib.methods.patchcore import PatchCore
from mmadlib.methods.pirn import PIRN
from mmadlib.methods.scoring import IMAGE_NORMS, normalise, smooth
from mmadlib.methods.shape_guided import ShapeGuided
from mmadlib.methods.token_grid import on_grid, to_pixels

METHODS: dict[str, type[Method]] = {cls.name: cls for cls in (
    CFM, CFR, CMDRIAD, CPIR, PIRN, CMSA, BTF, PatchCore, M3DM, AST, ShapeGuided, Nearest)}
# of another contract: score_batch(features) judges a batch of unlabelled parts, no fit on good ones
BATCH_METHODS: dict[str, type[MuSc]] = {cls.name: cls for cls in (MuSc,)}
EVERY: Mapping[str, type[Method]] = ChainMap(BATCH_METHODS, METHODS)  # type: ignore[arg-type]  # a view, METHODS first

# the names that papers print (results/published.csv)
DISPLAY = {"cfm": "CFM", "cfr": "CFR", "cmdr_iad": "CMDR-IAD", "cpir": "CPIR", "pirn": "PIRN", "cmsa": "CMSA",
           "btf": "BTF", "patchcore": "PatchCore", "m3dm": "M3DM", "ast": "AST", "shape_guided": "Shape-Guided",
           "nearest": "Nearest neighbour", "musc": "MuSc-V2"}

__all__ = ["BATCH_METHODS", "DISPLAY", "EVERY", "IMAGE_NORMS", "METHODS", "GatedMapper", "Mapper", "Method", "MuSc", "Scores",
           "image_score", "normalise", "on_grid", "smooth", "to_pixels"]
