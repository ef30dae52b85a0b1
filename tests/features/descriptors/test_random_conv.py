"""Random convolutions: frozen, seeded, blind where they must be."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from mmadlib.features.descriptors import GRID, token_mask
from mmadlib.features.descriptors.random_conv import CHANNELS, network, random_rgb, random_xyz
from mmadlib.prepare.grid import Grid


def plate(size=112, dent=0.0, share=0.6):
    rng = np.random.default_rng(0)
    v, u = np.meshgrid(*[(np.arange(size) + 0.5) / size - 0.5] * 2, indexing="ij")
    depth = 0.5 + 0.05 * v + dent * np.exp(-(u**2 + v**2) / 0.002)
    valid = (np.abs(u) < share / 2) & (np.abs(v) < share / 2)
    xyz = np.where(valid[..., None], np.stack([u * 0.2, v * 0.2, depth], -1), 0).astype(np.float32)
    return Grid(rng.integers(0, 256, (size, size, 3), dtype=np.uint8), xyz, valid, np.zeros((size, size), bool))


@pytest.mark.parametrize("random", [random_rgb, random_xyz])
@pytest.mark.parametrize("size", [60, 224])
def test_shape_mask_and_seed(random, size):
    grid = plate(size, dent=0.005)
    values = random(grid)
    assert values.shape == (GRID**2, CHANNELS) and values.dtype == np.float32 and np.isfinite(values).all()
    assert not values[~token_mask(grid)].any() and values[token_mask(grid)].std() > 0.01
    assert np.array_equal(values, random(grid, seed=0)) and not np.allclose(values, random(grid, seed=1))


def test_each_sees_its_own_modality_only():
    flat, dented = plate(), plate(dent=0.005)
    assert np.array_equal(random_rgb(flat), random_rgb(dented)) and not np.allclose(random_xyz(flat), random_xyz(dented))
    black = replace(flat, rgb=flat.rgb * 0)
    assert np.array_equal(random_xyz(flat), random_xyz(black)) and not np.allclose(random_rgb(flat), random_rgb(black))


def test_background_does_not_enter():
    grid = plate()
    white = replace(grid, rgb=np.where(grid.valid[..., None], grid.rgb, 255).astype(np.uint8))
    assert np.array_equal(random_rgb(grid), random_rgb(white))


def test_unit_and_origin_do_not_matter():
    grid = plate(dent=0.005)
    moved = replace(grid, xyz=np.where(grid.valid[..., None], grid.xyz * 4 + np.float32([1, 0, 2]), 0).astype(np.float32))
    assert np.allclose(random_xyz(grid), random_xyz(moved), atol=2e-3)


def test_nothing_valid_is_zero():
    grid = plate(share=0.0)
    assert not random_rgb(grid).any() and not random_xyz(grid).any()


def test_the_network_is_frozen_and_leaves_the_random_state_alone():
    network.cache_clear()
    state = torch.random.get_rng_state()
    assert not any(p.requires_grad for p in network(7).parameters())
    assert torch.equal(state, torch.random.get_rng_state())
