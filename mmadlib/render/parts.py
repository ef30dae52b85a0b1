"""Parts: an outline, a thickness and a set of features (bosses, wells, ribs, chips), as height fields."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from mmadlib.render.noise import lookup, step

RELIEF_CELL = 0.5  # mm per cell of the relief field
WALL = 1.2  # mm over which the outer wall rises; twice the mesh spacing, or the silhouette would be a staircase


@dataclass(frozen=True)
class Kind:
    """What a feature is made of: how far it rises (mm, negative: sinks) and how it is coloured (sRGB, None: as the base)."""

    lift: float
    paint: tuple[float, float, float] | None = None
    flank: float = 1.4  # mm, width of its slope
    gloss: float = 0.35  # roughness of its paint


@dataclass(frozen=True)
class Feature:
    """A capsule on the part: a disc of radius r swept over +-length along `angle`; mm and radians, part frame."""

    x: float
    y: float
    r: float
    kind: Kind
    length: float = 0.0
    angle: float = 0.0
    other: Kind | None = None  # the legal alternative in the same place; None: always the same

    def distance(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Signed distance to its rim, negative inside, mm."""
        c, s = np.cos(self.angle), np.sin(self.angle)
        u, v = (x - self.x) * c + (y - self.y) * s, (y - self.y) * c - (x - self.x) * s
        return np.hypot(np.maximum(np.abs(u) - self.length, 0), v) - self.r

    def swapped(self) -> Feature:
        """The same place with the other legal kind."""
        assert self.other is not None, "this place has no other kind"
        return replace(self, kind=self.other, other=self.kind)


@dataclass(frozen=True)
class Part:
    """One instance, in its own frame (mm, z up from the table).

    outline   "box" (rounded square of half width `radius`) or "round" (radius times 1 + sum of `waves`)
    waves     (order, amplitude, phase) rows of the outline
    relief    (noise field, mm): height variation of the top, `RELIEF_CELL` mm per cell
    material  name in materials.MATERIALS; colour sRGB
    textures  noise fields that the material asks for
    """

    outline: str
    radius: float
    thickness: float
    features: tuple[Feature, ...]
    material: str
    colour: tuple[float, float, float]
    textures: dict[str, np.ndarray]
    waves: tuple[tuple[int, float, float], ...] = ()
    corner: float = 12.0
    fillet: float = 1.8
    crown: float = 0.0  # mm by which the middle stands above the rim
    relief: tuple[np.ndarray, float] | None = None

    @property
    def reach(self) -> float:
        """Half the side of a square that holds the part, mm."""
        return self.radius * (1 + sum(abs(a) for _, a, _ in self.waves)) + 1.0

    def depth_inside(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Distance to the outline, positive inside, mm (first order where the outline is wavy)."""
        if self.outline == "box":
            qx, qy = np.abs(x) - self.radius + self.corner, np.abs(y) - self.radius + self.corner
            return self.corner - np.hypot(np.maximum(qx, 0), np.maximum(qy, 0)) - np.minimum(np.maximum(qx, qy), 0)
        theta = np.arctan2(y, x)
        return self.radius * (1 + sum(a * np.cos(k * theta + p) for k, a, p in self.waves)) - np.hypot(x, y)

    def height(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Height of the surface over the table, 0 outside, mm."""
        d = self.depth_inside(x, y)
        wall = (self.thickness - self.fillet) * np.clip(d / WALL, 0, 1)
        roll = np.clip(self.fillet - (d - WALL / 2), 0, self.fillet)
        top = wall + np.where(d > WALL / 2, np.sqrt(np.maximum(self.fillet**2 - roll**2, 0)), 0)
        inner = step(d - 1.5, 3.0)
        if self.crown:
            top += self.crown * np.clip(d / self.radius, 0, 1) ** 0.5 * (d > 0)
        if self.relief is not None:
            top += self.relief[1] * inner * lookup(self.relief[0], x, y, RELIEF_CELL)
        for f in self.features:
            if f.kind.lift:
                top += f.kind.lift * step(-f.distance(x, y), f.kind.flank)
        return np.maximum(top, 0)

    def swap(self, k: int) -> Part:
        """The legal part that differs from this one in feature k."""
        features = list(self.features)
        features[k] = features[k].swapped()
        return replace(self, features=tuple(features))
