"""Isolate the object: remove the plane it stands on, keep the largest cluster.

The steps and constants of BTF, M3DM, CFM and CMDR-IAD on MVTec 3D-AD (eliahuhorwitz/3D-ADS utils/preprocessing.py;
CVLAB-Unibo/crossmodal-feature-mapping processing/preprocess_mvtec.py), with two differences: the plane fit is seeded, and
DBSCAN's noise has no vote for the largest cluster (published: noise may win, and then deletes the object). As in CFM, the
picture keeps its background. `mmadlib preprocess SRC DST` does this for a whole dataset, into a new folder.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float64

from mmadlib.checks import check_seed
from mmadlib.data import layout
from mmadlib.errors import PreprocessError, explain
from mmadlib.prepare.clustering import largest_cluster
from mmadlib.prepare.constants import PUBLISHED, Constants, constants_from
from mmadlib.prepare.plane import fit_plane, rim_points
from mmadlib.sample import Sample

ON_A_TABLE = ("rendered", "mvtec3d")  # datasets of which a table has to go, unless the reader saw that it is gone already


@dataclass(frozen=True, eq=False)
class Isolation:
    """plane: unit normal towards the camera and offset, n.p + d = 0; keep: the object."""

    plane: Float64[np.ndarray, " 4"]
    keep: Bool[np.ndarray, "H W"]


def object_mask(xyz: Float[np.ndarray, "H W 3"], valid: Bool[np.ndarray, "H W"], plane: Float64[np.ndarray, " 4"],
                constants: Constants = PUBLISHED) -> Bool[np.ndarray, "H W"]:
    """Valid points off the plane, largest cluster only; all of them where no cluster exists."""
    distance = np.abs(xyz.astype(np.float64) @ plane[:3] + plane[3])
    keep = valid & (distance >= constants.plane_distance)
    keep[keep] = largest_cluster(xyz[keep], constants.cluster_eps, constants.cluster_points)
    return keep


def find_object(sample: Sample, seed: int = 0, constants: Constants = PUBLISHED) -> Isolation:
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


def on_a_table(sample: Sample) -> bool:
    """Whether the sample stands on a table that is still in its cloud: what extraction and sensor faults remove first."""
    return sample.dataset in ON_A_TABLE and not sample.isolated and sample.missing != "xyz"
