"""Fast point feature histograms (Rusu, Blodow & Beetz, ICRA 2009) averaged on the token grid: an optional 3D descriptor.

Off by default: 33 histogram bins outweigh 15 signed numbers in a bank, and one radius sees one size of defect.
"""

from __future__ import annotations

import numpy as np
import open3d as o3d
from jaxtyping import Bool, Float64

from mmadlib.features.descriptors.mask import GRID
from mmadlib.features.descriptors.windows import window_sums, windows

FPFH_CHANNELS = tuple(f"fpfh_{i}" for i in range(33))
STRIDE = 2  # every second point a side is enough for histograms over radii of many pixels
RADIUS = 0.08  # of the object's extent; normals use half of it


def fpfh_tokens(points: Float64[np.ndarray, "3 S S"], weight: Bool[np.ndarray, "S S"]) -> Float64[np.ndarray, "56*56 33"]:
    """Mean histograms of the points of an object's own frame, valid at `weight`.

    Normals look along +z, the height axis. A token without points around has zeros.
    """
    chosen = np.zeros_like(weight)
    chosen[::STRIDE, ::STRIDE] = weight[::STRIDE, ::STRIDE]
    out = np.zeros((GRID * GRID, len(FPFH_CHANNELS)))
    if chosen.sum() < 3:
        return out
    cloud = o3d.geometry.PointCloud(o3d.utility.Vector3dVector(points[:, chosen].T))
    radius = RADIUS * np.sqrt(np.prod(np.ptp(points[:2, weight], axis=1)))
    cloud.estimate_normals(o3d.geometry.KDTreeSearchParamHybrid(radius / 2, 30))
    cloud.orient_normals_to_align_with_direction([0.0, 0.0, 1.0])
    around = o3d.geometry.KDTreeSearchParamHybrid(radius, 100)
    found = o3d.pipelines.registration.compute_fpfh_feature(cloud, around)  # type: ignore[call-arg]  # stub: `indices` is required
    images = np.zeros((len(FPFH_CHANNELS) + 1, *weight.shape))
    images[0] = chosen
    images[1:, chosen] = np.asarray(found.data)
    sums = window_sums(images, windows(len(weight), 0.5 * len(weight) / GRID)[0])
    return sums[:, 1:] / np.maximum(sums[:, :1], 1e-9)
