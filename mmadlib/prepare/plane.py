"""The plane that an object stands on, from the rim of the picture, where only the table is seen."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Float64

from mmadlib.errors import PreprocessError
from mmadlib.prepare.constants import PUBLISHED, Constants

RANKED = 4000  # rim points that rank the plane hypotheses; the final fit uses all of them


def rim_points(xyz: Float[np.ndarray, "H W 3"], valid: Bool[np.ndarray, "H W"], rim: int = 10) -> Float64[np.ndarray, "n 3"]:
    """Valid points of the first and last `rim` rows, then columns; corners enter twice, as published."""
    strips = (np.s_[:rim], np.s_[-rim:], np.s_[:, :rim], np.s_[:, -rim:])
    return np.concatenate([xyz[s][valid[s]] for s in strips]).astype(np.float64)


def _planes(sets: Float64[np.ndarray, "K n 3"]) -> tuple[Float64[np.ndarray, "K 4"], Float64[np.ndarray, "K 3"]]:
    """Least-squares planes of K point sets, normals towards the origin, and singular values squared, ascending."""
    centre = sets.mean(1)
    spread = sets - centre[:, None]
    values, axes = np.linalg.eigh(np.einsum("kni,knj->kij", spread, spread))
    normal = axes[:, :, 0]
    offset = -np.einsum("ki,ki->k", normal, centre)
    return np.where(offset < 0, -1.0, 1.0)[:, None] * np.c_[normal, offset], values


def fit_plane(points: Float64[np.ndarray, "n 3"], seed: int = 0,
              constants: Constants = PUBLISHED) -> Float64[np.ndarray, " 4"]:
    """Plane through most of the points: seeded RANSAC, then one least-squares fit to all its inliers.

    Own code because Open3D's segment_plane races its threads: two calls with one seed give two planes. Points of a
    hypothesis are drawn with replacement. Raises PreprocessError when the points lie on a line.
    """
    rng = np.random.default_rng(seed)
    drawn = points[rng.integers(0, len(points), (constants.ransac_iterations, constants.ransac_points))]
    planes, _ = _planes(drawn)
    ranked = points if len(points) <= RANKED else points[rng.choice(len(points), RANKED, replace=False)]
    close = np.abs(planes[:, :3] @ ranked.T + planes[:, 3:]) < constants.ransac_distance
    best = planes[close.sum(1).argmax()]
    inliers = points[np.abs(points @ best[:3] + best[3]) < constants.ransac_distance]
    if len(inliers) < 3:
        raise PreprocessError("no three rim points share a plane")
    (plane,), (values,) = _planes(inliers[None])
    if values[1] < 1e-6 * values[2] or values[2] == 0:
        raise PreprocessError("the rim points lie on a line")
    return plane
