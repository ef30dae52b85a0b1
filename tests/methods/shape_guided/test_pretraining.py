"""Noisy copies: how far they lie from their points, and to which they are drawn back."""

import numpy as np
import pytest
import torch
from synthetic import shared_latent

from mmadlib.errors import TrainingError
from mmadlib.methods.shape_guided import ShapeGuided
from mmadlib.methods.shape_guided.pretraining import noisy


def test_copies_scatter_by_the_distance_to_the_tenth_part_of_the_points_and_most_by_half_of_it():
    """On a circle of 500 points the 51st, a point itself the first, is 25 steps away."""
    torch.manual_seed(0)
    angle = torch.arange(500) * 2 * torch.pi / 500
    circle = torch.stack([angle.cos(), angle.sin(), 0 * angle], -1)
    queries, surface = noisy(circle.expand(20, -1, -1), 500)
    sigma = 2 * np.sin(25 * np.pi / 500)
    assert queries[..., 2].square().mean() == pytest.approx(sigma**2 * (0.65 / 4 + 0.35), rel=0.05)
    assert queries[..., 2].pow(4).mean() == pytest.approx(3 * sigma**4 * (0.65 / 16 + 0.35), rel=0.1), "a mixture of two"
    apart = torch.cdist(queries, circle.expand(20, -1, -1)).min(-1).values
    torch.testing.assert_close((queries - surface).norm(dim=-1), apart, atol=1e-3, rtol=0)


@pytest.mark.parametrize(("q", "expected"), [(1, 1), (7, 7), (30, 30), (99, 30)])
def test_never_more_copies_than_points(q, expected):
    queries, surface = noisy(torch.rand(2, 30, 3), q)
    assert queries.shape == surface.shape == (2, expected, 3)


def model(**settings) -> ShapeGuided:
    return ShapeGuided(**{"grid": 0, "points": 16, "width": 8, "code": 6, "layers": 1, "steps": 3, "batch": 4} | settings)


def test_a_pass_sees_every_patch_once_in_whole_batches():
    made = model(batch=5)
    made.surfaces = torch.arange(23.0)[:, None, None].expand(-1, 16, 3)
    assert made.batches == 4 and made.n_steps(3, 99) == 12 and made.n_steps(0, 99) == 99
    made.surfaces = made.surfaces[:3]
    assert made.batches == 1, "fewer than a batch: repeated"


def test_without_a_cloud_there_is_nothing_to_learn():
    flat = [type(f)(f.rgb, f.xyz, f.foreground, np.zeros_like(f.cloud), f.meta) for f in shared_latent(2)]
    with pytest.raises(TrainingError, match=r"shape_guided: no training sample has 3D points on its foreground.*; give"):
        model().fit(flat, progress=False)
