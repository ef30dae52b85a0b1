"""Defects: a footprint on the part, a change of height, a change of colour. Strength 0 is the part itself."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mmadlib.render.materials import Surface, lab, linear
from mmadlib.render.noise import field, lookup, step
from mmadlib.render.parts import Part

# residues that no category uses as a colour: rust, cutting oil, verdigris, flux, soot, violet marker
RESIDUES = tuple(linear(c) for c in ((0.52, 0.27, 0.08), (0.55, 0.47, 0.10), (0.30, 0.62, 0.38), (0.80, 0.74, 0.30),
                                     (0.10, 0.09, 0.08), (0.46, 0.24, 0.52)))
DELTA_E, DENT_DEPTH, CRACK_DEPTH = 42.0, 2.2, 1.6  # at strength 1: CIE 1976 colour difference, mm, mm
NOISE_CELL = 0.5


@dataclass(frozen=True)
class Defect:
    """Where and how: part frame, mm, radians; `form` is gouge, bruise or rough for dents."""

    kind: str
    x: float
    y: float
    angle: float
    form: str
    size: float
    ragged: np.ndarray  # noise field that frays the outline, NOISE_CELL mm per cell
    fine: np.ndarray
    choice: float  # in 0..1, picks the residue
    strength: float

    def _frame(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        c, s = np.cos(self.angle), np.sin(self.angle)
        return (x - self.x) * c + (y - self.y) * s, (y - self.y) * c - (x - self.x) * s

    def cover(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Footprint in 0..1."""
        u, v = self._frame(x, y)
        fray = lookup(self.ragged, x, y, NOISE_CELL)
        if self.kind == "crack":
            bend = 1.6 * lookup(self.ragged, u, 0 * u, NOISE_CELL)
            taper = 1.1 * np.sqrt(np.clip(1 - (u / (1.8 * self.size)) ** 2, 0, 1))
            return step(taper + 0.3 - np.abs(v - bend), 0.7) * (np.abs(u) < 1.8 * self.size)
        if self.kind.startswith("dent") and self.form == "gouge":
            return step(0.42 * self.size - np.hypot(np.maximum(np.abs(u) - 0.9 * self.size, 0), v), 1.2)
        radius = self.size * (1 + 0.22 * fray)
        return step(radius - np.hypot(u, 1.35 * v), 1.2 if self.kind == "stain" else 0.6 * self.size)

    def lift(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Change of height, mm."""
        if self.kind == "crack":
            return -CRACK_DEPTH * self.strength * self.cover(x, y)
        if not self.kind.startswith("dent"):
            return np.zeros_like(x)
        if self.form == "rough":  # torn material: up and down within the footprint
            return 0.75 * DENT_DEPTH * self.strength * self.cover(x, y) * lookup(self.fine, x, y, NOISE_CELL)
        return -DENT_DEPTH * self.strength * self.cover(x, y)

    def colour(self, s: Surface, x: np.ndarray, y: np.ndarray) -> None:
        """Change the albedo of `s` at its points, in place: a residue for stains, dirt in cracks."""
        if self.kind == "crack":
            s.albedo *= (1 - 0.75 * min(self.strength, 1.0) * self.cover(x, y))[:, None]
        if self.kind != "stain" or not self.strength:
            return
        cover = self.cover(x, y)
        under = s.albedo[cover > 0.5].mean(0) if (cover > 0.5).any() else s.albedo.mean(0)
        away = np.array([np.linalg.norm(lab(r) - lab(under)) for r in RESIDUES])
        usable = np.flatnonzero(away > min(DELTA_E * self.strength * 1.15, away.max() - 1e-6))
        pick = usable[int(self.choice * len(usable))]
        film = cover * (0.85 + 0.15 * np.clip(lookup(self.fine, x, y, NOISE_CELL), -2, 1))
        share = _share(under, RESIDUES[pick], DELTA_E * self.strength) * film
        s.albedo += share[:, None] * (RESIDUES[pick] - s.albedo)
        s.metal *= 1 - share


def _share(under: np.ndarray, residue: np.ndarray, wanted: float) -> float:
    """How much residue, mixed in linear light, gives the wanted colour difference."""
    shares = np.linspace(0, 1, 65)
    reached = np.linalg.norm(lab(under + shares[:, None] * (residue - under)) - lab(under), axis=1)
    return float(np.interp(wanted, np.maximum.accumulate(reached), shares))


def draw_defect(rng: np.random.Generator, kind: str, part: Part, strength: float) -> Defect:
    """A defect somewhere on the top of the part. All draws are made whatever the kind, so kinds share their places."""
    size = rng.uniform(4.5, 7.0)
    margin = 1.4 * size
    spots = rng.uniform(-part.radius, part.radius, (400, 2))
    x, y = map(float, spots[part.depth_inside(*spots.T) > margin + 3][0])
    form = ("gouge", "bruise", "rough")[rng.integers(3)]
    return Defect(kind, x, y, rng.uniform(0, np.pi), form, size, field(rng, 256, 5), field(rng, 256, 3.0),
                  rng.random(), strength)
