"""How features were made: an account of plain values, in Features.meta["extraction"], and what two accounts differ in.

An account holds

settings        what makes such an Extractor anew; weights files by their whole path, which may be another one elsewhere
grid, rgb, xyz  what decides the features: the options that each part looks at, digests of the weights in use and of the code
isolate         whether the background is gone, whoever removed it; None where there is no cloud to remove it from

Of a sample it knows `isolate` alone. Features that were put together by hand have no account (None).
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import asdict, replace
from typing import Any

from mmadlib import paths
from mmadlib.features.front_ends import FrontEnd
from mmadlib.features.options import Options, check_options, settings_of
from mmadlib.features.weights import RANDOM

SIDES = ("rgb", "xyz")
GRID = ("size", "pad")  # options that decide what all front ends are given
PLAIN = (str, int, float, bool, type(None))
REMEDY = "extract with model.extract(sample), or fit on features like these"
BACKGROUND = ("remove the background of all parts alike (option isolate=True), or say of parts without one that it is gone "
              "(isolated=True of Sample and of the reader)")


def account(fronts: Mapping[str, FrontEnd], names: Mapping[str, str], options: Options, code: str) -> dict[str, Any]:
    """The account of what these front ends make under these options, of any sample; code: digest of what they share."""
    chosen = asdict(options)
    rgb_weights, xyz_weights = (file if file in (None, RANDOM) else str(paths.here(file))
                                for file in (options.rgb_weights, options.xyz_weights))
    settings = settings_of(names["rgb"], names["xyz"], replace(options, rgb_weights=rgb_weights, xyz_weights=xyz_weights))
    found = {"settings": settings, "grid": {name: chosen[name] for name in GRID} | {"code": code}, "isolate": None}
    for side, front in fronts.items():
        found[side] = {side: names[side], **{name: chosen[name] for name in front.options},
                       f"{side} weights": front.weights, f"{side} code": front.code}
    return found


def difference(expected: dict[str, Any] | None, found: dict[str, Any] | None,
               free: Container[str] = ()) -> tuple[str, str, str] | None:
    """What two accounts differ in, as ("isolate=True", "isolate=False", remedy); None where they make features alike.

    A side that one of them leaves out (front end "none") is not compared: who needs it finds it missing; nor are the options
    `free`.
    """
    if expected is None or found is None:
        known, hand = "the settings of an Extractor", "none that are known (they were made by hand)"
        return None if expected is found else (known, hand, REMEDY) if expected else (hand, known, REMEDY)
    names = [("grid", name) for name in expected["grid"] | found["grid"]]
    for side in SIDES:
        if expected[side][side] != found[side][side]:
            names += [] if "none" in (expected[side][side], found[side][side]) else [(side, side)]
        else:
            names += [(side, name) for name in expected[side] | found[side]]
    pairs = [(name, expected[part].get(name), found[part].get(name)) for part, name in names]
    if None not in (expected["isolate"], found["isolate"]):
        pairs.append(("isolate", expected["isolate"], found["isolate"]))
    pairs = list(dict.fromkeys(pair for pair in pairs if pair[1] != pair[2] and pair[0] not in free))  # sides share options
    if not pairs:
        return None
    first, second = (" and ".join(f"{name}={pair[i]!r}" for name, *pair in pairs) for i in (0, 1))
    return first, second, BACKGROUND if pairs[0][0] == "isolate" else REMEDY


def checked(given: Any) -> dict[str, Any] | None:
    """An account from a file. Raises ValueError, KeyError, TypeError or AttributeError unless it is one."""
    if given is None:
        return None
    check_options({name: value for name, value in given["settings"].items() if name not in SIDES})
    plain = all(isinstance(value, PLAIN) for part in ("grid", *SIDES) for value in given[part].values())
    named = all(isinstance(given[side][side], str) and given[side][side] == given["settings"][side] for side in SIDES)
    if not plain or not named or not isinstance(given["isolate"], bool | None):
        raise ValueError("no account of an extraction")
    return given
