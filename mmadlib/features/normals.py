"""Surface normals of an organised cloud as a picture for an encoder of RGB: the 3D side of PIRN (reconstruction).

PIRN (ICLR 2026, submission 8569) encodes the RGB picture and a surface-normal picture by one frozen DINOv2 ViT-B/14, the same
weights for both: this is known from notes and reviews that quote the paper. How it computes normals is not: it follows FIND,
which is not available. Every other choice below is ours, so each function is marked (reconstruction). The paper's features are
dinov2_vitb14+normals_dinov2_vitb14 with rgb_layers 2-9, see mmadlib.features.dino. The learned features take the same picture.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Float32, UInt8
from PIL import Image

from mmadlib.checks import one_of
from mmadlib.errors import DataError, explain
from mmadlib.prepare.grid import square_margins

if TYPE_CHECKING:
    from mmadlib.sample import Sample

RECIPES = ("neighbours", "grid")
RADIUS = 0.01  # metres; what is farther away is another surface
NEIGHBOURS = 30  # at most, the nearest ones; a point counts among its own, as in Open3D
LINE = 1e-4  # second by first variance of neighbours below which they are a line and have no normal
MOST = 0.5  # of the valid points must have a normal, or the cloud is not what it should be


def surface_normals(xyz: np.ndarray, valid: np.ndarray, recipe: str = "neighbours") -> Float32[np.ndarray, "H W 3"]:
    """Unit normals towards the camera of a cloud (H, W, 3) in metres, camera at the origin.

    xyz: any float; valid: bool (H, W). Pixels that are not valid, or have no normal, are (0, 0, 0). (reconstruction)
    neighbours  least-squares plane of at most 30 neighbours within 0.01 m, on whatever pixels they lie; no normal for fewer
                than 3 of them or for a line. Two surfaces less apart than their 30 nearest points reach blend
    grid        cross product of the central differences along rows and columns. A neighbour that is invalid or farther than
                0.01 m (a depth jump) is left out: the difference is one-sided then; without one on either side, no normal

    A normal n is flipped where n.p > 0 at its point p, so that n.(-p) >= 0. The same cloud gives the same bits. Raises
    DataError when the cloud is not organised or not finite, UnknownName on an unknown recipe.
    """
    one_of("recipe of normals", recipe, RECIPES)
    if xyz.ndim != 3 or xyz.shape[2] != 3 or valid.dtype != bool or valid.shape != xyz.shape[:2]:
        raise DataError(f"cloud {xyz.shape} with valid {valid.dtype} {valid.shape}: surface normals need an organised cloud, "
                        "(H, W, 3) with valid bool (H, W); keep the pixel grid of the picture")
    if not np.isfinite(xyz[valid]).all():
        raise DataError("cloud: valid points hold NaN or infinite values; mark them invalid")
    points = np.where(valid[..., None], xyz, 0).astype(np.float64)
    normals = np.zeros(points.shape)
    normals[valid] = _by_neighbours(points[valid]) if recipe == "neighbours" else _by_grid(points, valid)[valid]
    normals[(normals * points).sum(-1) > 0] *= -1
    return normals.astype(np.float32)


def _by_neighbours(points: np.ndarray) -> np.ndarray:
    """Unit normals (n, 3) of points (n, 3), signs open; zero where there is none."""
    import open3d as o3d  # here, because options are checked without it

    cloud = o3d.geometry.PointCloud(o3d.utility.Vector3dVector(points))
    cloud.estimate_covariances(o3d.geometry.KDTreeSearchParamHybrid(RADIUS, NEIGHBOURS))
    cloud.estimate_normals()  # from these covariances
    spread = np.asarray(cloud.covariances)
    total = np.trace(spread, axis1=1, axis2=2)
    pairs = (total**2 - (spread**2).sum((1, 2))) / 2  # products of two variances, the largest of first and second
    plane = (total < RADIUS**2) & (pairs > LINE * total**2)  # Open3D says identity, 3 m2, for fewer than 3 neighbours
    return np.where(plane[:, None], np.asarray(cloud.normals), 0)


def _by_grid(points: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Unit normals (H, W, 3) of points (H, W, 3), signs open; zero where there is none."""
    along = _differences(points.swapaxes(0, 1), valid.T).swapaxes(0, 1)
    normals = np.cross(along, _differences(points, valid))
    length = np.linalg.norm(normals, axis=-1, keepdims=True)
    return np.divide(normals, length, out=np.zeros_like(normals), where=length > 0)


def _differences(points: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Central differences down the rows, not halved, (H, W, 3): a step that leaves the surface adds nothing."""
    step = np.diff(points, axis=0)
    step *= (valid[1:] & valid[:-1] & (np.linalg.norm(step, axis=-1) <= RADIUS))[..., None]
    total = np.zeros_like(points)
    total[:-1] += step
    total[1:] += step
    return total


def normal_image(normals: Float[np.ndarray, "H W 3"]) -> UInt8[np.ndarray, "H W 3"]:
    """Normals as a picture: (n + 1) / 2 of every component times 255, rounded. (reconstruction)

    A pixel without a normal, (0, 0, 0), is black, not the grey of the formula; no unit vector comes out black.
    """
    return (np.rint((normals + 1) * 127.5) * normals.any(-1, keepdims=True)).astype(np.uint8)


def normal_picture(sample: Sample, size: int = 224, pad: str = "edge",
                   recipe: str = "neighbours") -> UInt8[np.ndarray, "{size} {size} 3"]:
    """The normal image of a sample on the working grid; the sample is not changed. (reconstruction)

    Normals come from the cloud in its own size. The image is centred in a square by the margins of the picture, which are
    black here (pad none: squashed), then resized by PIL's bilinear filter, on the pixel centres of the picture: colours at
    the border of an object blend into the black. Raises DataError, naming the sample, when less than half of its valid points
    have a normal, or when the cloud has left the camera's frame.
    """
    where = sample.path or "sample"
    if sample.extra.get("frame") == "literature":
        raise DataError(explain(where, "its cloud is in world axes, where normals cannot be turned to the camera",
                                "read it with frame='camera'"))
    normals = surface_normals(sample.xyz, sample.valid, recipe)
    found, points = np.count_nonzero(normals.any(-1)), np.count_nonzero(sample.valid)
    if found < MOST * points or not found:
        raise DataError(explain(where, f"only {found} of {points} valid points have a surface normal by {recipe} within "
                                f"{RADIUS} m", "the cloud must be organised and in metres; choose other 3D features if not"))
    image = normal_image(normals)
    if pad != "none":
        image = np.pad(image, (*square_margins(*sample.size), (0, 0)))
    return np.array(Image.fromarray(image).resize((size, size), Image.Resampling.BILINEAR))
