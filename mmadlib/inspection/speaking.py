"""Which modality shows a place: each part of a method beside its own level on good parts that it had not seen.

A method's parts are maps before they are combined (Scores.parts). Some look at colour alone, some at shape alone, some at
whether the two belong together; methods whose parts all mix them cannot tell.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Bool, Float32

COLOUR, SHAPE, BOTH, RELATION = "colour", "shape", "both", "relation"
SIDES = {"rgb": COLOUR, "xyz": SHAPE}
SAYS: dict[str, dict[str, str]] = {  # method -> part -> what it looks at
    "cpir": {"recon2d": COLOUR, "recon3d": SHAPE, "pred2d": RELATION, "pred3d": RELATION},
    "cmdr_iad": {"rec_rgb": COLOUR, "rec_xyz": SHAPE, "map_rgb": RELATION, "map_xyz": RELATION},
    "cmsa": {"bank2": COLOUR, "bank3": SHAPE, "inter": RELATION},
    "m3dm": SIDES | {"fusion": RELATION},
    "shape_guided": {"sdf": SHAPE, "rgb": COLOUR},
    "btf": {"rgb": COLOUR, "fpfh": SHAPE},
    "nearest": SIDES, "patchcore": SIDES, "pirn": SIDES, "musc": SIDES,
    "cfm": {}, "cfr": {}, "ast": {},  # errors of one modality foretold from the other: an odd colour spoils both
}
HIGH = 99.0  # percentile of a part's map on a good part that is its level
ALIKE = 0.6  # colour and shape both speak where the weaker is at least so much of the stronger


def levels_of(parts: Sequence[Mapping[str, Float32[np.ndarray, "H W"]]],
              seen: Sequence[Bool[np.ndarray, "H W"]]) -> dict[str, float]:
    """What each part of a method reaches on good parts: the mean over them of a high percentile within the foreground."""
    names = parts[0] if parts else {}
    return {name: float(np.mean([np.percentile(part[name][where], HIGH) for part, where in zip(parts, seen, strict=True)
                                 if where.any()])) for name in names}


def speaks(method: str, parts: Mapping[str, Float32[np.ndarray, "H W"]], place: Bool[np.ndarray, "H W"],
           levels: Mapping[str, float]) -> str:
    """The modality that shows a place: colour | shape | both | relation; "" where the method cannot tell.

    Both, where colour and shape are about equally far above their levels; relation, where neither reaches its own.
    """
    says = SAYS.get(method, {})
    found = dict.fromkeys((COLOUR, SHAPE, RELATION), 0.0)
    for name, part in parts.items():
        if name in says and name in levels and place.any():
            ratio = float(np.percentile(part[place], 75)) / max(levels[name], 1e-12)
            found[says[name]] = max(found[says[name]], ratio)
    colour, shape, relation = found.values()
    if not max(found.values()) > 0:
        return ""
    if max(colour, shape) < 1 and relation > max(colour, shape, 1):
        return RELATION
    if min(colour, shape) >= 1 and min(colour, shape) >= ALIKE * max(colour, shape):
        return BOTH
    return COLOUR if colour >= shape else SHAPE
