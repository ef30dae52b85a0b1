"""LightBank: what is stored scores 0, size, projection, and normal distances that know nothing of their own image."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from mmadlib.methods.cmsa.light_bank import LightBank


def randn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("dims", [0, 3, 6, 256])
def test_a_stored_feature_scores_zero(dims):
    x = randn(80, 6)
    bank, chosen = LightBank.of(x, 20, dims)
    assert len(chosen) == len(bank.bank) == 20 and bank.bank.rows.shape[1] == (min(dims, 6) or 6)
    assert bank.distance(x[torch.from_numpy(chosen)]).max() < 1e-6
    assert bank.distance(x).max() > 0.1 and bank.distance(100 * x).max() <= 2


def test_distances_are_those_of_unit_rows():
    x, query = randn(50, 6), randn(9, 6, seed=1)
    bank, chosen = LightBank.of(x, 10)
    rows = F.normalize(x[torch.from_numpy(chosen)], dim=1)
    expected = torch.cdist(F.normalize(query, dim=1), rows).sort(dim=1).values
    assert torch.allclose(bank.distance(query), expected[:, 0], atol=1e-5)
    assert torch.allclose(bank.distance(query, 3), expected[:, :3].mean(1), atol=1e-5)


def test_axes_are_the_principal_ones_of_the_normal_features():
    x = randn(300, 2) @ randn(2, 9, seed=1) + 5
    bank, _ = LightBank.of(x, 10, 2)
    assert bank.axes.shape == (9, 2) and torch.allclose(bank.axes.T @ bank.axes, torch.eye(2), atol=1e-5)
    back = (x - bank.mean) @ bank.axes @ bank.axes.T + bank.mean
    assert torch.allclose(back, x, atol=1e-3), "the features have two dimensions"


def test_the_anchor_stays_behind_the_axes():
    """Short features then lie near each other, whatever their direction: 1 - cos behaves like a squared distance."""
    body, query = 0.1 * randn(60, 6), 0.1 * randn(9, 6, seed=1)
    x, q = (F.pad(t, (0, 1), value=6**0.5) for t in (body, query))
    bank, _ = LightBank.of(x, 60, 256, anchored=True)
    assert bank.axes.shape == (7, 7) and torch.allclose(bank.axes.T @ bank.axes, torch.eye(7), atol=1e-5)
    assert torch.allclose(bank.distance(q), torch.cdist(query, body).min(1).values / 6**0.5, rtol=0.03)
    lost, _ = LightBank.of(x, 60, 256)
    assert lost.distance(q).mean() > 5 * bank.distance(q).mean(), "the mean alone would take it away"
    narrow, _ = LightBank.of(x, 60, 2, anchored=True)
    assert narrow.axes.shape == (7, 3) and narrow.bank.rows[:, -1].min() > 0.9
    assert torch.equal(LightBank.restored(bank.state()).distance(q), bank.distance(q))


def test_more_rows_never_raise_a_distance():
    x, query = randn(200, 5), randn(100, 5, seed=1)
    found = [LightBank.of(x, size)[0].distance(query) for size in (10, 40, 160)]
    assert (found[1] <= found[0] + 1e-6).all() and (found[2] <= found[1] + 1e-6).all() and found[2].sum() < found[0].sum()


def test_same_seed_same_rows():
    x = randn(200, 5)
    first, again, other = (LightBank.of(x, 30, 4, seed) for seed in (1, 1, 2))
    assert np.array_equal(first[1], again[1]) and torch.equal(first[0].bank.rows, again[0].bank.rows)
    assert not np.array_equal(first[1], other[1])


def test_normal_distances_leave_the_image_out():
    x, image = randn(120, 4), np.repeat([3, 5, 8], 40)
    bank, chosen = LightBank.of(x, 60, 4)
    expected, rows = torch.zeros(120), bank.bank.rows
    unit = F.normalize((x - bank.mean) @ bank.axes, dim=1)
    for i in np.unique(image):
        distance = torch.cdist(unit[image == i], rows[image[chosen] != i], compute_mode="donot_use_mm_for_euclid_dist")
        expected[torch.from_numpy(image == i)] = distance.min(1).values
    assert torch.allclose(bank.normal_distances(x, image, chosen), expected, atol=1e-5)
    assert expected.min() > 1e-3, "no cell meets itself"


def test_copies_of_one_image_meet_each_other():
    """Every cell has its copy in the other image, so that leaving out more than the own image would show."""
    one = randn(30, 4)
    bank, chosen = LightBank.of(torch.cat([one, one]), 60)
    assert bank.normal_distances(torch.cat([one, one]), np.repeat([0, 1], 30), chosen).max() < 1e-6


def test_an_image_that_owns_all_rows_is_not_measured():
    x, image = torch.cat([randn(30, 4), 0.01 * randn(50, 4, seed=1) + 1]), np.repeat([0, 1], [30, 50])
    bank = LightBank(F.normalize(x[:20], dim=1))
    found = bank.normal_distances(x, image, np.arange(20))
    assert torch.allclose(found, bank.distance(x[30:]))


def test_one_image_is_measured_where_it_is_not_in_the_bank():
    x, image = randn(50, 4), np.zeros(50, int)
    bank, chosen = LightBank.of(x, 20)
    rest = np.setdiff1d(np.arange(50), chosen)
    assert torch.equal(bank.normal_distances(x, image, chosen), bank.distance(x[torch.from_numpy(rest)]))
    everything, chosen = LightBank.of(x, 50)
    found = everything.normal_distances(x, image, chosen)
    assert len(found) == 50 and found.min() > 0, "each row against the others"


@pytest.mark.parametrize("x", [randn(1, 4), torch.ones(5, 4), torch.zeros(5, 4)])
def test_degenerate_features_give_finite_distances(x):
    bank, chosen = LightBank.of(x, 9, 3)
    assert bank.distance(randn(6, 4)).isfinite().all()
    assert bank.normal_distances(x, np.zeros(len(x), int), chosen).isfinite().all()


@pytest.mark.parametrize("dims", [0, 3])
def test_state_is_all_that_is_needed(dims):
    bank, _ = LightBank.of(randn(40, 5), 12, dims)
    assert torch.equal(LightBank.restored(bank.state()).distance(randn(7, 5, seed=1)), bank.distance(randn(7, 5, seed=1)))
    assert bank.n_bytes == 4 * (12 * (dims or 5) + (5 + 5 * dims if dims else 0))
