"""Materials: what the surface of a part looks like at given points, before any light falls on it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from mmadlib.render.noise import field, grain, lookup, step
from mmadlib.render.parts import Part

TEXELS, CELL = 256, 0.4  # cells of a texture, mm per cell


@dataclass
class Surface:
    """Per-point optics: linear albedo, metal and roughness, bump slope in the part frame."""

    albedo: Float[np.ndarray, "n 3"]
    metal: Float[np.ndarray, " n"]
    rough: Float[np.ndarray, " n"]
    bump: Float[np.ndarray, "n 2"]


def linear(srgb: np.ndarray | tuple) -> np.ndarray:
    """sRGB in 0..1 to linear light."""
    c = np.asarray(srgb, dtype=float)
    return np.where(c <= 0.04045, c / 12.92, ((np.maximum(c, 0) + 0.055) / 1.055) ** 2.4).astype(np.float32)


def encoded(light: np.ndarray) -> np.ndarray:
    """Linear light to sRGB in 0..1."""
    c = np.clip(light, 0, 1)
    return np.where(c <= 0.0031308, c * 12.92, 1.055 * c ** (1 / 2.4) - 0.055).astype(np.float32)


def lab(light: Float[np.ndarray, "*n 3"]) -> Float[np.ndarray, "*n 3"]:
    """CIE L*a*b* (D65) of linear sRGB."""
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    t = light @ (to_xyz / to_xyz.sum(1, keepdims=True)).T
    f = np.where(t > 0.008856, np.cbrt(np.maximum(t, 1e-9)), 7.787 * t + 16 / 116)
    return np.stack([116 * f[..., 1] - 16, 500 * (f[..., 0] - f[..., 1]), 200 * (f[..., 1] - f[..., 2])], -1)


def _slope(image: np.ndarray, x: np.ndarray, y: np.ndarray) -> Float[np.ndarray, "n 2"]:
    """Slope of a texture taken as a height in mm."""
    gy, gx = np.gradient(image, CELL)
    return np.stack([lookup(gx, x, y, CELL), lookup(gy, x, y, CELL)], -1)


def _blank(part: Part, x: np.ndarray, metal: float, rough: float) -> Surface:
    return Surface(np.tile(linear(part.colour), (x.size, 1)), np.full(x.size, metal, np.float32),
                   np.full(x.size, rough, np.float32), np.zeros((x.size, 2), np.float32))


def blasted(part: Part, x: np.ndarray, y: np.ndarray) -> Surface:
    """Milled and bead-blasted metal: faint tool marks, fine sparkle."""
    s = _blank(part, x, 0.75, 0.42)
    marks, fine = lookup(part.textures["marks"], x, y, CELL), lookup(part.textures["fine"], x, y, CELL)
    s.albedo *= (1 + 0.05 * marks + 0.06 * fine + 0.04 * lookup(part.textures["slow"], x, y, CELL))[:, None]
    s.bump += _slope(0.012 * part.textures["fine"] + 0.008 * part.textures["marks"], x, y)
    return s


def turned(part: Part, x: np.ndarray, y: np.ndarray) -> Surface:
    """Turned metal: concentric grooves that catch the light in two fans."""
    s = _blank(part, x, 0.85, 0.38)
    r = np.hypot(x, y)
    groove = lookup(part.textures["fine"], r, np.arctan2(y, x) * 2, CELL / 2)
    s.albedo *= (1 + 0.09 * groove + 0.05 * lookup(part.textures["slow"], x, y, CELL))[:, None]
    s.bump += (0.06 * groove / np.maximum(r, 1))[:, None] * np.stack([x, y], -1)
    return s


def enamel(part: Part, x: np.ndarray, y: np.ndarray) -> Surface:
    """Sprayed enamel on a casting: orange peel, slight dirt in the hollows, flakes."""
    s = _blank(part, x, 0.0, 0.36)
    slow, fine = lookup(part.textures["slow"], x, y, CELL), lookup(part.textures["fine"], x, y, CELL)
    s.albedo *= (1 + 0.05 * slow + 0.035 * fine)[:, None]
    s.bump += _slope(0.03 * part.textures["peel"] + 0.006 * part.textures["fine"], x, y)
    return s


def moulded(part: Part, x: np.ndarray, y: np.ndarray) -> Surface:
    """Filled polymer with an eroded (spark-textured) skin and pale specks."""
    s = _blank(part, x, 0.0, 0.5)
    specks = step(lookup(part.textures["fine"], x, y, CELL) - 1.6, 1.0)
    s.albedo *= (1 + 0.05 * lookup(part.textures["slow"], x, y, CELL))[:, None]
    s.albedo += 0.06 * specks[:, None]
    s.bump += _slope(0.022 * part.textures["fine"], x, y)
    return s


def baked(part: Part, x: np.ndarray, y: np.ndarray) -> Surface:
    """Baked dough: browner on crests and rim, pores, crumbs."""
    s = _blank(part, x, 0.0, 0.75)
    slow, fine = lookup(part.textures["slow"], x, y, CELL), lookup(part.textures["fine"], x, y, CELL)
    rim = np.exp(-np.clip(part.depth_inside(x, y), 0, None) / 7)
    brown = np.clip(0.25 + 0.5 * rim + 0.16 * slow + 0.08 * lookup(part.textures["peel"], x, y, CELL), 0, 1)[:, None]
    s.albedo = s.albedo * (1 - brown * np.array([0.45, 0.62, 0.75], np.float32)) * (1 + 0.07 * fine)[:, None]
    s.bump += _slope(0.10 * part.textures["peel"] + 0.03 * part.textures["fine"], x, y)
    return s


MATERIALS = {"blasted": blasted, "turned": turned, "enamel": enamel, "moulded": moulded, "baked": baked}


def textures(rng: np.random.Generator) -> dict[str, np.ndarray]:
    """The noise fields that the materials use, TEXELS cells of CELL mm."""
    return {"fine": grain(rng, TEXELS, (0.7, 1.6)), "marks": field(rng, TEXELS, 14, 0.8),
            "slow": grain(rng, TEXELS, (8, 25)), "peel": field(rng, TEXELS, 2.2)}


def surface(part: Part, x: Float[np.ndarray, " n"], y: Float[np.ndarray, " n"]) -> Surface:
    """The part at points of its own frame, features painted over the base."""
    s = MATERIALS[part.material](part, x, y)
    fine, slow = lookup(part.textures["fine"], x, y, CELL), lookup(part.textures["slow"], x, y, CELL)
    mottle = (1 + 0.04 * fine + 0.05 * slow)[:, None]
    for f in part.features:
        if f.kind.paint is None:
            continue
        cover = step(0.35 - f.distance(x, y), 0.7)
        s.albedo += cover[:, None] * (linear(f.kind.paint) * mottle - s.albedo)
        s.metal *= 1 - cover
        s.rough += cover * (f.kind.gloss - s.rough)
        s.bump *= (1 - 0.6 * cover)[:, None]
    return s
