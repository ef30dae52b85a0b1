"""Geometry to rays: a part on a table, cast from the camera, from the lights and from the projector."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import open3d as o3d
from jaxtyping import Bool, Float, Float32, Int

from mmadlib.render.noise import unit

SIZE = 224  # pixels, both sides
FOCUS, PIXEL = 0.0152, 1.8e-5  # m, m per pixel: 844 px focal length, about 0.6 mm per pixel on the table
CENTRE = (111.75, 111.75)  # off the pixel centres, so that no point has a zero coordinate
DISTANCE = 500.0  # mm from the camera to the middle of the table
MESH = 0.6  # mm between vertices
SKIRT = 1.0  # mm: lower hits lie on mesh cells that run out onto the table
THREADS = 1  # samples are the unit of parallel work


@dataclass(frozen=True)
class Pose:
    """Where part and camera stand: part rotated by `turn` and moved by (x, y) mm, camera tilted by `tilt` (radians)."""

    turn: float
    x: float
    y: float
    tilt: float

    def to_part(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Table coordinates to part coordinates."""
        c, s = np.cos(self.turn), np.sin(self.turn)
        return (x - self.x) * c + (y - self.y) * s, (y - self.y) * c - (x - self.x) * s

    def to_table(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Part coordinates to table coordinates."""
        c, s = np.cos(self.turn), np.sin(self.turn)
        return x * c - y * s + self.x, x * s + y * c + self.y

    @property
    def camera(self) -> Float32[np.ndarray, "3 4"]:
        """Columns right, down, forward and the eye, table frame, mm."""
        c, s = np.cos(self.tilt), np.sin(self.tilt)
        return np.array([[1, 0, 0, 0], [0, -c, s, -DISTANCE * s], [0, -s, -c, DISTANCE * c]], np.float32)


@lru_cache
def directions() -> Float32[np.ndarray, "H W 3"]:
    """Camera-frame ray directions with z = 1, so that a ray parameter is a depth."""
    focal = FOCUS / PIXEL
    v, u = np.mgrid[:SIZE, :SIZE].astype(np.float32)
    return np.stack([(u - CENTRE[0]) / focal, (v - CENTRE[1]) / focal, np.ones_like(u)], -1)


@lru_cache(maxsize=4)
def _quads(n: int) -> Int[np.ndarray, "cells 2 3"]:
    """Two triangles per cell of an n x n vertex grid."""
    i = np.arange(n * n).reshape(n, n)
    a, b, c, d = i[:-1, :-1], i[:-1, 1:], i[1:, :-1], i[1:, 1:]
    return np.stack([np.stack([a, b, d], -1), np.stack([a, d, c], -1)], 2).reshape(-1, 2, 3)


class Scene:
    """A height field, posed on the table, ready for casting."""

    def __init__(self, height: Callable[[np.ndarray, np.ndarray], np.ndarray], reach: float, pose: Pose) -> None:
        self.pose = pose
        n = 2 * int(np.ceil(reach / MESH)) + 1
        side = (np.arange(n) - n // 2) * MESH
        x, y = np.meshgrid(side, side)
        self.height = height(x, y).astype(np.float32)
        self.slope = np.gradient(self.height, MESH)  # d/dy, d/dx in the part frame
        quads = _quads(n)
        quads = quads[(self.height.ravel()[quads] > 0).any((1, 2))].reshape(-1, 3)
        points = np.stack([*pose.to_table(x, y), self.height], -1).reshape(-1, 3).astype(np.float32)
        far, halves = 1000, np.array([[0, 1, 2], [0, 2, 3]])
        table = np.array([[-far, -far, 0], [far, -far, 0], [far, far, 0], [-far, far, 0]], np.float32)
        self.rays = o3d.t.geometry.RaycastingScene(nthreads=THREADS)
        self.rays.add_triangles(_tensor(points), _tensor(quads, np.uint32))
        self.table = self.rays.add_triangles(_tensor(table), _tensor(halves, np.uint32))
        self.corners = np.concatenate([points[quads], table[halves]])

    def cast(self) -> tuple[Float32[np.ndarray, "H W"], Float32[np.ndarray, "H W 3"], Float32[np.ndarray, "H W 3"],
                            Bool[np.ndarray, "H W"]]:
        """From the camera: depth, mm, points on the table frame, normals, and which pixels show the part."""
        camera = self.pose.camera
        ways = (directions()[..., None, :] * camera[:, :3]).sum(-1)  # no matrix product, whose rounding is the processor's
        origin = np.broadcast_to(camera[:, 3], ways.shape)
        depth, normals, on_table = self._hits(np.concatenate([origin, ways], -1))
        normals *= np.where(normals[..., 2:] < 0, -1, 1)
        points = origin + depth[..., None] * ways
        return depth, points, normals.astype(np.float32), ~on_table & (points[..., 2] > SKIRT)

    def _hits(self, rays: Float32[np.ndarray, "H W 6"]) -> tuple[Float32[np.ndarray, "H W"], Float[np.ndarray, "H W 3"],
                                                                Bool[np.ndarray, "H W"]]:
        """Of rays that all end somewhere: distances, unit normals of the triangles, and which end on the table.

        The ray caster only says which triangle: its distances come from an approximate reciprocal, another one on every make
        of processor.
        """
        hit = self.rays.cast_rays(_tensor(rays), nthreads=THREADS)
        on_table = hit["geometry_ids"].numpy() == self.table
        which = hit["primitive_ids"].numpy() + np.where(on_table, len(self.corners) - 2, 0)
        a, b, c = np.moveaxis(self.corners[which].astype(float), -2, 0)
        normals = np.cross(b - a, c - a)
        distance = ((a - rays[..., :3]) * normals).sum(-1) / (rays[..., 3:] * normals).sum(-1)
        return distance.astype(np.float32), unit(normals), on_table

    def blocked(self, points: Float[np.ndarray, "*#n 3"], towards: Float[np.ndarray, "*#n 3"],
                far: float = np.inf) -> Bool[np.ndarray, "*n"]:
        """Whether the ray from each point along `towards` meets anything before `far`."""
        rays = np.empty((*np.broadcast_shapes(points.shape, towards.shape)[:-1], 6), np.float32)
        np.add(points, 0.15 * unit(towards) + np.array([0, 0, 0.05], np.float32), out=rays[..., :3])  # off the surface
        rays[..., 3:] = towards
        return self.rays.test_occlusions(_tensor(rays), tnear=0.0, tfar=far, nthreads=THREADS).numpy()

    def ground(self, half: float, n: int) -> Float32[np.ndarray, "{n} {n} 3"]:
        """Surface points seen straight from above on a square grid of half width `half` mm."""
        side = np.linspace(-half, half, n, dtype=np.float32)
        x, y = np.meshgrid(side, side)
        down = np.stack([x, y, np.full_like(x, 100.0), 0 * x, 0 * x, 0 * x - 1], -1)
        return np.stack([x, y, 100 - self._hits(down)[0]], -1)


def _tensor(array: np.ndarray, dtype: type[np.generic] = np.float32) -> o3d.core.Tensor:
    return o3d.core.Tensor(np.ascontiguousarray(array, dtype))  # type: ignore[call-overload]  # open3d's stubs lack the defaults
