"""The steps of MuSc-V2: what the official code made of recorded tokens, and the invariants of each step."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from recorded import RECORDED, assert_whole

from mmadlib.errors import SettingsError
from mmadlib.methods.musc import mutual
from mmadlib.methods.musc.aggregate import aggregated
from mmadlib.methods.musc.enhance import enhanced, ranked
from mmadlib.methods.musc.mutual import both_minima, lowest, mutual_distances
from mmadlib.methods.musc.rescore import min_max, rescored


@pytest.fixture(scope="module")
def d() -> dict[str, np.ndarray]:
    return dict(np.load(RECORDED / "musc_v2.npz"))


@pytest.fixture(scope="module")
def A(d) -> dict[str, list[torch.Tensor]]:
    return {side: mutual_distances(list(torch.from_numpy(d[f"in.msm.{name}"]))) for side, name in (("rgb", "z2d"),
                                                                                                ("xyz", "z3d_grid"))}


def scores(A: list[torch.Tensor], share: float = 0.3) -> torch.Tensor:
    return torch.stack([lowest(a, share) for a in A])


def tokens(n: int, t: int = 12, c: int = 5, seed: int = 0) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(t, c, generator=generator) for _ in range(n)]


def test_mutual_scores_are_the_official_ones(d, A):
    assert_whole(scores(A["rgb"]), d["code.msm_single.all"], 1e-5)
    assert_whole(scores(A["xyz"]), d["code.msm_single.z3d_grid"], 1e-5)
    for share in (0.5, 1.0):
        assert_whole(scores(A["rgb"], share), d[f"code.msm_single.topmin{share}"], 1e-5)
    five = mutual_distances(list(torch.from_numpy(d["in.msm.z2d"]))[:5])
    assert_whole(scores(five), d["code.msm_single.first5"], 1e-5)
    assert torch.equal(scores(five), torch.stack([a.min(1).values for a in five])), "of four others one is 30 %"


def test_enhanced_scores_are_the_official_ones(d, A):
    assert torch.equal(ranked(*map(torch.from_numpy, (d["in.match.source"][0], d["in.match.target"][0])), "stable"),
                       torch.from_numpy(d["out.match"][0]))
    pairs = [enhanced(a, b, "stable") for a, b in zip(A["rgb"], A["xyz"], strict=True)]
    for side, places in (("2d", 0), ("3d", 1)):
        assert_whole(scores([pair[places] for pair in pairs]), d[f"code.msm_multi.grid.{side}"], 1e-5)


@pytest.mark.parametrize("kind", ["raw", "unit"])
def test_rescored_images_are_the_official_ones(d, kind):
    features = torch.from_numpy(d["in.rscon.features" + ("_unit" if kind == "unit" else "")])
    for name, window in (("k1_7", 7), ("k1_3", 3), ("k3", 3), ("k1", 1)):  # the official code adds a window of 1 to any other
        found = rescored(min_max(torch.from_numpy(d["in.rscon.scores"])), features, window)
        np.testing.assert_allclose(found, d[f"out.rscon.{kind}.{name}"], atol=1e-5)


@pytest.mark.parametrize(("name", "degrees"), [("r1", (1,)), ("r3", (3,)), ("r13", (1, 3)), ("r135", (1, 3, 5))])
def test_aggregated_tokens_are_the_official_ones(d, name, degrees):
    every = torch.ones(7, 7, dtype=torch.bool)
    for layer in range(2):
        raw = torch.from_numpy(d[f"in.snamd2d.tokens{layer}"])[:, 1:].reshape(2, 7, 7, -1)
        found = torch.stack([aggregated(x, every, degrees).flatten(0, 1) for x in raw])
        assert_whole(found, d[f"code.snamd2d.{name}.f32"][:, :, layer], 1e-5)


def test_distances_are_those_to_the_nearest_token_and_a_copy_reads_zero(monkeypatch):
    x, y = tokens(1, 50, 8)[0] + 5, tokens(1, 40, 8, seed=1)[0] + 5  # far from zero: products lose digits there
    y[7] = x[3]
    exact = (x[:, None] - y).norm(dim=-1)
    whole = both_minima(x, y)
    for found, axis in zip(whole, (1, 0), strict=True):
        torch.testing.assert_close(found, exact.amin(axis), atol=1e-5, rtol=0)
    assert whole[0][3] == whole[1][7] == 0
    monkeypatch.setattr(mutual, "TABLE", 90)
    for chunked, found in zip(both_minima(x, y), whole, strict=True):
        torch.testing.assert_close(chunked, found, atol=1e-5, rtol=0)
    torch.testing.assert_close(both_minima(y, x)[0], whole[1], atol=1e-5, rtol=0)


def test_parts_may_have_different_numbers_of_tokens():
    parts = [x[:n] for x, n in zip(tokens(4), (12, 3, 7, 1), strict=True)]
    A = mutual_distances(parts)
    assert [a.shape for a in A] == [(12, 3), (3, 3), (7, 3), (1, 3)]
    torch.testing.assert_close(A[2][:, 1], torch.cdist(parts[2], parts[1]).amin(1), atol=1e-5, rtol=0)
    torch.testing.assert_close(A[2][:, 2], torch.cdist(parts[2], parts[3]).amin(1), atol=1e-5, rtol=0)


def test_orders_do_not_matter():
    parts = tokens(5)
    plain = scores(mutual_distances(parts))
    turned = scores(mutual_distances(parts[::-1])).flip(0)
    torch.testing.assert_close(turned, plain, atol=1e-5, rtol=0)
    mixed = [parts[0], *(x.flip(0) for x in parts[1:])]
    torch.testing.assert_close(scores(mutual_distances(mixed))[0], plain[0], atol=1e-5, rtol=0)


def test_a_copy_of_a_reference_lifts_no_minimum():
    parts = tokens(4)
    one, more = mutual_distances(parts)[0], mutual_distances([*parts, parts[2]])[0]
    torch.testing.assert_close(lowest(more, 0.01), lowest(one, 0.01), atol=1e-5, rtol=0)


def test_scores_grow_with_the_share():
    a = mutual_distances(tokens(8))[0]
    found = torch.stack([lowest(a, share) for share in (0.01, 0.3, 0.5, 0.7, 1.0)])
    assert (found.diff(dim=0) >= 0).all() and torch.allclose(found[-1], a.mean(1))


def test_an_odd_token_is_found_unless_every_part_has_it():
    parts = tokens(6, 30)
    odd = [x.clone() for x in parts]
    odd[2][4] = 20
    assert scores(mutual_distances(odd))[2].argmax() == 4
    for x in odd:
        x[4] = 20
    assert scores(mutual_distances(odd))[2][4] == 0


def test_too_many_distances_are_refused_before_they_are_made(monkeypatch):
    monkeypatch.setattr(mutual, "MOST", 500)
    with pytest.raises(SettingsError, match="smaller batches"):
        mutual_distances(tokens(5))


@pytest.mark.parametrize("ties", ["mean", "stable"])
def test_a_ranking_moves_values_and_makes_none(ties):
    s, t = (torch.randn(6, 4, generator=torch.Generator().manual_seed(i)) for i in range(2))
    assert torch.equal(ranked(s, s, ties), s)
    found = ranked(s, t, ties)
    assert torch.equal(found.flatten().sort().values, s.flatten().sort().values)
    assert torch.equal(ranked(s, t.exp(), ties), found) and torch.equal(found.flatten().argsort(), t.flatten().argsort())


def test_tied_entries_share_their_values():
    s, t = torch.tensor([1.0, 2.0, 3.0, 6.0]), torch.tensor([5.0, 1.0, 5.0, 5.0])
    assert ranked(s, t, "stable").tolist() == [2, 1, 3, 6]
    assert ranked(s, t).tolist() == pytest.approx([11 / 3, 1, 11 / 3, 11 / 3])
    assert ranked(s, t[[2, 0, 1, 3]]).tolist() == pytest.approx([11 / 3, 11 / 3, 1, 11 / 3]), "whatever the order"


def test_enhancement_of_equal_sides_with_equal_spreads_changes_nothing():
    A = (torch.arange(20.0).reshape(5, 4) + 1) / 10
    for found in enhanced(A, A):
        torch.testing.assert_close(found, A)


def test_enhancement_raises_what_the_other_side_sees():
    a, b = (torch.rand(20, 6, generator=torch.Generator().manual_seed(i)) for i in range(2))
    a[3] = a[3] * 0.1
    b[3] = 5 + 0.01 * torch.rand(6)
    A, B = enhanced(a, b, "stable")
    assert A[3].mean() > 2 * a[3].mean()
    assert torch.allclose((2 * A - a).flatten().sort().values, a.flatten().sort().values, atol=1e-6)
    assert torch.allclose((2 * B - b).flatten().sort().values, b.flatten().sort().values, atol=1e-6)


def test_enhancement_does_not_depend_on_the_order_of_the_references():
    a, b = (torch.rand(20, 6, generator=torch.Generator().manual_seed(i)) for i in range(2))
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    for one, other in zip(enhanced(a, b), enhanced(a[:, order], b[:, order]), strict=True):
        torch.testing.assert_close(one[:, order], other)


def test_a_token_without_counterpart_is_told_nothing():
    a, b = torch.rand(6, 4) + 1, torch.rand(6, 4) + 1
    b[2] = 0
    assert all(torch.isfinite(x).all() for x in enhanced(a, b))


def test_windows_of_one_are_min_max_and_groups_do_not_mix():
    unit, s = F.normalize(torch.randn(8, 5, generator=torch.Generator().manual_seed(0)), dim=1), torch.arange(8.0)
    torch.testing.assert_close(rescored(min_max(s), unit, 1), s / 7)
    groups = torch.eye(2).repeat_interleave(4, 0)
    found = rescored(torch.tensor([0.0] * 4 + [1.0] * 4), groups, 7)
    assert found.tolist() == [0.0] * 4 + [1.0] * 4
    torch.testing.assert_close(rescored(3 * s + 2, groups, 7), 3 * rescored(s, groups, 7) + 2)
    assert rescored(s, torch.zeros(8, 5), 7).tolist() == s.tolist() and not min_max(torch.zeros(3)).any()


def test_only_what_takes_part_is_aggregated():
    x = torch.randn(6, 6, 3, generator=torch.Generator().manual_seed(0))
    taken = torch.zeros(6, 6, dtype=torch.bool)
    taken[1:4, 1:4] = True
    found = aggregated(x, taken)
    other = torch.where(taken[..., None], x, 9.0)
    assert torch.equal(aggregated(other, taken)[taken], found[taken])
    alone = torch.zeros_like(taken)
    alone[2, 2] = True
    torch.testing.assert_close(aggregated(x, alone)[2, 2], x[2, 2])
