"""METHODS: short name -> class. A new method is one file and one line here."""

from mmadlib.methods.base import Method, Scores
from mmadlib.methods.cfm import CFM
from mmadlib.methods.cpir import CPIR
from mmadlib.methods.nearest import Nearest

METHODS: dict[str, type[Method]] = {cls.name: cls for cls in (CFM, CPIR, Nearest)}

# the names that papers print (results/published.csv)
DISPLAY = {"cfm": "CFM", "cpir": "CPIR", "nearest": "Nearest neighbour"}

__all__ = ["DISPLAY", "METHODS", "Method", "Scores"]
