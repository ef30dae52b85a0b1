"""Sinkhorn: against POT, both forms of the loop against each other, gradients, small eps."""

import numpy as np
import ot
import pytest
import torch

from mmadlib.methods.pirn import sinkhorn as module
from mmadlib.methods.pirn.sinkhorn import sinkhorn

N, K = 60, 7


@pytest.fixture
def costs():
    """Costs (2, 3, K, N) in [0, 2] with one expensive prototype, tokens of which one image lacks some, and weights."""
    torch.manual_seed(0)
    C, valid = 2 * torch.rand(2, 3, K, N), torch.ones(2, 3, N, dtype=torch.bool)
    C[:, :, 0] = 1.9
    valid[:, 1, 40:] = False
    return C, valid, torch.randn(2, 3, K, N)


@pytest.mark.parametrize("eps", [0.02, 0.05, 0.5])
def test_the_plan_is_pots(costs, eps):
    C = costs[0][0, 0].double()
    reference = ot.bregman.sinkhorn_log(np.full(K, N / K), np.ones(N), C.numpy(), reg=eps, numItermax=20_000, stopThr=1e-10)
    np.testing.assert_allclose(sinkhorn(C, costs[1][0, 0], eps, 3000), reference, atol=2e-4)


def solved(costs, eps, iterations):
    C, valid, weight = costs
    C = C.clone().requires_grad_()
    T = sinkhorn(C, valid, eps, iterations)
    (T * weight).sum().backward()
    return T.detach(), C.grad


@pytest.mark.parametrize(("eps", "iterations"), [(0.04, 50), (0.05, 50), (0.05, 1), (0.5, 5)])
def test_scalings_are_the_logarithms(costs, monkeypatch, eps, iterations):
    T, slope = solved(costs, eps, iterations)
    monkeypatch.setattr(module, "SMALL", torch.inf)
    reference, its_slope = solved(costs, eps, iterations)
    torch.testing.assert_close(T, reference, atol=2e-6, rtol=1e-4)
    torch.testing.assert_close(slope, its_slope, atol=1e-5 * float(its_slope.abs().max()), rtol=1e-3)
    assert its_slope.abs().max() > 0.1


@pytest.mark.parametrize("small", [0.0, torch.inf])
def test_the_gradient_is_the_slope(monkeypatch, small):
    monkeypatch.setattr(module, "SMALL", small)
    torch.manual_seed(0)
    C, weight, valid = torch.rand(3, 6), torch.randn(3, 6), torch.arange(6) < 5
    grown = C.clone().requires_grad_()
    (sinkhorn(grown, valid, 0.5, 5) * weight).sum().backward()
    for k, n in ((1, 2), (0, 0), (2, 4)):
        step = torch.zeros(3, 6)
        step[k, n] = 1e-2
        slope = ((sinkhorn(C + step, valid, 0.5, 5) - sinkhorn(C - step, valid, 0.5, 5)) * weight).sum() / 2e-2
        assert grown.grad[k, n].item() == pytest.approx(slope.item(), rel=2e-2, abs=1e-3)
    assert (grown.grad[:, 5] == 0).all()


@pytest.mark.parametrize("eps", [1e-3, 0.01, 0.04])
def test_small_eps_does_not_underflow(costs, eps):
    T, slope = solved(costs, eps, 20)
    assert T.isfinite().all() and slope.isfinite().all()
    torch.testing.assert_close(T.sum(-2), costs[1].float(), atol=1e-4, rtol=0)
