"""One row of a table: a method with a variant, its printed name and its look, the same in every table and figure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mmadlib.errors import unknown
from mmadlib.methods import DISPLAY, EVERY, METHODS
from mmadlib.report.plots import PALETTE

# methods without public code: what runs here is our reconstruction of what is known, and every table says so
RECONSTRUCTED = {"pirn": "reconstruction", "cmsa": "reconstruction"}  # method -> its variant beside printed numbers
# variants that run on inputs of their papers' own, and still stands in the tables of the backbones that the others share
OWN_INPUTS = {("pirn", "reconstruction"): "dinov2_vitb14+normals_dinov2_vitb14",
              **dict.fromkeys([("btf", "published"), ("patchcore", "published"), ("shape_guided", "published")],
                              "wide_resnet50_2+descriptors"),
              ("ast", "published"): "tf_efficientnet_b5.ap_in1k+descriptors"}
# variants beside the default of a method: PatchCore takes one modality at a time, M3DM as printed has a bank of fused patches
FURTHER = {"patchcore": ("xyz",), "m3dm": ("triple",)}
# what a reader asks of any method first: is it better than a nearest neighbour on either modality, or on both?
SANITY = {"rgb": "RGB", "xyz": "3D", "max": "larger of both", "joint": "both joined"}
GREYS = {"rgb": "#AAAAAA", "xyz": "#888888", "max": "#666666", "joint": "#222222"}
COLOURS = PALETTE[:6]  # the last two of the palette, black and yellow, read as a baseline and not at all
DASHES = ("", (4, 1.5), (1, 1), (5, 1, 1, 1))
MARKERS = "osD^vPX"


@dataclass(frozen=True, order=True)
class Row:
    """A method and the label of its settings; raises UnknownName for a method that does not exist."""

    method: str
    variant: str = "default"

    def __post_init__(self) -> None:
        if self.method not in EVERY:
            raise unknown("method", self.method, EVERY)

    @property
    def sanity(self) -> bool:
        """Whether this is one of the nearest-neighbour rows."""
        return self.method == "nearest"

    @property
    def reconstructed(self) -> bool:
        """Whether the method has no public code."""
        return self.method in RECONSTRUCTED

    @property
    def name(self) -> str:
        """CFM, CPIR [ours_recon], PIRN (reconstruction), Nearest neighbour [RGB]."""
        name = DISPLAY.get(self.method, self.method)
        if self.reconstructed and self.variant != RECONSTRUCTED[self.method]:
            name += " (reconstruction)"
        if self.variant == "default":
            return name
        return f"{name} [{SANITY.get(self.variant, self.variant) if self.sanity else self.variant}]"

    def inputs(self, features: str) -> str:
        """The features that this row has in a table of `features`: those, or with backbones the inputs of its own paper."""
        return OWN_INPUTS.get((self.method, self.variant), features) if features == "paper" else features

    @property
    def look(self) -> dict[str, Any]:
        """color, dashes (a seaborn pattern) and marker: a colour per method in the order of EVERY, greys for sanity rows."""
        if self.sanity:
            place = list(SANITY).index(self.variant) if self.variant in SANITY else 0
            return {"color": GREYS.get(self.variant, "#777777"), "dashes": DASHES[place], "marker": MARKERS[place]}
        place = [m for m in EVERY if m != "nearest"].index(self.method)
        return {"color": COLOURS[place % len(COLOURS)], "dashes": DASHES[place // len(COLOURS) % len(DASHES)],
                "marker": MARKERS[place % len(MARKERS)]}


def looks(some: Sequence[Row]) -> dict[str, dict[str, Any]]:
    """Printed name -> look in a figure of these rows; of several of one method the later ones are dashed in their own way."""
    found, seen = {}, Counter[str]()
    for row in some:
        again = {} if row.sanity or not seen[row.method] else {"dashes": DASHES[2 + (seen[row.method] - 1) % 2]}
        found[row.name] = row.look | again
        seen[row.method] += 1
    return found


def beside_printed(variant: str = "published") -> dict[str, Row]:
    """Printed name -> the row whose numbers stand beside it: that with the published settings, or the reconstruction."""
    return {name: Row(method, RECONSTRUCTED.get(method, variant)) for method, name in DISPLAY.items()}


def every_row() -> list[Row]:
    """The rows that a table of all methods has: each method at its defaults and FURTHER, then the nearest-neighbour rows."""
    methods = [m for m in METHODS if m != "nearest"]
    return [*(Row(m, v) for m in methods for v in ("default", *FURTHER.get(m, ()))), *(Row("nearest", v) for v in SANITY)]
