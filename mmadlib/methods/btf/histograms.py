"""FPFH of an organised cloud as BTF takes it: a hand-made descriptor of 33 numbers that knows angles between normals only.

Source: eliahuhorwitz/3D-ADS feature_extractors/fpfh_features.py; Rusu, Blodow & Beetz, ICRA 2009; computed by Open3D. On an
object of .1 m the neighbour caps bind and the radii never do: effective radii are 2.5 mm (30 points) and 4.7 mm (100).
"""

from __future__ import annotations

import numpy as np
import open3d as o3d
from jaxtyping import Bool, Float, Float32

CHANNELS = 33  # three histograms of 11 bins, which sum to 200 each
NORMAL_RADIUS, FPFH_RADIUS = 0.1, 0.25  # metres


def valid_points(cloud: Float[np.ndarray, "H W 3"]) -> Bool[np.ndarray, "H W"]:
    """All three coordinates are not zero."""
    return (cloud != 0).all(-1)


def thinned(valid: Bool[np.ndarray, "H W"], stride: int) -> Bool[np.ndarray, "H W"]:
    """Every `stride`-th row and column of the points, from the middle of the first cell on."""
    chosen = np.zeros_like(valid)
    chosen[stride // 2::stride, stride // 2::stride] = valid[stride // 2::stride, stride // 2::stride]
    return chosen


def fpfh(cloud: Float[np.ndarray, "H W 3"], valid: Bool[np.ndarray, "H W"], normal_neighbours: int = 30,
         neighbours: int = 100, orient: bool = False) -> Float32[np.ndarray, "H W 33"]:
    """Histograms of the points at `valid`, in metres; zeros elsewhere, and everywhere with fewer than three points.

    Neighbours are those within the radii, at most so many. orient: normals look to the camera; as published they look
    either way. Deterministic, whatever the number of threads.
    """
    out = np.zeros((*valid.shape, CHANNELS), np.float32)
    if valid.sum() < 3:
        return out
    points = o3d.geometry.PointCloud(o3d.utility.Vector3dVector(cloud[valid].astype(np.float64)))
    points.estimate_normals(o3d.geometry.KDTreeSearchParamHybrid(NORMAL_RADIUS, normal_neighbours))
    if orient:
        points.orient_normals_towards_camera_location(np.zeros(3))
    around = o3d.geometry.KDTreeSearchParamHybrid(FPFH_RADIUS, neighbours)
    found = o3d.pipelines.registration.compute_fpfh_feature(points, around)  # type: ignore[call-arg]  # stub: `indices` is required
    out[valid] = np.asarray(found.data).T
    return out
