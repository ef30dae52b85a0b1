"""Fixed operators: equal to torch's, means stay means, masking renormalises."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from mmadlib.features.operators import bilinear, masked, pool3


@pytest.mark.parametrize(("grid", "size"), [(28, 224), (16, 224), (56, 224), (7, 30), (30, 7), (5, 5), (1, 4)])
def test_bilinear_equals_interpolate(grid, size):
    x = torch.randn(4, grid, grid, generator=torch.Generator().manual_seed(0))
    want = F.interpolate(x[None].double(), size=(size, size), mode="bilinear", align_corners=False)[0]
    got = bilinear(grid, size).astype(np.float64) @ x.reshape(4, -1).T.double().numpy()
    np.testing.assert_allclose(got, want.reshape(4, -1).T.numpy(), atol=1e-6)


@pytest.mark.parametrize("size", [3, 5, 17, 64, 224])
def test_pool3_equals_the_two_pools(size):
    x = torch.randn(2, size, size, generator=torch.Generator().manual_seed(1))
    want = F.adaptive_avg_pool2d(F.avg_pool2d(x[None].double(), 3, stride=1), (size, size))[0]
    got = pool3(size).astype(np.float64) @ x.reshape(2, -1).T.double().numpy()
    np.testing.assert_allclose(got, want.reshape(2, -1).T.numpy(), atol=1e-6)


def test_pool3_needs_three_pixels():
    with pytest.raises(ValueError, match="3x3"):
        pool3(2)


def test_operators_are_made_once_and_float32():
    assert bilinear(8, 32) is bilinear(8, 32)
    assert pool3(16) is pool3(16)
    assert bilinear(8, 32).dtype == pool3(16).dtype == np.float32
    np.testing.assert_allclose(pool3(16).sum(1), 1, atol=1e-6)


def test_masked_ignores_invalid_tokens():
    interp = bilinear(4, 16)
    valid = np.ones(16, bool)
    valid[[0, 5, 6]] = False
    tokens = np.where(valid, 2.0, 1e6)
    values = masked(interp, valid) @ tokens
    reached = np.diff(masked(interp, valid).indptr) > 0
    np.testing.assert_allclose(values[reached], 2, rtol=1e-6)
    assert (values[~reached] == 0).all() and not reached[0]
    np.testing.assert_allclose(masked(interp, np.ones(16, bool)).toarray(), interp.toarray(), atol=1e-7)


def test_masked_keeps_rows_of_invalid_tokens_empty_and_checks_shape():
    assert masked(bilinear(4, 16), np.zeros(16, bool)).nnz == 0
    with pytest.raises(ValueError, match="tokens_valid"):
        masked(bilinear(4, 16), np.ones(15, bool))
