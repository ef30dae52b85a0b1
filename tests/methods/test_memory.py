"""Bounded banks: the early estimate, two passes and one, search by torch and by faiss, the papers' coresets."""

import numpy as np
import pytest
import torch
from recorded import RECORDED

from mmadlib.errors import TrainingError
from mmadlib.methods import memory
from mmadlib.methods.banks import project
from mmadlib.methods.memory import Memory, build, check_memory, choose, needed_bytes, projected_width, projector, search

GOLDEN = np.load(RECORDED / "coreset.npz")
MISC = np.load(RECORDED / "m3dm_misc.npz")


def images(n=4, rows=60, width=7, seed=0):
    rng = np.random.default_rng(seed)
    return [torch.from_numpy(rng.normal(size=(rows + 3 * i, width))).float() for i in range(n)]


def built(parts, **settings):
    return build("test", [lambda p=p: p for p in parts], sum(map(len, parts)), parts[0].shape[1], **settings)


@pytest.mark.parametrize(("case", "sampling"), [("patchcore", "exact"), ("cfr", "exact"), ("m3dm", "greedy")])
def test_coresets_are_the_official_ones(case, sampling):
    expected = GOLDEN[f"{case}.{'infinite' if sampling == 'greedy' else 'exact'}"]
    assert np.array_equal(choose(torch.from_numpy(GOLDEN[f"{case}.x"]), len(expected), sampling), expected)


@pytest.mark.parametrize("case", ["patchcore"])
def test_the_approximate_coreset_draws_the_official_starts(case):
    d = np.load(RECORDED / "patchcore.npz")
    x = torch.from_numpy(d["coreset.x"])
    seed, expected = int(d["np_seed"]), d["coreset.approximate"]
    assert np.array_equal(choose(x, len(expected), "approximate", seed), expected)
    assert not np.array_equal(choose(x, len(expected), "approximate", seed + 1), expected)
    assert len(choose(x[:4], 2, "approximate")) == 2, "fewer rows than starts"


def test_the_projected_coreset_is_the_official_one():
    x, seed = torch.from_numpy(MISC["z_large"]), int(MISC["rp_state"])
    thin = projector(260, 400, "sparse", seed)(x)
    assert thin.shape == (260, 137)
    assert np.array_equal(choose(thin, 26), MISC["coreset.projected"])


def test_parts_are_projected_as_the_whole():
    x = torch.randn(260, 400, generator=torch.Generator().manual_seed(0))
    sparse, linear = (projector(260, 400, kind, 3) for kind in ("sparse", "linear"))
    assert torch.equal(torch.cat([sparse(part) for part in x.split(70)]), project(x, seed=3))
    assert linear(x).shape == (260, 128) and torch.equal(projector(9, 5, "linear")(x[:, :5]), x[:, :5])
    assert projector(260, 400, "none")(x) is x and projected_width(260, 40, "sparse") == 40
    assert [projected_width(n, 1920, "sparse") for n in (191_296, 283_024, 765_184)] == [300, 309, 334], "as measured"


@pytest.mark.parametrize("sampling", memory.SAMPLINGS)
def test_two_passes_give_the_same_bank_as_one(monkeypatch, sampling):
    parts = images(width=400)
    one = built(parts, share=0.1, sampling=sampling, seed=2)
    monkeypatch.setattr(memory, "WHOLE", 0)
    two = built(parts, share=0.1, sampling=sampling, seed=2)
    assert torch.equal(one.rows, two.rows) and torch.equal(one.owner, two.owner) and len(one) == int(0.1 * 258)


def test_rows_remember_their_image():
    parts = images()
    for share in (1.0, 0.3):
        bank = built(parts, share=share)
        for row, image in zip(bank.rows, bank.owner, strict=True):
            assert (parts[image] == row).all(1).any()
        assert (bank.without(2).owner != 2).all() and len(bank.without(2)) == (bank.owner != 2).sum()
    assert torch.equal(built(parts).rows, torch.cat(parts)) and built(parts[:1]).without(0) is None


def test_sizes():
    parts = images()
    assert [len(built(parts, share=s)) for s in (0.1, 0.5, 1e-6)] == [25, 129, 1]
    assert len(built(parts, limit=17)) == 17 and len(built(parts, limit=10**6)) == 258
    assert torch.equal(built(parts, share=0.1).rows[0], parts[0][0]), "row 0 first"
    with pytest.raises(TrainingError, match="test: no training sample has cells with features"):
        built([torch.zeros(0, 4)])


def test_a_bank_that_does_not_fit_is_refused_before_anything_is_made(monkeypatch):
    monkeypatch.setattr(memory, "free_bytes", lambda device: 3.1e9)

    def never():
        raise AssertionError("made before the estimate")

    n, width = 765_184, 1920  # 5.9 GB of fused patches of bagel, held and indexed
    with pytest.raises(TrainingError, match=r"m3dm: this bank needs 11\.8 GB, 3\.1 GB are free: use coreset=0\.002"):
        build("m3dm", [never], n, width, share=1.0)
    with pytest.raises(TrainingError, match="fit on fewer samples or a coarser grid"):
        check_memory("m3dm", n, width, 10, projection="none")
    check_memory("m3dm", n, width, 2000)


@pytest.mark.parametrize("share", [1.0, 0.5, 0.1])
def test_what_is_advised_fits(monkeypatch, share):
    n, width = 300_000, 1000
    for free in (1.5e9, 2.5e9, 5e9):
        monkeypatch.setattr(memory, "free_bytes", lambda device, free=free: free)
        try:
            check_memory("x", n, width, int(share * n))
        except TrainingError as err:
            advice = float(str(err).rpartition("coreset=")[2])
            assert advice < share and needed_bytes(n, width, int(advice * n)) <= free


def test_free_memory_is_that_of_the_machine():
    assert 2**20 < memory.free_bytes() < 2**50


def test_search_by_torch_is_that_by_faiss(monkeypatch):
    rows, query = torch.cat(images()) + 100, torch.cat(images(seed=1)) + 100
    monkeypatch.setattr(memory, "PRODUCTS", 1000)
    for k in (1, 3, 999):
        (one, i), (two, j) = Memory(rows).nearest(query, k), search(rows, query, k)
        assert torch.equal(i, j) and torch.allclose(one, two, atol=1e-6)
    assert (search(rows, rows)[0] == 0).all()
    assert Memory(rows).nearest(query[:0])[0].shape == (0, 1)


def test_more_rows_never_raise_a_distance():
    parts = images()
    query = torch.cat(images(seed=1))
    few, many = (built(parts[:k]).nearest(query)[0] for k in (2, 4))
    assert (many <= few).all()


def test_rows_and_owners_must_fit():
    with pytest.raises(ValueError, match="do not fit"):
        Memory(torch.zeros(3, 2), torch.zeros(2, dtype=torch.int64))
