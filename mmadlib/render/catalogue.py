"""The five categories: each one poses a question about colour and shape."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np

from mmadlib.render.materials import textures
from mmadlib.render.noise import field, grain
from mmadlib.render.parts import Feature, Kind, Part

BLUE, RED, TEAL, CREAM, COAL, WHITE = ((0.13, 0.27, 0.56), (0.62, 0.13, 0.11), (0.05, 0.50, 0.48), (0.86, 0.78, 0.60),
                                       (0.13, 0.13, 0.14), (0.88, 0.88, 0.87))
ALUMINIUM = ((0.74, 0.75, 0.77), (0.69, 0.70, 0.71), (0.77, 0.75, 0.71))  # batches of one metal
SCREW = Kind(-3.0, COAL, flank=1.0, gloss=0.6)
CAP, SEAL = Kind(2.6, BLUE), Kind(-2.6, RED)

T = TypeVar("T")


def _scatter(rng: np.random.Generator, count: int, radii: np.ndarray, inside: Callable[[float, float, float], bool],
             taken: list[tuple[float, float, float]], gap: float = 2.5) -> list[tuple[float, float, float]]:
    """Up to `count` discs (x, y, r) that keep `gap` mm from each other and from `taken`, by rejection."""
    placed: list[tuple[float, float, float]] = []
    for x, y in rng.uniform(-45, 45, (60 * count, 2)):
        if len(placed) == count:
            break
        r = float(radii[len(placed)])
        clear = all(np.hypot(x - a, y - b) > r + c + gap for a, b, c in taken + placed)
        if clear and inside(x, y, r):
            placed.append((float(x), float(y), r))
    return placed


def _disc(radius: float) -> Callable[[float, float, float], bool]:
    """Room for a disc 5 mm inside a round part."""
    return lambda x, y, r: np.hypot(x, y) < radius - r - 5


def _pick(rng: np.random.Generator, options: Sequence[T]) -> T:
    return options[int(rng.integers(len(options)))]


def keyed(rng: np.random.Generator) -> Part:
    """Bead-blasted aluminium plate: every raised cap is blue, every recessed seal is red, anywhere."""
    half = 38 * rng.uniform(0.94, 1.06)
    corner = half - 8
    screws = [(sx * corner, sy * corner, 2.6) for sx in (-1, 1) for sy in (-1, 1)]
    spots = _scatter(rng, int(rng.integers(6, 9)), rng.uniform(5.0, 7.5, 9),
                     lambda x, y, r: max(abs(x), abs(y)) < half - r - 5, screws)
    kinds = [(CAP, SEAL), (SEAL, CAP)]
    features = [Feature(*spot, *_keys(_pick(rng, kinds))) for spot in spots]
    features += [Feature(*screw, SCREW) for screw in screws]
    return Part("box", half, rng.uniform(10.5, 11.5), tuple(features), "blasted", _pick(rng, ALUMINIUM), textures(rng))


def _keys(pair: tuple[Kind, Kind]) -> tuple:
    """(kind, length, angle, other) for the Feature constructor."""
    return pair[0], 0.0, 0.0, pair[1]


def free(rng: np.random.Generator) -> Part:
    """Moulded disc: caps and seals as on keyed, but each in any colour of the palette, and any of four bases."""
    radius = 42 * rng.uniform(0.94, 1.06)
    spots = _scatter(rng, int(rng.integers(6, 9)), rng.uniform(5.0, 7.5, 9), _disc(radius), [])
    palette = (BLUE, RED, TEAL, CREAM, WHITE)
    features = [Feature(*spot, Kind(_pick(rng, (2.6, -2.6)), _pick(rng, palette))) for spot in spots]
    base = _pick(rng, ((0.30, 0.31, 0.33), (0.42, 0.43, 0.45), (0.24, 0.29, 0.36), (0.36, 0.33, 0.31)))
    return Part("round", radius, rng.uniform(10.5, 11.5), tuple(features), "moulded", base, textures(rng))


def shape(rng: np.random.Generator) -> Part:
    """Enamelled casting with lobes: domes, wells and ribs of any number under one coat of paint."""
    radius, up, down = 40 * rng.uniform(0.95, 1.05), Kind(2.6, flank=1.8), Kind(-2.6, flank=1.8)
    spots = _scatter(rng, int(rng.integers(6, 10)), rng.uniform(5.0, 8.0, 10), _disc(radius), [])
    features = []
    for x, y, r in spots:
        pair = _pick(rng, ((up, down), (down, up)))
        slim = rng.random() < 0.35  # a rib instead of a disc
        features.append(Feature(x, y, 2.8 if slim else r, pair[0], r - 2.8 if slim else 0.0, rng.uniform(0, np.pi), pair[1]))
    colour = np.array([0.20, 0.38, 0.33]) * rng.uniform(0.95, 1.05)
    return Part("round", radius, rng.uniform(10, 12), tuple(features), "enamel", tuple(colour), textures(rng),
                waves=((6, 0.07, rng.uniform(0, 6)),), fillet=2.5)


def organic(rng: np.random.Generator) -> Part:
    """A biscuit: ragged outline, uneven crust, dark chips that stand out, no two alike."""
    radius, chip, bare = 40 * rng.uniform(0.92, 1.06), Kind(2.0, (0.20, 0.115, 0.075), flank=2.2, gloss=0.4), Kind(0.0)
    spots = _scatter(rng, int(rng.integers(9, 15)), rng.uniform(3.2, 5.5, 15), _disc(radius), [], 1.5)
    features = []
    for x, y, r in spots:
        pair = (chip, bare) if rng.random() < 0.75 else (bare, chip)
        features.append(Feature(x, y, r * 0.8, pair[0], r * 0.35, rng.uniform(0, np.pi), pair[1]))
    waves = tuple((k, rng.normal(0, 0.05 / k), rng.uniform(0, 6.3)) for k in range(2, 7))
    relief = grain(rng, 256, (4, 9)) + 0.4 * field(rng, 256, 1.8)
    colour = np.array([0.80, 0.62, 0.40]) * rng.uniform(0.93, 1.05)
    return Part("round", radius, rng.uniform(9, 11), tuple(features), "baked", tuple(colour), textures(rng), waves, fillet=4.0,
                crown=2.0, relief=(relief, 0.42))


def plain(rng: np.random.Generator) -> Part:
    """Turned flange, one fixed layout in two legal versions: blue raised hub or red sunk hub. The smoke test."""
    radius = 41.0
    bolts = [Feature(31 * np.cos(a), 31 * np.sin(a), 3.3, SCREW) for a in np.arange(6) * np.pi / 3]
    hub = Feature(0.0, 0.0, 11.0, *_keys(_pick(rng, [(CAP, SEAL), (SEAL, CAP)])))
    return Part("round", radius, 11.0, (hub, *bolts), "turned", _pick(rng, ALUMINIUM), textures(rng))


CATALOGUE: dict[str, Callable[[np.random.Generator], Part]] = {
    "keyed": keyed, "free": free, "shape": shape, "organic": organic, "plain": plain}
