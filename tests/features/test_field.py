import warnings

import numpy as np
import pytest
import torch
from scipy import sparse

from mmadlib.errors import SettingsError
from mmadlib.features.field import FeatureMap, Features, blend


@pytest.fixture
def fmap():
    rng = np.random.default_rng(0)
    interp = sparse.random(12, 5, density=0.4, format="csr", dtype=np.float32, rng=rng)
    return FeatureMap(rng.normal(size=(5, 3)), interp, (3, 4))


def test_pixels_are_interp_times_tokens(fmap):
    expected = fmap.interp.toarray() @ fmap.tokens.numpy()
    np.testing.assert_allclose(fmap.dense().reshape(12, 3), expected, atol=1e-6)
    np.testing.assert_allclose(fmap.at([7, 0, 7]), expected[[7, 0, 7]], atol=1e-6)
    assert fmap.dense().shape == (3, 4, 3) and fmap.at([]).shape == (0, 3) and fmap.channels == 3


def test_pixels_without_tokens_read_zero_and_have_no_support():
    interp = sparse.csr_array(([1.0], ([2], [0])), shape=(4, 1))
    fmap = FeatureMap(torch.full((1, 2), 5.0), interp, 2)
    assert fmap.at([0, 2]).tolist() == [[0, 0], [5, 5]]
    assert fmap.support.tolist() == [[False, False], [True, False]]


def test_gradients_reach_the_tokens_and_both_ways_agree(fmap):
    tokens = fmap.tokens.clone().requires_grad_()
    out = blend(fmap.interp, tokens)
    torch.testing.assert_close(out.detach(), blend(fmap.interp, fmap.tokens))
    out.sum().backward()
    np.testing.assert_allclose(tokens.grad[:, 0], fmap.interp.sum(0), rtol=1e-5)


def test_matrices_and_tensors_of_any_kind_become_float32_csr(fmap):
    dense = fmap.interp.toarray()
    crow, col, val = (torch.from_numpy(np.asarray(x)) for x in (fmap.interp.indptr, fmap.interp.indices, fmap.interp.data))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch calls its CSR tensors beta
        csr = torch.sparse_csr_tensor(crow.long(), col.long(), val, size=(12, 5))
    for interp in (csr, csr.to_sparse_coo(), csr.to_dense(), csr.to_dense().double(), dense, dense.astype(np.float64),
                   sparse.coo_array(dense.astype(np.float64))):
        again = FeatureMap(fmap.tokens, interp, (3, 4))
        np.testing.assert_array_equal(again.interp.toarray(), dense)
        assert again.interp.dtype == np.float32 and again.dense().dtype == again.at([1]).dtype == torch.float32


def test_a_matrix_in_the_right_form_is_not_copied(fmap):
    kept = FeatureMap(fmap.tokens, fmap.interp, (3, 4)).interp
    assert np.shares_memory(kept.data, fmap.interp.data)


def test_sizes_that_do_not_fit_are_refused(fmap):
    with pytest.raises(SettingsError, match=r"must be \(H\*W, T\)"):
        FeatureMap(fmap.tokens, fmap.interp, (4, 4))
    with pytest.raises(SettingsError, match="one grid"):
        Features(fmap, fmap, np.ones((4, 4), bool), np.zeros((3, 4, 3), np.float32))


def test_foreground_pixels_are_row_major(fmap):
    mask = torch.zeros(3, 4, dtype=torch.bool)
    mask[0, 3] = mask[2, 1] = True
    features = Features(fmap, fmap, mask, np.zeros((3, 4, 3), np.float32))
    assert features.pixels.tolist() == [3, 9] and features.size == (3, 4)
