"""Isolate the object: remove the plane it stands on, keep the largest cluster.

The steps and constants of BTF, M3DM, CFM and CMDR-IAD on MVTec 3D-AD (eliahuhorwitz/3D-ADS utils/preprocessing.py;
CVLAB-Unibo/crossmodal-feature-mapping processing/preprocess_mvtec.py), with two differences: the plane fit is seeded, and
DBSCAN's noise has no vote for the largest cluster (published: noise may win, and then deletes the object). As in CFM, the
picture keeps its background. `python -m mmadlib.preprocess SRC DST` does this for a whole dataset, into a new folder.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from mmadlib.checks import check_seed
from mmadlib.clustering import largest_cluster
from mmadlib.data import layout
from mmadlib.errors import PreprocessError, SettingsError, explain, unknown
from mmadlib.sample import Sample

RANKED = 4000  # rim points that rank the plane hypotheses; the final fit uses all of them


@dataclass(frozen=True)
class Constants:
    """The published constants; lengths in metres."""

    rim: int = layout.RIM_WIDTH  # width in pixels of the four border strips where only the table is seen
    ransac_distance: float = 0.004
    ransac_points: int = 50  # per hypothesis
    ransac_iterations: int = 1000
    plane_distance: float = 0.005  # points closer to the plane than this are table
    cluster_eps: float = 0.006
    cluster_points: int = 30
    min_rim_points: int = layout.RIM_POINTS  # fewer, corners counted once: no table in view, or processed already


@dataclass(frozen=True, eq=False)
class Isolation:
    """plane float64 (4,): unit normal towards the camera and offset, n.p + d = 0; keep bool (H, W): the object."""

    plane: np.ndarray
    keep: np.ndarray


def constants_from(given: dict[str, float]) -> Constants:
    """Published constants with some replaced; SettingsError on an unknown name or a value that is not positive."""
    known = {f.name: f.default for f in fields(Constants)}
    for name, value in given.items():
        if name not in known:
            raise unknown("preprocessing constant", name, known)
        whole = isinstance(known[name], int)
        if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)) or not value > 0:
            raise SettingsError(f"preprocessing constant {name}={value!r}: expected a positive {'int' if whole else 'float'}")
    return Constants(**given)


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


def fit_plane(points: np.ndarray, seed: int = 0, constants: Constants = Constants()) -> np.ndarray:
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


def object_mask(xyz: np.ndarray, valid: np.ndarray, plane: np.ndarray,
                constants: Constants = Constants()) -> np.ndarray:
    """bool (H, W): valid points off the plane, largest cluster only; all of them where no cluster exists."""
    distance = np.abs(xyz.astype(np.float64) @ plane[:3] + plane[3])
    keep = valid & (distance >= constants.plane_distance)
    keep[keep] = largest_cluster(xyz[keep], constants.cluster_eps, constants.cluster_points)
    return keep


def find_object(sample: Sample, seed: int = 0, constants: Constants = Constants()) -> Isolation:
    """Plane and object of a sample; raises as `isolate_object`."""
    seed, where = check_seed(seed), sample.path or "sample"
    if sample.isolated:
        raise PreprocessError(explain(where, "its background is removed already", "give the data as published"))
    count = layout.rim_points(sample.valid, constants.rim)
    if count < constants.min_rim_points:
        raise PreprocessError(explain(where, f"only {count} valid points within {constants.rim} px of the border, so there "
                                      "is no table to find", "it may be processed already: give the data as published"))
    try:
        plane = fit_plane(rim_points(sample.xyz, sample.valid, constants.rim), seed, constants)
    except PreprocessError as err:
        raise PreprocessError(explain(where, str(err), "check the cloud")) from None
    keep = object_mask(sample.xyz, sample.valid, plane, constants)
    if not keep.any():
        raise PreprocessError(explain(where, f"no point is {constants.plane_distance} m off the table plane",
                                      "check the cloud and its unit, metres; a scene without a table takes isolate=False"))
    return Isolation(plane, keep)


def isolate_object(sample: Sample, seed: int = 0, **constants: float) -> Sample:
    """The sample at its native size with all points but the object's set to (0, 0, 0) and invalid; rgb is untouched.

    seed: of the plane fit; one seed, one result, whatever came before. constants: fields of `Constants`.
    Raises PreprocessError for a sample processed already (isolated, or fewer than `min_rim_points` valid rim points), for
    rim points on a line and for a cloud with nothing off its plane; SettingsError for an impossible seed or constant. The
    given sample is never changed.
    """
    keep = find_object(sample, seed, constants_from(constants)).keep
    return sample.with_(xyz=np.where(keep[..., None], sample.xyz, np.float32(0)), valid=keep, isolated=True)


if __name__ == "__main__":
    from mmadlib.preprocess_dataset import main

    main()
