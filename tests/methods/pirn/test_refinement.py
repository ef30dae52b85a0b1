"""Prototype refinement: contexts are means of tokens, the gate decides how much of them is taken in."""

import pytest
import torch
from torch import nn

from mmadlib.methods.pirn.assignment import RULES, assign, cosines
from mmadlib.methods.pirn.refinement import Refinement, context

M, B, N, K, D = 2, 3, 40, 5, 8


@pytest.fixture
def image():
    torch.manual_seed(0)
    valid = torch.ones(B, N, dtype=torch.bool)
    valid[1, 30:] = False
    return torch.randn(M, B, N, D), torch.randn(M, B, K, D), valid


@pytest.mark.parametrize("rule", [*RULES, "mean", "topk"])
def test_identical_tokens_give_that_token(image, rule):
    Z, P, valid = image
    Z = Z[:, :, :1].expand_as(Z)
    torch.testing.assert_close(context(Z, P, valid.expand(M, B, N), rule), Z[:, :, :1].expand_as(P), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("rule", [*RULES, "mean", "topk"])
def test_contexts_are_means_of_valid_tokens(image, rule):
    Z, P, valid = image
    one = torch.cat([Z, torch.ones(M, B, N, 1)], -1)  # a channel of ones stays one where the weights sum to 1
    c = context(one, torch.cat([P, torch.ones(M, B, K, 1)], -1), valid.expand(M, B, N), rule)
    torch.testing.assert_close(c[..., -1], torch.ones(M, B, K), atol=1e-5, rtol=0)
    other = Z.masked_fill(~valid[..., None], 9.0)
    torch.testing.assert_close(context(other, P, valid.expand(M, B, N), rule), context(Z, P, valid.expand(M, B, N), rule))


def test_contexts_by_definition(image):
    Z, P, valid = (x[0] if x.ndim == 4 else x for x in image)
    plan = assign(Z, P, valid)
    torch.testing.assert_close(context(Z, P, valid), (plan @ Z) / plan.sum(-1, keepdim=True))
    torch.testing.assert_close(context(Z, P, valid, "mean")[1, 3], Z[1, :30].mean(0))
    nearest = cosines(Z, P)[1, 2, :30].topk(30 // K).indices  # a fair share of the thirty valid tokens
    torch.testing.assert_close(context(Z, P, valid, "topk")[1, 2], Z[1, nearest].mean(0))


def shut(layer: Refinement, bias: float) -> Refinement:
    """torch's update gate z = 1 - u forced to 1 (bias +) or 0 (bias -)."""
    for cell in layer.cells:
        nn.init.zeros_(cell.weight_ih)
        nn.init.zeros_(cell.weight_hh)
        cell.bias_ih.data.fill_(0.3)
        cell.bias_ih.data[D:2 * D] = bias
    return layer


def test_gate_shut_and_open(image):
    Z, P, valid = image
    kept = shut(Refinement(D, M), 40.0)(Z, P, valid)
    torch.testing.assert_close(kept, P, atol=1e-6, rtol=0)
    assert shut(Refinement(D, M), -40.0)(Z, 5 * P, valid).abs().max() < 1


def test_a_gate_may_start_towards_the_old_prototype(image):
    Z, P, valid = image
    torch.manual_seed(0)
    drawn = Refinement(D, M)
    torch.manual_seed(0)
    kept = Refinement(D, M, keep=5)
    for a, b in zip(drawn.cells, kept.cells, strict=True):
        difference = (b.bias_ih - a.bias_ih).unflatten(0, (3, D))
        torch.testing.assert_close(difference, torch.tensor([0.0, 5, 0])[:, None].expand(3, D))
    assert (kept(Z, P, valid) - P).abs().max() < 0.1 < (drawn(Z, P, valid) - P).abs().max()


def test_the_cell_is_the_notes_formula(image):
    Z, P, valid = image
    layer = Refinement(D, M)
    cell, c, p = layer.cells[1], context(Z, P, valid.expand(M, B, N))[1], P[1]
    (Wr, Wu, Wh), (br, bu, b) = cell.weight_ih.chunk(3), cell.bias_ih.chunk(3)
    (Ur, Uu, Uh), (cr, cu, b_) = cell.weight_hh.chunk(3), cell.bias_hh.chunk(3)
    r = torch.sigmoid(c @ Wr.T + p @ Ur.T + br + cr)
    u = 1 - torch.sigmoid(c @ Wu.T + p @ Uu.T + bu + cu)  # torch's gate keeps, the notes' replaces
    h = torch.tanh(c @ Wh.T + b + r * (p @ Uh.T + b_))
    torch.testing.assert_close(layer(Z, P, valid)[1], (1 - u) * p + u * h, atol=1e-6, rtol=1e-5)


def test_without_refinement_and_without_gate(image):
    Z, P, valid = image
    assert Refinement(D, M, "none")(Z, P, valid) is P
    torch.testing.assert_close(Refinement(D, M, gru=False)(Z, P, valid), context(Z, P, valid.expand(M, B, N)))
    assert not list(Refinement(D, M, gru=False).parameters())
