"""PIRN (ICLR 2026), a reconstruction: a few prototypes rebuild each modality, balanced, refined and in communication."""

from mmadlib.methods.pirn.assignment import assign, cosines, usage
from mmadlib.methods.pirn.cascade import Cascade
from mmadlib.methods.pirn.communication import cross_edges
from mmadlib.methods.pirn.pirn import LEAKY, PIRN
from mmadlib.methods.pirn.reduction import common_width
from mmadlib.methods.pirn.refinement import context
from mmadlib.methods.pirn.settings import VARIANTS, Settings

__all__ = ["LEAKY", "PIRN", "VARIANTS", "Cascade", "Settings", "assign", "common_width", "context", "cosines",
           "cross_edges", "usage"]
