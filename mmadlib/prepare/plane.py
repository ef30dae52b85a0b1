"""The plane that an object stands on, from the rim of the picture, where only the table is seen."""

from __future__ import annotations

import numpy as np

from mmadlib.errors import PreprocessError
from mmadlib.prepare.constants import PUBLISHED, Constants

RANKED = 4000  # rim points that rank the plane hypotheses; the final fit uses all of them


def rim_points(xyz: np.ndarray, valid: np.ndarray, rim: int = 10) -> np.ndarray:
    """Valid points (n, 3) float64 of the first and last `rim` rows, then columns; corners enter twice, as published."""
    strips = (np.s_[:rim], np.s_[-rim:], np.s_[:, :rim], np.s_[:, -rim:])
    return np.concatenate([xyz[s][valid[s]] for s in strips]).astype(np.float64)


def _planes(sets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Least-squares planes (K, 4) of K point sets (K, n, 3), normals towards the origin, and singular values (K, 3)^2."""
    centre = sets.mean(1)
    spread = sets - centre[:, None]
    values, axes = np.linalg.eigh(np.einsum("kni,knj->kij", spread, spread))
    normal = axes[:, :, 0]
    offset = -np.einsum("ki,ki->k", normal, centre)
    return np.where(offset < 0, -1.0, 1.0)[:, None] * np.c_[normal, offset], values


def fit_plane(points: np.ndarray, seed: int = 0, constants: Constants = PUBLISHED) -> np.ndarray:
    """Plane (4,) float64 through most of points (n, 3): seeded RANSAC, then one least-squares fit to all its inliers.

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
