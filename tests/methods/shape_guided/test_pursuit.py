"""Orthogonal matching pursuit of many queries at once: scikit-learn's, and the two things that only unit atoms promise."""

import numpy as np
import pytest
import torch
from recorded import RECORDED
from sklearn.decomposition import sparse_encode

from mmadlib.methods.shape_guided.pursuit import explain, pursue


def one_by_one(y, atoms, nonzeros) -> np.ndarray:
    """The library's, query by query, as the official code calls it."""
    codes = [sparse_encode(q[None], a, algorithm="omp", n_nonzero_coefs=nonzeros, alpha=1e-10)
             for q, a in zip(y, atoms, strict=True)]
    return np.concatenate([code @ a for code, a in zip(codes, atoms, strict=True)])


@pytest.mark.parametrize("nonzeros", [1, 2, 3, 5])
@pytest.mark.parametrize("offset", [0.0, 4.0])
def test_it_is_scikit_learns(nonzeros, offset):
    rng = np.random.default_rng(nonzeros)
    y, atoms = rng.normal(offset, 1, (40, 12)), rng.normal(offset, 1, (40, 6, 12)) * rng.uniform(0.3, 3, (40, 6, 1))
    found = pursue(torch.from_numpy(y), torch.from_numpy(atoms), nonzeros)
    np.testing.assert_allclose(found, one_by_one(y, atoms, nonzeros), atol=1e-5)


@pytest.mark.filterwarnings("ignore:.*Orthogonal matching pursuit ended prematurely")
def test_it_ends_as_early_as_scikit_learns():
    """Equal atoms, fewer atoms than are asked for, a query that one atom explains, a zero query, atoms that are zero."""
    rng = np.random.default_rng(0)
    y, atoms = rng.normal(size=(5, 6)), rng.normal(size=(5, 4, 6))
    atoms[0] = atoms[0, :1]
    y[1], y[2], atoms[4, 1:] = 2 * atoms[1, 2], 0, 0
    found = pursue(torch.from_numpy(y), torch.from_numpy(atoms), 3)
    np.testing.assert_allclose(found, one_by_one(y, atoms, 3), atol=1e-5)
    np.testing.assert_allclose(pursue(torch.from_numpy(y), torch.from_numpy(atoms[:, :2]), 3), one_by_one(y, atoms[:, :2], 2),
                               atol=1e-5)


@pytest.mark.parametrize("scale", ["raw", "unit"])
def test_three_atoms_explain_what_three_can(scale):
    """Four orthogonal atoms: the smallest share of the query is left."""
    y = torch.tensor([[4.0, -3.0, 2.0, 1.0, 0.5]])
    found = pursue(y, torch.eye(5)[None, :4], 3, scale)
    torch.testing.assert_close(found, torch.tensor([[4.0, -3.0, 2.0, 0, 0]]))


def test_unit_atoms_never_explain_less_than_the_nearest_row_and_find_a_row_that_is_the_query():
    rng = np.random.default_rng(0)
    rows = torch.from_numpy(rng.normal(0.5, 1, (50, 8)) * rng.uniform(0.2, 4, (50, 1))).float()
    query = torch.from_numpy(rng.normal(0.5, 1, (200, 8))).float()
    left = (query - explain(query, rows, 10, 3, "unit")[0]).norm(dim=1)
    assert (left <= torch.cdist(query, rows).min(1).values + 1e-5).all()
    for nonzeros in (0, 1, 3):
        assert (rows - explain(rows, rows, 10, nonzeros, "unit")[0]).norm(dim=1).max() < 1e-5


def test_raw_atoms_promise_neither():
    """The published pursuit takes the long atom first, though the other one is the query itself."""
    y, atoms = torch.tensor([[1.0, 0.0]]), torch.tensor([[[1.0, 0.0], [5.0, 5.0]]])
    assert (y - pursue(y, atoms, 1)).norm() == pytest.approx(0.5**0.5) and (y - pursue(y, atoms, 1, "unit")).norm() == 0
    assert (y - pursue(y, atoms, 2)).norm() < 1e-6, "two atoms span the plane"


@pytest.mark.parametrize(("stage", "skip"), [("testing", 0), ("alignment", 1)])
def test_retrieval_is_the_recorded_one(stage, skip):
    d = np.load(RECORDED / "shape_guided.npz")
    query = torch.from_numpy(d["in.code_query"])
    f_dict, index = explain(query, torch.from_numpy(d["in.code_lib"]), 10, 3, skip=skip)
    np.testing.assert_array_equal(index, d[f"out.{stage}.knn_idx"])
    np.testing.assert_allclose(f_dict, d[f"out.{stage}.dict_feature"], atol=1e-4)
    assert (query - f_dict).norm(dim=1).max().item() == pytest.approx(d[f"out.{stage}.score"], abs=1e-4)


def test_neighbours_are_left_out_only_where_others_remain():
    rows = torch.tensor([[0.0], [1], [3], [7]])
    assert explain(rows, rows, 2, 0, skip=1)[1].tolist() == [[1, 2], [0, 2], [1, 0], [2, 1]]
    assert explain(rows[:1], rows[:1], 2, 0, skip=1)[1].tolist() == [[0]]
    assert explain(rows, rows[:2], 9, 3)[1].shape == (4, 2), "k is clipped"
