"""One width for both modalities, and the first prototypes."""

import numpy as np
import pytest
import torch

from mmadlib.errors import SettingsError, TrainingError
from mmadlib.methods.pirn.prototypes import first_prototypes
from mmadlib.methods.pirn.reduction import KINDS, Reduction, common_width


@pytest.mark.parametrize(("widths", "expected"), [([768, 768], 0), ([768, 1152], 256), ([26, 15], 8), ([16, 16], 0),
                                                  ([12, 12], 8), ([24], 0), ([26], 24)])
def test_common_width(widths, expected):
    assert common_width(widths, 8) == expected


def test_widths_that_heads_cannot_share_are_refused():
    with pytest.raises(SettingsError, match=r"widths 7, 20 are narrower than 8.*width=8"):
        common_width([7, 20], 8)
    with pytest.raises(SettingsError, match="width=12: must be a multiple of 8"):
        common_width([20, 20], 8, 12)


def rows(n: int = 500) -> torch.Tensor:
    torch.manual_seed(0)
    return torch.randn(n, 4) @ torch.diag(torch.tensor([5.0, 3, 2, 0.1])) @ torch.randn(4, 12) + 7


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("width", [0, 3])
def test_tokens_become_of_order_one(kind, width):
    x = rows()
    reduced = Reduction.fit(x, width, kind)(x)
    assert reduced.shape == (500, width or 12)
    assert reduced.square().mean().sqrt() == pytest.approx(1, abs=1e-4)


def test_principal_components_keep_the_variance():
    x = rows()
    reduced = Reduction.fit(x, 3, "pca")(x)
    kept = np.linalg.svd(x - x.mean(0), compute_uv=False)[:3] ** 2
    variance = reduced.var(0, correction=0).numpy()
    np.testing.assert_allclose(variance / variance.sum(), kept / kept.sum(), rtol=1e-3)
    assert abs(np.corrcoef(reduced.T.numpy()) - np.eye(3)).max() < 1e-3


def test_principal_axes_keep_the_mean():
    x = rows()
    u, size, axes = np.linalg.svd(x.double().numpy(), full_matrices=False)
    expected = u[:, :3] * size[:3] * np.sign(axes[np.arange(3), abs(axes[:3]).argmax(1)])
    found = Reduction.fit(x, 3)
    np.testing.assert_allclose(found(x), expected / np.sqrt((expected**2).mean()), rtol=1e-3, atol=1e-3)
    assert not found.offset.any()


def test_a_constant_channel_passes_the_axes_and_not_the_components():
    x = torch.cat([rows() - rows().mean(0), torch.full((500, 1), 20.0)], 1)
    axes, components = (Reduction.fit(x, 4, kind) for kind in ("svd", "pca"))
    torch.testing.assert_close(axes.matrix[-1].norm(), axes.matrix[:, 0].norm(), rtol=1e-4, atol=0)  # it lies in their span
    assert components.matrix[-1].norm() < 1e-6 * components.matrix[:, 0].norm()


def test_features_that_do_not_vary_stay_small():
    constant = torch.full((100, 12), 3.0) + 1e-9 * torch.randn(100, 12)
    for kind in KINDS:
        assert Reduction.fit(constant, 4, kind)(constant).abs().max() < 10
    assert Reduction.fit(torch.zeros(100, 12), 0)(torch.zeros(100, 12)).abs().max() == 0


def test_random_maps_follow_the_seed_and_may_widen():
    x = rows()
    a, b, c = (Reduction.fit(x, 32, "random", seed).matrix for seed in (0, 0, 1))
    assert torch.equal(a, b) and not torch.equal(a, c)
    with pytest.raises(SettingsError, match=r"width=32.*project='random'"):
        Reduction.fit(x, 32)
    with pytest.raises(TrainingError, match="5 training tokens are too few"):
        Reduction.fit(x[:5], 8)


def test_first_prototypes_are_means_of_clusters():
    torch.manual_seed(0)
    centres = torch.eye(4, 8) * torch.tensor([[1.0], [2], [3], [4]])
    tokens = (centres[:, None] + 0.05 * torch.randn(4, 50, 8)).flatten(0, 1)
    P = first_prototypes(tokens, 4)
    order = P.abs().argmax(1).argsort()
    torch.testing.assert_close(P[order], tokens.reshape(4, 50, 8).mean(1), atol=1e-5, rtol=1e-4)
    assert torch.equal(P, first_prototypes(tokens, 4)) and first_prototypes(tokens, 4, "random").shape == (4, 8)
    with pytest.raises(TrainingError, match="3 training tokens are fewer than 4 prototypes"):
        first_prototypes(tokens[:3], 4)
