"""Light: a soft key, a fill and a dome on table and part, then lens and picture sensor."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32, UInt8
from scipy.ndimage import gaussian_filter

from mmadlib.render.materials import CELL, Surface, encoded, linear
from mmadlib.render.noise import lookup, unit
from mmadlib.render.scene import SIZE, Scene

HALF, GROUND = 90.0, 120  # mm and cells of the map of how open each place is to the lights
MAT = linear((0.23, 0.24, 0.25))


@dataclass(frozen=True)
class Lights:
    """Directions towards the lights (unit, table frame) with linear RGB strengths."""

    key: Float32[np.ndarray, "k 3"]  # samples of one soft box
    key_colour: Float32[np.ndarray, " 3"]
    fill: Float32[np.ndarray, " 3"]
    fill_colour: Float32[np.ndarray, " 3"]
    dome: Float32[np.ndarray, "d 3"]  # cosine-weighted samples of the upper half space
    dome_colour: Float32[np.ndarray, " 3"]


def draw_lights(rng: np.random.Generator) -> Lights:
    """One set-up of an inspection cell: the key moves within 60 degrees, strengths and warmth vary by some percent."""
    azimuth, height = np.deg2rad(rng.uniform(95, 155)), np.deg2rad(rng.uniform(48, 62))
    main = np.array([np.cos(azimuth) * np.cos(height), np.sin(azimuth) * np.cos(height), np.sin(height)])
    key = main + 0.17 * rng.standard_normal((8, 3))
    ring = (np.arange(14) + rng.uniform()) * np.pi * (3 - np.sqrt(5))  # golden angle: even cover of the disc
    r = np.sqrt((np.arange(14) + 0.5) / 14 * 0.97)
    dome = np.stack([r * np.cos(ring), r * np.sin(ring), np.sqrt(1 - r**2)], -1)
    side = azimuth + np.pi * rng.uniform(0.7, 1.3)
    warm = np.array([1, 1, 1]) + rng.normal(0, 0.02, 3) * [1, 0.3, -1]
    gain = rng.uniform(0.92, 1.08)
    fill = np.array([np.cos(side) * 0.7, np.sin(side) * 0.7, 0.71])
    parts = (unit(key), 1.8 * gain * warm, fill, 0.35 * gain * np.ones(3), dome, 0.52 * gain * np.array([0.97, 1.0, 1.04]))
    return Lights(*(p.astype(np.float32) for p in parts))


def openness(scene: Scene, lights: Lights) -> tuple[Float32[np.ndarray, "n n"], Float32[np.ndarray, "n n"]]:
    """Shares of the key and of the dome that reach each place of the surface, by shadow rays."""
    ground = scene.ground(HALF, GROUND)
    towards = np.concatenate([lights.key, lights.dome])
    seen = ~scene.blocked(ground, towards[:, None, None])
    k = len(lights.key)
    key, dome = (gaussian_filter(part.mean(0, dtype=np.float32), 0.7) for part in (seen[:k], seen[k:]))
    return key, dome


def _lobe(half: np.ndarray, rough: np.ndarray) -> np.ndarray:
    """Blinn-Phong lobe of unit energy; half = cosine between normal and half vector."""
    power = 2 / np.maximum(rough, 0.05) ** 4
    return (power + 8) / 25 * np.maximum(half, 0) ** power


def shade(s: Surface, normal: Float[np.ndarray, "n 3"], view: Float[np.ndarray, "n 3"], lights: Lights,
          key_open: Float[np.ndarray, " n"], dome_open: Float[np.ndarray, " n"]) -> Float[np.ndarray, "n 3"]:
    """Radiance towards the camera: Lambert and Blinn-Phong for key and fill, dome and its mirror image.

    normal, view at length 1 in the table frame. In double precision: the last bit of a power is the processor's, and in single
    precision it would show in one of 400,000 stored values.
    """
    normal, view, rough = normal.astype(float), view.astype(float), s.rough.astype(float)
    metal, facing = s.metal[:, None], np.maximum((normal * view).sum(1), 0)[:, None]
    shine = 0.04 * (1 - metal) + s.albedo * metal
    shine = shine + (1 - shine) * 0.6 * (1 - facing) ** 5
    main = unit(lights.key.mean(0))
    out = np.zeros(s.albedo.shape)
    for light, colour, opened in ((main, lights.key_colour, key_open), (lights.fill, lights.fill_colour, dome_open)):
        half = unit(light + view)
        flow = np.maximum(normal @ light, 0) * opened
        lobe = _lobe((normal * half).sum(1), rough)[:, None]
        out += flow[:, None] * colour * (s.albedo * (1 - 0.9 * metal) + shine * lobe * 0.5)
    mirror = 2 * facing * normal - view
    ceiling = 0.35 + 0.9 * np.clip(mirror[:, 2:], 0, 1) ** 2 + 0.8 * np.exp(-((1 - mirror @ main) / 0.12))[:, None]
    sky = (0.5 + 0.5 * normal[:, 2:]) * dome_open[:, None] * lights.dome_colour
    return out + sky * (s.albedo * (1 - metal) + shine * ceiling * (0.4 + 0.6 * metal))


def table_surface(x: np.ndarray, y: np.ndarray, weave: np.ndarray, tint: np.ndarray) -> Surface:
    """A rubber mat: matt, dark, finely ribbed, a little dusty."""
    dust = lookup(weave, x, y, CELL)
    rib = np.sin(2 * np.pi * x / 3.2)
    albedo = MAT * tint * (1 + 0.10 * dust + 0.05 * rib)[:, None]
    n = x.size
    return Surface(albedo.astype(np.float32), np.zeros(n, np.float32), np.full(n, 0.6, np.float32),
                   np.stack([0.05 * np.cos(2 * np.pi * x / 3.2), 0 * y], -1).astype(np.float32))


def expose(radiance: Float[np.ndarray, "H W 3"], rng: np.random.Generator | None) -> UInt8[np.ndarray, "H W 3"]:
    """Radiance to an 8-bit picture: falloff, lens blur, soft shoulder, shot and read noise (none without rng)."""
    v, u = (np.mgrid[:SIZE, :SIZE] / (SIZE - 1) - 0.5).astype(np.float32)
    light = radiance.astype(float) * (1 - 0.22 * (u * u + v * v))[..., None]
    light = gaussian_filter(light, (0.55, 0.55, 0))
    light = 1 - np.exp(-1.05 * light)  # highlights roll off as on film
    if rng is not None:
        grain = rng.standard_normal(light.shape, dtype=np.float32)
        light = light + grain * np.sqrt(2.0e-5 + 1.6e-4 * np.maximum(light, 0))
    return (encoded(light) * 255 + 0.5).astype(np.uint8)
