"""Coresets against a naive search and the recorded official selections; banks against brute force."""


import numpy as np
import pytest
import torch
from recorded import RECORDED

from mmadlib.methods.banks import Bank, CosineBank, dense_projection, greedy_coreset, mean_reach, norm_reach, project

GOLDEN = np.load(RECORDED / "coreset.npz")


def naive_coreset(x, k, first):
    chosen = [first]
    while len(chosen) < k:
        reach = np.linalg.norm(x[:, None] - x[chosen], axis=2).min(1)
        chosen.append(int(reach.argmax()))
    return chosen


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_coreset_equals_a_naive_search(seed):
    x = np.random.default_rng(seed).normal(size=(80, 5)).astype(np.float32)
    chosen = greedy_coreset(x, 20, seed)
    assert chosen.dtype == np.int64
    assert chosen.tolist() == naive_coreset(x, 20, np.random.default_rng(seed).integers(80))


@pytest.mark.parametrize("case", ["patchcore", "cfr"])
def test_coreset_equals_patchcore(case):
    x, starts = torch.from_numpy(GOLDEN[f"{case}.x"]), GOLDEN[f"{case}.starts"]
    thin = x @ torch.from_numpy(GOLDEN[f"{case}.projection"]).T
    for name, rows, reach in (("exact", x, norm_reach(x)), ("mean", x, mean_reach(x, starts)),
                              ("projected", thin, mean_reach(thin, starts))):
        expected = GOLDEN[f"{case}.{name}"]
        assert np.array_equal(greedy_coreset(rows, len(expected), reach=reach), expected), name


def test_coreset_equals_m3dm():
    x, expected = GOLDEN["m3dm.x"], GOLDEN["m3dm.infinite"]
    assert np.array_equal(greedy_coreset(x, len(expected), reach=torch.full((len(x),), torch.inf)), expected)


def test_covering_radius_never_grows():
    x = torch.from_numpy(np.random.default_rng(0).normal(size=(200, 3)).astype(np.float32))
    chosen = greedy_coreset(x, 60)
    radius = [torch.cdist(x, x[chosen[:k]]).min(1).values.max() for k in range(1, 60)]
    assert (np.diff(radius) <= 1e-6).all() and radius[-1] < 0.5 * radius[0]


def test_equal_rows_are_chosen_once_and_k_is_clipped():
    same = np.ones((6, 4), np.float32)
    assert sorted(greedy_coreset(same, 99)) == list(range(6))


def test_distinct_search_stops_where_only_copies_are_left():
    x = torch.randn(12, 20, generator=torch.Generator().manual_seed(0)).repeat(5, 1) + 3
    chosen = greedy_coreset(x, 60, distinct=True)
    assert sorted(chosen % 12) == list(range(12))
    assert len(greedy_coreset(x, 60)) == 60
    assert len(greedy_coreset(torch.ones(5, 2), 3, reach=torch.zeros(5), distinct=True)) == 1  # never an empty bank


def test_distinct_search_changes_nothing_among_different_rows():
    x = torch.randn(90, 6, generator=torch.Generator().manual_seed(0))
    assert np.array_equal(greedy_coreset(x, 40, distinct=True), greedy_coreset(x, 40))


def test_reach_is_not_changed_in_place():
    x = torch.randn(30, 3, generator=torch.Generator().manual_seed(0))
    reach = norm_reach(x)
    before = reach.clone()
    greedy_coreset(x, 5, reach=reach)
    assert torch.equal(reach, before)


def test_projection_follows_the_published_rule():
    x = torch.randn(260, 400, generator=torch.Generator().manual_seed(0))
    thin = project(x, seed=3)
    assert thin.shape == (260, 137) and thin.dtype == torch.float32
    assert torch.equal(thin, project(x, seed=3)) and not torch.equal(thin, project(x, seed=4))
    ratio = torch.pdist(thin) / torch.pdist(x)
    assert 0.6 < ratio.min() and ratio.max() < 1.5
    assert project(x[:, :100]).shape == (260, 100)


def test_dense_projection_nearly_keeps_ratios_of_distances():
    x = torch.randn(60, 700, generator=torch.Generator().manual_seed(0))
    thin = x @ dense_projection(700, 128, seed=1)
    assert thin.shape == (60, 128) and torch.equal(dense_projection(9, 4, 1), dense_projection(9, 4, 1))
    ratio = torch.pdist(thin) / torch.pdist(x)
    assert ratio.std() / ratio.mean() < 0.12
    assert not torch.equal(dense_projection(9, 4, 1), dense_projection(9, 4, 2))
    assert dense_projection(100, 50).abs().max() <= 0.1  # uniform within 1 / sqrt(width), as an untrained layer's weights


def test_bank_equals_brute_force():
    rng = np.random.default_rng(0)
    rows, query = torch.from_numpy(rng.normal(size=(70, 6))).float(), torch.from_numpy(rng.normal(size=(9000, 6))).float()
    distance, index = Bank(rows).distance(query, k=4)
    true, order = torch.cdist(query, rows, compute_mode="donot_use_mm_for_euclid_dist").sort(dim=1)
    assert torch.allclose(distance, true[:, :4], atol=1e-6) and torch.equal(index, order[:, :4])


def test_bank_equals_the_recorded_search():
    distance, index = Bank(GOLDEN["bank.rows"]).distance(GOLDEN["bank.query"], k=3)
    assert np.allclose(distance.numpy() ** 2, GOLDEN["bank.squares"], rtol=0, atol=1e-5)
    assert np.array_equal(index.numpy(), GOLDEN["bank.index"])


def test_a_row_is_at_distance_zero_from_itself_far_from_the_origin():
    rows = torch.randn(50, 8, generator=torch.Generator().manual_seed(0)) + 1000
    distance, index = Bank(rows).distance(rows)
    assert (distance == 0).all() and torch.equal(index[:, 0], torch.arange(50))


def test_bank_clips_k_and_takes_no_queries():
    bank = Bank(np.eye(3))
    assert len(bank) == 3 and bank.distance(np.eye(3)[:1], k=9)[0].shape == (1, 3)
    assert bank.distance(torch.zeros(0, 3), k=2)[0].shape == (0, 2)


def test_an_empty_bank_is_refused():
    with pytest.raises(ValueError, match="rows"):
        Bank(torch.zeros(0, 4))


def test_cosine_bank_equals_brute_force_in_chunks(monkeypatch):
    monkeypatch.setattr("mmadlib.methods.banks.PRODUCTS", 1000)
    rows, query = torch.randn(70, 6), torch.randn(90, 6)
    cosine, index = CosineBank(rows).nearest(query, 4)
    true, order = torch.cosine_similarity(query[:, None].double(), rows[None].double(), dim=2).sort(dim=1, descending=True)
    assert torch.allclose(cosine.double(), true[:, :4], atol=1e-6) and torch.equal(index, order[:, :4])


def test_cosine_bank_leaves_out_the_rows_with_the_label_of_the_query():
    rows, labels = torch.randn(20, 3), torch.arange(20) // 5
    cosine, index = CosineBank(rows).nearest(rows, 3, labels, labels)
    assert (labels[index] != labels[:, None]).all() and (cosine < 1 - 1e-6).all()


def test_cosine_with_nothing_is_zero_and_no_queries_give_none():
    bank = CosineBank(torch.tensor([[0.0, 0.0], [-1.0, 0.0]]))
    assert bank.nearest(torch.tensor([[2.0, 0.0]]))[0].item() == 0
    assert bank.nearest(torch.zeros(0, 2), k=9)[1].shape == (0, 2) and len(bank) == 2


def test_cosine_bank_is_exact_under_mixed_precision():
    rows = torch.randn(50, 8, generator=torch.Generator().manual_seed(0))
    with torch.autocast("cpu", torch.bfloat16):
        mixed = CosineBank(rows).nearest(rows[:9], 3)[0]
    assert torch.equal(mixed, CosineBank(rows).nearest(rows[:9], 3)[0])
