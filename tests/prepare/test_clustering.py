"""DBSCAN against scikit-learn, and what the original leaves open: borders and order."""

import tracemalloc

import numpy as np
import pytest
from sklearn.cluster import DBSCAN

from mmadlib.prepare.clustering import dbscan, largest_cluster


def clouds():
    """Sparse, dense, touching, torn and noisy clouds, metres."""
    rng = np.random.default_rng(0)
    u, v = np.meshgrid(np.arange(60), np.arange(60))
    sheet = np.stack([u.ravel() * 5e-4, v.ravel() * 5e-4, 0.002 * np.sin(u.ravel() / 9)], -1)
    yield "sheet", sheet
    yield "two sheets, 5 mm apart", np.concatenate([sheet, sheet + np.array([0.0345, 0, 0])])
    yield "two sheets, 7 mm apart", np.concatenate([sheet, sheet + np.array([0.0365, 0, 0])])
    for n in (300, 1500, 6000):
        yield f"noise {n}", rng.uniform(-0.03, 0.03, (n, 3))
    yield "blobs in noise", np.concatenate([rng.uniform(0, 0.1, (800, 3)), rng.normal(0, 0.002, (100, 3)),
                                            rng.normal(0.05, 0.003, (250, 3))])


@pytest.mark.parametrize(("name", "points"), clouds())
def test_same_noise_and_same_clusters_of_core_points_as_scikit_learn(name, points):
    official = DBSCAN(eps=0.006, min_samples=30).fit(points)
    labels = dbscan(points, 0.006, 30)
    assert np.array_equal(labels < 0, official.labels_ < 0), name
    core = official.core_sample_indices_
    pairs = np.unique(np.stack([labels[core], official.labels_[core]]), axis=1)
    assert pairs.shape[1] == len(np.unique(pairs[0])) == len(np.unique(pairs[1])), name


@pytest.mark.parametrize(("name", "points"), clouds())
def test_the_order_of_points_does_not_matter(name, points):
    order = np.random.default_rng(1).permutation(len(points))
    assert np.array_equal(largest_cluster(points, 0.006, 30)[order], largest_cluster(points[order], 0.006, 30)), name


def test_largest_cluster_leaves_noise_out_and_keeps_all_without_clusters():
    rng = np.random.default_rng(2)
    blob, noise = rng.normal(0, 0.001, (64, 3)), rng.uniform(1, 9, (500, 3))
    assert np.array_equal(largest_cluster(np.concatenate([noise, blob]), 0.006, 30), np.arange(564) >= 500)
    assert largest_cluster(noise, 0.006, 30).all()


def test_empty_cloud():
    assert dbscan(np.empty((0, 3)), 0.006, 30).shape == (0,)
    assert largest_cluster(np.empty((0, 3)), 0.006, 30).shape == (0,)


@pytest.mark.parametrize(("gap", "clusters"), [(0.0045, 1), (0.0061, 2)])
def test_two_parts_almost_eps_apart_take_no_list_of_all_their_pairs(gap, clusters):
    """5 million pairs lie within eps across this gap: 80 MB as two indices each, and 16 times that at twice the pixels."""
    u, v = np.meshgrid(np.arange(100) * 2.5e-4, np.arange(100) * 2.5e-4)
    sheet = np.stack([u.ravel(), v.ravel(), np.zeros(u.size)], -1)
    points = np.concatenate([sheet, sheet + np.array([u.max() + gap, 0, 0])])
    tracemalloc.start()
    labels = dbscan(points, 0.006, 30)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert labels.max() + 1 == clusters and (labels >= 0).all()
    assert peak < 20e6


def test_several_parts_are_joined_where_a_single_pair_bridges_them():
    """Parts in a row, each a point's width within or beyond eps of the next: a chain, then a gap, then a pair."""
    u, v = np.meshgrid(np.arange(30) * 5e-4, np.arange(30) * 5e-4)
    sheet = np.stack([u.ravel(), v.ravel(), np.zeros(u.size)], -1)
    starts = np.cumsum([0, *(u.max() + gap for gap in (0.00599, 0.00599, 0.00601, 0.00599))])
    points = np.concatenate([sheet + np.array([x, 0, 0]) for x in starts])
    assert dbscan(points, 0.006, 30).reshape(5, -1)[:, 0].tolist() == [0, 0, 0, 1, 1]
