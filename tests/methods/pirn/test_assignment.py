"""Balanced assignment: marginals, invariances, convexity, and what balance changes."""

import math

import numpy as np
import pytest
import torch

from mmadlib.methods.pirn.assignment import RULES, assign, usage

N, K, D = 256, 10, 64
TOLERANCE = {(0.05, 20): 0.6, (0.05, 50): 0.14, (0.05, 100): 0.06, (0.1, 20): 0.05, (0.5, 5): 1e-4}  # worst column, relative


@pytest.fixture
def clusters():
    """Tokens (N, D) around K centres, half of them at the first one; the centres are the prototypes."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(K, D))
    sizes = (N * 0.5 ** np.arange(1, K + 1)).astype(int).clip(2)
    sizes[0] += N - sizes.sum()
    tokens = np.repeat(centres, sizes, 0) + 0.5 * rng.normal(size=(N, D))
    return torch.from_numpy(tokens).float(), torch.from_numpy(centres).float(), torch.ones(N, dtype=torch.bool)


@pytest.mark.parametrize(("eps", "iterations"), TOLERANCE)
def test_marginals(clusters, eps, iterations):
    T = assign(*clusters, eps=eps, iterations=iterations)
    assert (T >= 0).all() and T.sum() == pytest.approx(N, rel=1e-5)
    torch.testing.assert_close(T.sum(0), torch.ones(N), atol=1e-5, rtol=0)
    assert float((T.sum(1) / (N / K) - 1).abs().max()) < TOLERANCE[eps, iterations]


def test_permutations_and_scales(clusters):
    Z, P, valid = clusters
    T, order, turn = assign(Z, P, valid), torch.randperm(N), torch.randperm(K)
    torch.testing.assert_close(assign(Z[order], P, valid), T[:, order], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(assign(Z, P[turn], valid).T @ P[turn], T.T @ P, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(assign(3 * Z, 0.2 * P, valid), T, atol=1e-5, rtol=1e-4)


def test_limits(clusters):
    Z, P, valid = clusters
    T = assign(Z, P, valid, eps=1e4)
    torch.testing.assert_close(T, torch.full((K, N), 1 / K), atol=1e-4, rtol=0)
    torch.testing.assert_close(T.T @ P, P.mean(0).expand(N, D), atol=1e-3, rtol=0)
    torch.testing.assert_close(assign(Z, P[:1], valid).T @ P[:1], P[:1].expand(N, D), atol=1e-5, rtol=0)


@pytest.mark.parametrize("rule", RULES)
def test_reconstructions_are_convex(clusters, rule):
    Z, P, valid = clusters
    T = assign(Z, P, valid, rule)
    torch.testing.assert_close(T.sum(0), torch.ones(N), atol=1e-5, rtol=0)
    rebuilt = T.T @ P
    assert (rebuilt >= P.min(0).values - 1e-5).all() and (rebuilt <= P.max(0).values + 1e-5).all()


def test_balance_keeps_prototypes_in_use(clusters):
    ot_, softmax = (usage(assign(*clusters, rule, eps=0.05, iterations=50)) for rule in ("ot", "softmax"))
    assert ot_["ratio"] < 1.15 and ot_["perplexity"] == pytest.approx(K, abs=0.05)
    assert softmax["ratio"] > 30 and softmax["perplexity"] < K - 3
    assert softmax["largest"] > 3 > ot_["largest"]


def test_usage_of_known_masses():
    T = torch.tensor([[3.0, 3.0], [1.0, 1.0]])
    found = usage(T)
    assert found["ratio"] == 3 and found["largest"] == 1.5 and found["smallest"] == 0.5
    assert found["perplexity"] == pytest.approx(math.exp(-0.75 * math.log(0.75) - 0.25 * math.log(0.25)))


def test_invalid_tokens_get_nothing_and_change_nothing(clusters):
    Z, P, _ = clusters
    few = torch.arange(N) % 3 > 0
    for rule in RULES:
        T = assign(Z, P, few, rule)
        assert (T[:, ~few] == 0).all()
        torch.testing.assert_close(T[:, few], assign(Z[few], P, few[few], rule), atol=1e-6, rtol=1e-5)
    other = Z.clone()
    other[~few] = 7.0
    torch.testing.assert_close(assign(other, P, few), assign(Z, P, few))


def test_images_do_not_mix(clusters):
    Z, P, valid = clusters
    both = assign(torch.stack([Z, -Z]), torch.stack([P, P]), torch.stack([valid, valid]))
    torch.testing.assert_close(both[0], assign(Z, P, valid), atol=1e-6, rtol=1e-5)


def test_the_weights_may_be_left_without_a_gradient(clusters):
    P = clusters[1].clone().requires_grad_()
    assert assign(clusters[0], P, clusters[2]).requires_grad
    assert not assign(clusters[0], P, clusters[2], detach=True).requires_grad
