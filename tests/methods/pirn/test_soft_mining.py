"""Soft mining: zero for scaled copies, gradients that hard tokens bend, padding without a share."""

import pytest
import torch
from synthetic import batch_of_tokens

from mmadlib.methods.pirn.soft_mining import soft_mining

B = 3


@pytest.fixture
def image():
    return batch_of_tokens(2, B)


@pytest.mark.parametrize("form", ["flat", "weighted"])
def test_loss_is_zero_for_scaled_copies(image, form):
    E, valid = image
    assert float(soft_mining(E[0], 2.5 * E[0], valid, form=form)) == pytest.approx(0, abs=1e-5)
    assert float(soft_mining(E[0], -E[0], valid, exponent=0, form=form)) == pytest.approx(2, abs=1e-5)


def gradient(E, Z, valid, **options):
    Z = Z.clone().requires_grad_()
    loss = soft_mining(E, Z, valid, **options)
    loss.backward()
    return loss.item(), Z.grad


def test_exponent_zero_is_the_flattened_cosine(image):
    (E, Z), valid = image
    value, slope = gradient(E, Z, valid, exponent=0.0)
    plain = Z.clone().requires_grad_()
    rows = [1 - torch.cosine_similarity(E[b, valid[b]].flatten(), plain[b, valid[b]].flatten(), dim=0) for b in range(B)]
    torch.stack(rows).mean().backward()
    assert value == pytest.approx(torch.stack(rows).mean().item(), abs=1e-6)
    torch.testing.assert_close(slope, plain.grad, atol=1e-7, rtol=1e-4)


def test_the_exponent_moves_the_gradient_and_not_the_value(image):
    (E, Z), valid = image
    (value, slope), (other, harder) = (gradient(E, Z, valid, exponent=p) for p in (0.0, 3.0))
    assert value == other
    d = 1 - torch.cosine_similarity(E, Z, dim=-1)
    w = (d / d[valid].mean()) ** 3
    torch.testing.assert_close(harder, slope * w[..., None], atol=1e-7, rtol=1e-4)


def test_weighted_form_by_definition(image):
    (E, Z), valid = image
    d = (1 - torch.cosine_similarity(E, Z, dim=-1))[valid]
    assert float(soft_mining(E, Z, valid, 2.0, "weighted")) == pytest.approx(float(((d / d.mean()) ** 2 * d).mean()), rel=1e-5)


def test_padding_has_no_share_in_the_loss(image):
    (E, Z), valid = image
    padded = Z.masked_fill(~valid[..., None], 9.0)
    assert gradient(E, padded, valid)[0] == gradient(E, Z, valid)[0]
    assert (gradient(E, padded, valid)[1][~valid] == 0).all()
