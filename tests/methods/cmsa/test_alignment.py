"""Alignment: sizes of the heads, objectives with known values, canonical correlations on data with a known latent."""

import math

import pytest
import torch
import torch.nn.functional as F

from mmadlib.methods.cmsa.alignment import (
    Canonical,
    Head,
    alike,
    canonical,
    close,
    covariance_penalty,
    infonce,
    misalignment,
    variance_hinge,
    vicreg,
    whitener,
)


def randn(*shape, seed=0, dtype=torch.float32):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def two_views(n=4000, d=5, c2=12, c3=9, noise=0.05, seed=0, mix=0):
    """Two linear views of one latent, and noise."""
    latent = randn(n, d, seed=seed)
    return (latent @ randn(d, c2, seed=mix + 11) + noise * randn(n, c2, seed=seed + 1),
            latent @ randn(d, c3, seed=mix + 12) + noise * randn(n, c3, seed=seed + 2))


def test_heads_have_the_sizes_of_the_specification():
    sizes = [sum(p.numel() for p in Head(width).parameters()) for width in (768, 1152)]
    assert sizes == [526_592, 723_968]
    assert Head(26, 64, 16)(randn(7, 26)).shape == (7, 16)


def test_misalignment_of_equal_opposite_and_scaled_latents():
    z = randn(50, 8)
    assert misalignment(z, z).max() == 0
    assert torch.allclose(misalignment(z, -z), torch.tensor(2.0))
    other, scale = randn(50, 8, seed=1), randn(50, 1, seed=2).abs() + 0.1
    assert torch.allclose(misalignment(z, other), 1 - F.cosine_similarity(z, other), atol=1e-6)
    assert torch.allclose(misalignment(z * scale, 7 * other), misalignment(z, other), atol=1e-6)


@pytest.mark.parametrize("n", [2, 256])
def test_infonce_of_coinciding_latents_is_log_n(n):
    z = randn(1, 16).expand(n, 16)
    assert infonce(z, z, 0.1).item() == pytest.approx(math.log(n), abs=1e-5)
    assert math.log(256) == pytest.approx(5.545, abs=1e-3)


def test_cells_are_alike_by_the_rank_of_their_distance():
    """Two materials of 6 and 4 cells: 52 of the 100 pairs lie within one of them, whatever the scale of the features."""
    x = torch.cat([randn(6, 3) * 0.01, randn(4, 3, seed=1) * 0.01 + 5])
    material = torch.tensor([0] * 6 + [1] * 4)
    same = material[:, None] == material
    for scale in (1e-3, 1, 1e3):
        assert torch.equal(alike(scale * x, 0.52), same)
        for share in (0.1, 0.3, 0.5):
            found = alike(scale * x, share)
            assert torch.equal(found, found.T) and found.diagonal().all() and same[found].all()
            assert 0 <= found.sum() - int(share * 100) <= 1, "a pair and its mirror image are as far apart"
    assert alike(x, 0.9).sum() >= 90 and not alike(x, 0).any()


def test_cells_that_are_the_same_are_alike_together():
    assert alike(torch.ones(8, 3), 0.1).all()
    assert alike(randn(1, 3), 0.7).shape == (1, 1)


def test_infonce_is_symmetric_and_knows_the_pairs():
    z2, z3 = randn(40, 32), randn(40, 32) + 0.5 * randn(40, 32, seed=1)
    matched, order = infonce(z2, z3), torch.randperm(40, generator=torch.Generator().manual_seed(0))
    assert infonce(z3, z2).item() == pytest.approx(matched.item(), abs=1e-6)
    assert infonce(z2[order], z3[order]).item() == pytest.approx(matched.item(), abs=1e-6)
    assert infonce(z2, z3[order]) > matched + 1
    assert infonce(torch.eye(40), torch.eye(40), 0.1) < 0.01


def test_pairs_left_out_leave_the_denominator_but_never_the_positive():
    z2, z3 = randn(6, 4), randn(6, 4, seed=1)
    every = torch.ones(6, 6, dtype=torch.bool)
    assert infonce(z2, z3, 0.1, every).item() == 0  # the positive alone is left
    some = every.clone()
    some[:3, :3] = some[3:, 3:] = False
    S = F.normalize(z2, dim=1) @ F.normalize(z3, dim=1).T / 0.1
    halves = [S[:3, :3], S[3:, 3:]]
    expected = sum(F.cross_entropy(h, torch.arange(3)) + F.cross_entropy(h.T, torch.arange(3)) for h in halves) / 4
    assert infonce(z2, z3, 0.1, some).item() == pytest.approx(expected.item(), abs=1e-5)
    assert every.all(), "the mask of the caller is not touched"
    z2.requires_grad_()
    infonce(z2, z3, 0.1, some).backward()
    assert z2.grad.isfinite().all()


def test_close_cells_lie_within_a_chebyshev_distance():
    cells = torch.arange(7 * 9)
    near = close(cells, 9, 2)
    assert near[3 * 9 + 4].sum() == 25 and near[0].sum() == 9 and torch.equal(near, near.T)
    assert not near[8, 9], "the end of a row is far from the start of the next"
    assert torch.equal(close(cells, 9, 0), torch.eye(63, dtype=torch.bool))


def test_infonce_of_half_precision_latents_is_computed_in_full():
    z2, z3 = randn(64, 16).bfloat16(), randn(64, 16, seed=1).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        mixed = infonce(z2, z3)
    assert mixed.dtype == torch.float32 and mixed == infonce(z2.float(), z3.float())


def test_variance_hinge_is_positive_for_constants_and_zero_from_deviation_one_on():
    assert variance_hinge(torch.ones(20, 4)).item() == pytest.approx(0.99)  # eps 1e-4 under the root
    z = randn(500, 4)
    assert variance_hinge(1.1 * z / z.std(0, correction=0)) == 0
    assert variance_hinge(0.5 * z / z.std(0, correction=0)).item() == pytest.approx(0.5, abs=1e-3)


def test_covariance_penalty_sees_copies_and_not_whitened_latents():
    z = randn(5000, 3).double()
    z = (z - z.mean(0)) @ whitener(z - z.mean(0), 1e-9)
    assert covariance_penalty(z.float()) < 1e-8
    copies = z[:, :1].expand(-1, 3).float()
    assert covariance_penalty(copies).item() == pytest.approx(6 / 3, rel=1e-4)


def test_vicreg_has_three_weighted_terms():
    z2, z3 = randn(90, 5), randn(90, 5, seed=1)
    terms = vicreg(z2, z3)
    assert terms["agree"].item() == pytest.approx(25 * (1 - F.cosine_similarity(z2, z3).mean().item()), abs=1e-4)
    assert terms["variance"] == 25 * (variance_hinge(z2) + variance_hinge(z3))
    assert terms["covariance"] == covariance_penalty(z2) + covariance_penalty(z3)


def test_canonical_variates_are_white_and_correlations_sorted():
    x2, x3 = two_views()
    for ridge, tolerance in ((1e-3, 5e-3), (1e-9, 1e-4)):
        heads = canonical(x2, x3, 5, ridge)
        for x, head in zip((x2, x3), heads, strict=True):
            v = head.variates(x).double()
            assert torch.allclose(v.mean(0), torch.zeros(5, dtype=torch.float64), atol=1e-4)
            assert torch.allclose(v.T @ v / len(v), torch.eye(5, dtype=torch.float64), atol=tolerance)
    s = heads[0].correlations
    assert torch.equal(s, heads[1].correlations) and (s.diff() <= 0).all() and 0 <= s.min() and s.max() <= 1
    cross = heads[0].variates(x2).T @ heads[1].variates(x3) / len(x2)
    assert torch.allclose(cross, s.diag(), atol=1e-3)


def test_variates_are_white_within_the_ridge():
    """At the default ridge: exactly so under the ridged covariance."""
    x = two_views()[0].double()
    x = x - x.mean(0)
    W, covariance = whitener(x, 1e-3), x.T @ x / len(x)
    ridged = covariance + 1e-3 * covariance.diagonal().mean() * torch.eye(12)
    assert torch.allclose(W @ ridged @ W, torch.eye(12, dtype=torch.float64), atol=1e-4)


def test_correlations_do_not_see_invertible_maps_of_a_side():
    x2, x3 = two_views(noise=0.5)
    plain = canonical(x2, x3, 9, 1e-10)[0].correlations
    mapped = canonical(x2 @ randn(12, 12, seed=5) + 3, 100 * x3, 9, 1e-10)[0].correlations
    assert torch.allclose(plain, mapped, atol=1e-4)
    assert plain[:5].min() > 0.3 and plain[5:].max() < 0.1


def test_matched_cells_agree_and_shuffled_ones_do_not():
    phi2, phi3 = canonical(*two_views(), 5)
    x2, x3 = two_views(seed=50)
    shuffled = x3[torch.randperm(len(x3), generator=torch.Generator().manual_seed(0))]
    matched, wrong = (1 - misalignment(phi2(x2), phi3(x)).mean().item() for x in (x3, shuffled))
    assert matched > 0.98 and abs(wrong) < 0.03


def test_signs_are_fixed_and_pairs_weighted():
    x2, x3 = two_views(noise=0.5)
    first, again = canonical(x2, x3, 5)[0], canonical(x2, x3, 5)[0]
    assert torch.equal(first.matrix, again.matrix)
    largest = first.matrix.gather(0, first.matrix.abs().argmax(0, keepdim=True))
    assert (largest > 0).all()
    assert torch.allclose(first(x2), first.variates(x2) * first.correlations)


@pytest.mark.parametrize("spoil", [torch.zeros_like, lambda x: x[:, :1].expand(-1, x.shape[1]),
                                   lambda x: x[:1].expand(len(x), -1)])
def test_degenerate_features_give_finite_heads(spoil):
    x2, x3 = two_views(n=60)
    for pair in ((spoil(x2), x3), (x2, spoil(x3)), (spoil(x2), spoil(x3))):
        heads = canonical(*pair, 64)
        assert heads[0].matrix.shape == (12, 9) and all(head(x).isfinite().all() for head, x in zip(heads, pair, strict=True))


def test_a_head_in_closed_form_has_nothing_to_train_and_is_saved_whole():
    head = canonical(*two_views(n=200), 4)[0]
    assert not list(head.parameters()) and set(head.state_dict()) == {"mean", "matrix", "correlations"}
    again = Canonical(12, 4)
    again.load_state_dict(head.state_dict())
    assert torch.equal(again(randn(3, 12)), head(randn(3, 12)))
