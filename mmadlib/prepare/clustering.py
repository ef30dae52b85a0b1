"""DBSCAN for dense clouds: exact, and independent of the order of the points.

An organised scan holds hundreds to thousands of points in every eps-ball, and listing them all costs seconds and gigabytes.
Cells of side eps / sqrt(12) avoid that: any two points of touching cells are closer than eps, so whole cells are proven to be
core points, and joined, at once. Only points in thin or torn places are compared one by one.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Int, Int64
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

REACH = 4  # cells further apart than this along any axis cannot hold two points within eps: 4 / sqrt(12) > 1


def dbscan(points: Float[np.ndarray, "N 3"], eps: float, min_points: int) -> Int64[np.ndarray, " N"]:
    """Labels of points: 0, 1, ... for clusters, -1 for noise.

    A core point has at least `min_points` points, itself included, within `eps`; core points within `eps` of each other share
    a cluster. Any other point joins the cluster of its nearest core point within `eps`, whereas the original lets whichever
    cluster is grown first take it; nothing else differs. Source: Ester et al., KDD 1996, definitions 1-6.
    """
    points = np.asarray(points, dtype=np.float64)
    if len(points) == 0:
        return np.empty(0, np.int64)
    cells, cell_of, counts = _cells(points, eps / np.sqrt(12))
    touching = _pairs(cells, 1)
    nearby = counts + sum(np.bincount(a, counts[b], len(cells)) for a, b in (touching, touching[::-1]))
    core = (nearby >= min_points)[cell_of]
    unsure = np.flatnonzero(~core)
    tree = cKDTree(points)
    core[unsure] = tree.query_ball_point(points[unsure], eps, return_length=True) >= min_points
    if not core.any():
        return np.full(len(points), -1)
    return _spread(points, core, _join(points[core], eps), eps)


def largest_cluster(points: Float[np.ndarray, "N 3"], eps: float, min_points: int) -> Bool[np.ndarray, " N"]:
    """The points of the DBSCAN cluster with most points; all of them when there is no cluster."""
    labels = dbscan(points, eps, min_points)
    clusters = labels[labels >= 0]
    return labels == np.bincount(clusters).argmax() if clusters.size else np.ones(len(labels), bool)


def _cells(points: Float[np.ndarray, "N 3"],
           side: float) -> tuple[Float[np.ndarray, "M 3"], Int[np.ndarray, " N"], Int[np.ndarray, " M"]]:
    """Occupied cells, the cell of each point and the number of points per cell."""
    cells, cell_of, counts = np.unique(np.floor(points / side), axis=0, return_inverse=True, return_counts=True)
    return cells, cell_of.reshape(-1), counts


def _pairs(cells: Float[np.ndarray, "M 3"], reach: int) -> Int[np.ndarray, "2 K"]:
    """Pairs of cells at most `reach` apart along every axis, each pair once."""
    return cKDTree(cells).query_pairs(reach + 0.5, p=np.inf, output_type="ndarray").T


def _components(count: int, pairs: Int[np.ndarray, "2 K"]) -> Int[np.ndarray, " {count}"]:
    """Component of each node of an undirected graph with these edges."""
    return connected_components(coo_array((np.ones(pairs.shape[1]), tuple(pairs)), shape=(count, count)), directed=False)[1]


def _join(core: Float[np.ndarray, "N 3"], eps: float) -> Int[np.ndarray, " N"]:
    """Cluster of each core point: the connected components of "within eps"."""
    cells, cell_of, _ = _cells(core, eps / np.sqrt(12))
    part = _components(len(cells), _pairs(cells, 1))
    if part.max() == 0:
        return part[cell_of]
    near = _pairs(cells, REACH)
    apart = near[:, part[near[0]] != part[near[1]]]
    return _components(part.max() + 1, _bridges(core, cell_of, part, apart, eps))[part[cell_of]]


def _bridges(core: Float[np.ndarray, "N 3"], cell_of: Int[np.ndarray, " N"], part: Int[np.ndarray, " M"],
             apart: Int[np.ndarray, "2 K"], eps: float) -> Int[np.ndarray, "2 B"]:
    """Pairs of parts that hold two points within eps, as many as join what is to be joined.

    apart: pairs of cells of two parts in reach of each other. Their points decide, by the nearest one of the other part:
    listing all pairs within eps takes gigabytes where two dense parts lie almost eps apart.
    """
    facing = np.flatnonzero(np.isin(cell_of, apart))
    home = cell_of[facing]
    apart = np.where(part[apart[0]] < part[apart[1]], apart, apart[::-1])
    pairs, pair_of = np.unique(part[apart], axis=1, return_inverse=True)
    group, found = np.arange(part.max() + 1), []
    for i, (a, b) in enumerate(pairs.T):
        if group[a] == group[b]:
            continue
        near, far = (core[facing[np.isin(home, cells)]] for cells in apart[:, pair_of.reshape(-1) == i])
        distance, _ = cKDTree(near).query(far, distance_upper_bound=np.nextafter(eps, np.inf))
        if np.isfinite(distance).any():
            group[group == group[b]] = group[a]
            found.append((a, b))
    return np.array(found, dtype=np.int64).reshape(-1, 2).T


def _spread(points: Float[np.ndarray, "N 3"], core: Bool[np.ndarray, " N"], cluster: Int[np.ndarray, " n"],
            eps: float) -> Int64[np.ndarray, " N"]:
    """Labels of all points from those of the core points: the nearest core point within eps decides."""
    labels = np.full(len(points), -1, np.int64)
    labels[core] = cluster
    rest = np.flatnonzero(~core)
    distance, nearest = cKDTree(points[core]).query(points[rest], distance_upper_bound=np.nextafter(eps, np.inf))
    reached = np.isfinite(distance)
    labels[rest[reached]] = cluster[nearest[reached]]  # type: ignore[index]  # scipy's stubs do not tell many points from one
    return labels
