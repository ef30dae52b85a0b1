"""METHODS: short name -> class. A new method is one file and one line here."""

from mmadlib.methods.base import Method, Scores
from mmadlib.methods.cfm import CFM
from mmadlib.methods.cfr import CFR
from mmadlib.methods.cmdr_iad import CMDRIAD
from mmadlib.methods.cmsa import CMSA
from mmadlib.methods.cpir import CPIR
from mmadlib.methods.nearest import Nearest
from mmadlib.methods.pirn import PIRN

METHODS: dict[str, type[Method]] = {cls.name: cls for cls in (CFM, CFR, CMDRIAD, CPIR, PIRN, CMSA, Nearest)}

# the names that papers print (results/published.csv)
DISPLAY = {"cfm": "CFM", "cfr": "CFR", "cmdr_iad": "CMDR-IAD", "cpir": "CPIR", "pirn": "PIRN", "cmsa": "CMSA",
           "nearest": "Nearest neighbour"}

__all__ = ["DISPLAY", "METHODS", "Method", "Scores"]
