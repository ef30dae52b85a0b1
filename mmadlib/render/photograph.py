"""One sample from one key: picture, cloud and exact mask."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float32, UInt8

from mmadlib.render.catalogue import CATALOGUE
from mmadlib.render.defects import Defect, draw_defect
from mmadlib.render.materials import TEXELS, Surface, surface
from mmadlib.render.noise import grain, lookup, unit
from mmadlib.render.parts import Part
from mmadlib.render.scene import MESH, SIZE, Pose, Scene
from mmadlib.render.sensor import cloud, dropouts, facing, noise
from mmadlib.render.shading import GROUND, HALF, Lights, draw_lights, expose, openness, shade, table_surface

SEEN_DEPTH = 0.1  # mm of noise-free depth that counts as changed
SEEN_COLOUR = 3  # of 255, in any channel of the noise-free picture


@dataclass(frozen=True)
class Shot:
    """A picture with its cloud, metres, missing points (0, 0, 0), and its ground truth."""

    rgb: UInt8[np.ndarray, "H W 3"]
    xyz: Float32[np.ndarray, "H W 3"]
    mask: Bool[np.ndarray, "H W"]


def take(key: tuple[int | str, ...], category: str, defect: str = "good", strength: float = 1.0) -> Shot:
    """Photograph one part, the same bytes for the same arguments.

    key       what the sample is drawn from, e.g. (data seed, category, split, defect, index); every random choice of part,
              pose, light, defect place and noise depends on the key alone, so strength 0 gives the part without its defect
    defect    good | stain (rgb) | dent (xyz) | dent_lit (both) | crack (both) | relation
    strength  1 is what the category tables use; 0 the clean twin

    A dent changes the depth and leaves the picture and the missing returns of the clean part; a stain leaves the depth.
    A relation is the picture of one legal part with the cloud of another that differs in one feature.
    """
    def stream(name: str) -> np.random.Generator:
        return np.random.default_rng([zlib.crc32(str(part).encode()) for part in (*key, name)])

    part, pose, lights = CATALOGUE[category](stream("part")), draw_pose(stream("pose")), draw_lights(stream("light"))
    view, flaw = View(part, pose), None
    seen = sensed = view  # what the picture and what the cloud is taken of
    if strength and defect == "relation":
        sensed = View(_other_part(part, stream("defect")), pose)
    elif strength and defect != "good":
        flaw = draw_defect(stream("defect"), defect, part, strength)
        sensed = view if defect == "stain" else View(part, pose, flaw)
        seen = view if defect == "dent" else sensed
    radiance, clean = seen.radiance(lights, seen.openings(lights), stream("table"), flaw)
    mask = np.abs(view.depth - sensed.depth) > SEEN_DEPTH
    if defect in ("stain", "crack") and flaw is not None:
        mask |= (np.abs(expose(radiance, None).astype(int) - expose(clean, None)) >= SEEN_COLOUR).any(-1)
    returns = view if defect == "dent" else sensed  # a dent must not show by its missing returns
    missing = dropouts(returns.scene, returns.depth, returns.points, returns.normals, stream("dropout"))
    error = noise(returns.depth, facing(returns.scene, returns.points, returns.normals), stream("noise"))
    return Shot(expose(radiance, stream("picture")), cloud(sensed.depth, error, missing), mask)


def _other_part(part: Part, rng: np.random.Generator) -> Part:
    """A legal part that differs from this one in one feature."""
    swappable = [i for i, f in enumerate(part.features) if f.other is not None]
    return part.swap(swappable[rng.integers(len(swappable))])


def draw_pose(rng: np.random.Generator) -> Pose:
    """Any rotation, a few millimetres off centre, the camera tilted by 13 to 17 degrees."""
    turn, (x, y) = rng.uniform(0, 2 * np.pi), rng.uniform(-3, 3, 2)
    return Pose(turn, x, y, np.deg2rad(rng.uniform(13, 17)))


class View:
    """A part as the camera meets it: the geometry of every pixel."""

    def __init__(self, part: Part, pose: Pose, flaw: Defect | None = None) -> None:
        self.part = part
        height = part.height if flaw is None else lambda x, y: np.maximum(part.height(x, y) + flaw.lift(x, y), 0)
        self.scene = Scene(height, part.reach, pose)
        self.depth, self.points, self.normals, self.on_part = self.scene.cast()

    def openings(self, lights: Lights) -> list[np.ndarray]:
        """Shares (H * W,) of the key and of the dome that reach each pixel's place."""
        x, y = self.points[..., 0].ravel(), self.points[..., 1].ravel()
        return [lookup(m, x, y, 2 * HALF / (GROUND - 1), wrap=False) for m in openness(self.scene, lights)]

    def radiance(self, lights: Lights, opened: list[np.ndarray], rng: np.random.Generator,
                 flaw: Defect | None) -> tuple[Float32[np.ndarray, "H W 3"], Float32[np.ndarray, "H W 3"]]:
        """Light that reaches the camera, with the flaw's colour and without; its relief is in the geometry."""
        pose, on = self.scene.pose, self.on_part.ravel()
        points = self.points.reshape(-1, 3).astype(float)
        px, py = pose.to_part(points[on, 0], points[on, 1])
        top = surface(self.part, px, py)
        weave, tint = grain(rng, TEXELS, (0.8, 3.0)), rng.uniform(0.9, 1.1) + rng.normal(0, 0.015, 3)
        table = table_surface(points[~on, 0], points[~on, 1], weave, tint)
        normal, away = self._normals(px, py, top), unit(pose.camera[:, 3] - points)
        clean = np.empty((SIZE * SIZE, 3), np.float32)
        clean[on] = shade(top, normal, away[on], lights, *(part[on] for part in opened))
        clean[~on] = shade(table, _flat(table), away[~on], lights, *(part[~on] for part in opened))
        marked = clean
        if flaw is not None:
            flaw.colour(top, px, py)
            marked = clean.copy()
            marked[on] = shade(top, normal, away[on], lights, *(part[on] for part in opened))
        return marked.reshape(SIZE, SIZE, 3), clean.reshape(SIZE, SIZE, 3)

    def _normals(self, px: Float[np.ndarray, " n"], py: Float[np.ndarray, " n"], top: Surface) -> Float[np.ndarray, "n 3"]:
        """Unit normals, table frame: the smooth slope of the height field plus the texture's."""
        gy, gx = (lookup(np.asarray(g, np.float32), px, py, MESH, wrap=False) for g in self.scene.slope)
        gx, gy = gx + top.bump[:, 0], gy + top.bump[:, 1]
        c, s = np.float32(np.cos(self.scene.pose.turn)), np.float32(np.sin(self.scene.pose.turn))
        smooth = unit(np.stack([s * gy - c * gx, -s * gx - c * gy, np.ones_like(gx)], -1))
        flat = self.normals[self.on_part]  # at the foot of the wall the slope already knows of the table: use the facet
        return np.where(flat[:, 2:] < 0.35, flat, smooth)


def _flat(s: Surface) -> np.ndarray:
    return unit(np.concatenate([-s.bump, np.ones((len(s.bump), 1), np.float32)], 1))
