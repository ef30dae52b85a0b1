"""Cells of a coarser raster and the way back to pixels."""

import numpy as np
import pytest
import torch
from scipy import sparse

from mmadlib.features.field import FeatureMap
from mmadlib.methods.token_grid import cells, grid_size, on_grid, to_pixels


@pytest.mark.parametrize(("size", "grid", "expected"), [((224, 224), 56, (56, 56)), ((24, 30), 56, (24, 30)),
                                                        ((224, 224), 0, (224, 224)), ((96, 40), 56, (56, 40))])
def test_grid_follows_small_maps(size, grid, expected):
    assert grid_size(size, grid) == expected


def test_cells_average_their_valid_pixels():
    valid = np.ones((4, 4), bool)
    valid[0, 0] = valid[2:, 2:] = False
    picture = np.arange(16.0)
    zero, keep = (cells(valid, (2, 2), keep) @ picture for keep in (False, True))
    assert zero.tolist() == [pytest.approx((1 + 4 + 5) / 3), 4.5, 10.5, 0]
    assert keep.tolist() == [*zero[:3], 12.5]


def test_cells_cover_sizes_that_do_not_divide():
    operator = cells(np.ones((9, 5), bool), (4, 3))
    np.testing.assert_allclose(operator.sum(1), 1, rtol=1e-6)
    assert (np.asarray((operator > 0).sum(0)) == 1).all()  # every pixel in one cell


def test_one_cell_a_pixel_is_the_identity_on_the_valid_pixels():
    valid = np.random.default_rng(0).random((6, 6)) > 0.3
    np.testing.assert_array_equal(cells(valid, (6, 6)).toarray(), np.diag(valid.ravel()))
    np.testing.assert_array_equal(cells(valid, (6, 6), keep=True).toarray(), np.eye(36))


def test_features_on_cells():
    eye = sparse.eye_array(16, format="csr", dtype=np.float32)
    seen = on_grid({"rgb": FeatureMap(torch.arange(32.0).reshape(16, 2), eye, 4)}, np.eye(4) > 0, (2, 2))
    assert seen.valid.tolist() == [True, False, False, True]
    assert seen.tokens("rgb").tolist() == [[5, 6], [0, 0], [0, 0], [25, 26]]


def test_values_come_back_without_leaking_over_the_mask():
    seen = np.zeros((8, 8), bool)
    seen[:, :4] = True
    valid = torch.from_numpy(np.add.reduce(cells(seen, (4, 4)).toarray(), 1) > 0)
    back = to_pixels(torch.full((int(valid.sum()),), 0.7), valid, (4, 4), seen)
    np.testing.assert_allclose(back[seen], 0.7, rtol=1e-6)  # a constant stays one up to the edge
    assert (back[~seen] == 0).all() and back.dtype == np.float32


def test_values_at_full_size_are_left_as_they_are():
    seen = np.random.default_rng(0).random((5, 7)) > 0.5
    values = torch.rand(int(seen.sum()))
    np.testing.assert_array_equal(to_pixels(values, torch.from_numpy(seen.ravel()), (5, 7), seen)[seen], values)
    assert to_pixels(torch.zeros(0), torch.zeros(35, dtype=bool), (5, 7), np.zeros((5, 7), bool)).max() == 0
