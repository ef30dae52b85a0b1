"""Descriptors: shapes, exact invariances, signs, and what each modality must not see."""

from dataclasses import replace

import numpy as np
import pytest

from mmadlib.features.descriptors import GRID, RGB_CHANNELS, XYZ_CHANNELS, rgb_descriptors, token_mask, xyz_descriptors
from mmadlib.features.descriptors.mask import object_mask, token_cover
from mmadlib.features.descriptors.windows import window_sums, windows
from mmadlib.features.descriptors.xyz import FPFH_CHANNELS, object_frame
from mmadlib.prepare.grid import Grid


def disc(size=112, bumps=(), noise=0.0, tilt=22.0, colour=None, radius=0.3, seed=0):
    """A tilted round plate 20 cm wide seen from 40 cm, with bumps (row, column, height in m) of 6 mm width; frame shares."""
    rng = np.random.default_rng(seed)
    v, u = np.meshgrid(*[(np.arange(size) + 0.5) / size - 0.5] * 2, indexing="ij")
    depth = 0.4 + np.tan(np.deg2rad(tilt)) * v * 0.2 + rng.normal(0, 1, (size, size)) * noise
    for row, column, height in bumps:
        depth -= height * np.exp(-((v + 0.5 - row) ** 2 + (u + 0.5 - column) ** 2) / (2 * 0.03**2))
    # orthographic in x and y, so that a plane in space is a plane over the pixels
    xyz = np.stack([u * 0.2, v * 0.2, depth], -1).astype(np.float32)
    valid = u**2 + v**2 < radius**2
    xyz[~valid] = 0
    picture = rng.integers(0, 256, (size, size, 3), dtype=np.uint8)
    if colour is not None:
        picture[:] = colour
    return Grid(picture, xyz, valid, np.zeros((size, size), bool))


def at(values, row, column):
    return values.reshape(GRID, GRID, -1)[int(row * GRID), int(column * GRID)]


def channel(values, name):
    return values[..., XYZ_CHANNELS.index(name)]


@pytest.mark.parametrize("size", [56, 100, 224])
def test_shapes_dtypes_and_zeros_off_the_object(size):
    grid = disc(size, noise=1e-4)
    on = token_mask(grid)
    for values, names in ((rgb_descriptors(grid), RGB_CHANNELS), (xyz_descriptors(grid), XYZ_CHANNELS)):
        assert values.shape == (GRID**2, len(names)) and values.dtype == np.float32
        assert np.isfinite(values).all() and not values[~on].any() and values[on].any(axis=0).all()
    assert len(set(RGB_CHANNELS)) == 26 and len(set(XYZ_CHANNELS)) == 15
    assert abs(on.mean() - np.pi * 0.3**2) < 0.04


def test_same_input_same_bits():
    grid = disc(noise=1e-4)
    assert np.array_equal(rgb_descriptors(grid), rgb_descriptors(grid))
    assert np.array_equal(xyz_descriptors(grid), xyz_descriptors(grid))


def test_rgb_does_not_see_depth_and_xyz_does_not_see_the_picture():
    flat, dented = disc(seed=1), disc(seed=1, bumps=[(0.5, 0.5, -0.003)])
    assert np.array_equal(rgb_descriptors(flat), rgb_descriptors(dented))
    assert not np.allclose(xyz_descriptors(flat), xyz_descriptors(dented))
    black = replace(flat, rgb=np.zeros_like(flat.rgb))
    assert np.array_equal(xyz_descriptors(flat), xyz_descriptors(black))
    assert not np.allclose(rgb_descriptors(flat), rgb_descriptors(black))


def test_missing_returns_inside_do_not_change_rgb_descriptors_at_all():
    full = disc(224)
    missing = np.random.default_rng(0).random(full.valid.shape) < 0.05
    missing[100:106, 120:128] = True
    missing &= disc(224, radius=0.28).valid
    holes = replace(full, valid=full.valid & ~missing, xyz=full.xyz * ~missing[..., None])
    assert np.array_equal(token_mask(full), token_mask(holes))
    assert np.array_equal(rgb_descriptors(full), rgb_descriptors(holes))


def test_missing_returns_at_the_rim_hardly_change_the_mask():
    full = disc(224)
    missing = np.random.default_rng(0).random(full.valid.shape) < 0.05
    assert (object_mask(full.valid) != object_mask(full.valid & ~missing)).sum() < 0.01 * full.valid.sum()


def test_real_holes_stay_open():
    grid = disc(224)
    ring = grid.valid.copy()
    ring[100:124, 100:124] = False
    assert not object_mask(ring)[112, 112]


def test_background_does_not_bleed_in():
    grid = disc(noise=1e-4)
    other = grid.rgb.copy()
    other[~grid.valid] = 255
    moved = replace(grid, rgb=other)
    assert np.array_equal(rgb_descriptors(grid), rgb_descriptors(moved))


def test_a_constant_colour_has_no_spread_and_no_gradient():
    grid = disc(colour=(255, 0, 0))
    values = rgb_descriptors(grid)[token_mask(grid)]
    for i, name in enumerate(RGB_CHANNELS):
        expected = 0 if not name.startswith("mean") else {"L": 53.24, "a": 80.09, "b": 67.2}[name[5]]
        assert np.allclose(values[:, i], expected, atol=0.02 if expected else 1e-5), name


def test_an_edge_votes_for_its_own_direction():
    grid = disc(colour=(0, 0, 0))
    grid.rgb[:, 56:] = 255  # changes along a row: direction 0
    names = [f"gradient_{angle}_0" for angle in (0, 45, 90, 135)]
    fine = at(rgb_descriptors(grid), 0.5, 0.5)[[RGB_CHANNELS.index(n) for n in names]]
    assert fine[0] > 1 and np.allclose(fine[1:], 0, atol=1e-6)
    turned = replace(grid, rgb=np.ascontiguousarray(grid.rgb.transpose(1, 0, 2)))
    assert at(rgb_descriptors(turned), 0.5, 0.5)[RGB_CHANNELS.index("gradient_90_0")] == pytest.approx(fine[0], rel=1e-4)
    inverse = replace(grid, rgb=255 - grid.rgb)
    assert np.allclose(at(rgb_descriptors(inverse), 0.5, 0.5)[[RGB_CHANNELS.index(n) for n in names]], fine, atol=1e-4)


def test_bump_and_pit_have_opposite_signs():
    values = xyz_descriptors(disc(bumps=[(0.4, 0.4, 0.003), (0.6, 0.6, -0.003)]))
    bump, pit = at(values, 0.4, 0.4), at(values, 0.6, 0.6)
    for scale in range(3):
        for name in ("k1", "k2", "height"):
            assert channel(bump, f"{name}_{scale}") > 0.01 > -0.01 > channel(pit, f"{name}_{scale}"), (name, scale)
        assert channel(bump, f"rough_{scale}") > 0


def test_a_mirrored_grid_keeps_the_signs():
    grid = disc(bumps=[(0.5, 0.5, 0.003)])
    mirrored = replace(grid, xyz=np.ascontiguousarray(grid.xyz[:, ::-1]), valid=np.ascontiguousarray(grid.valid[:, ::-1]))
    flipped = xyz_descriptors(mirrored).reshape(GRID, GRID, -1)[:, ::-1]
    assert np.allclose(flipped, xyz_descriptors(grid).reshape(GRID, GRID, -1), atol=1e-4)


def test_a_tilted_plane_is_flat_up_to_its_rim():
    grid = disc(tilt=30.0)
    values = xyz_descriptors(grid)[token_mask(grid)]
    for name in XYZ_CHANNELS:
        assert np.abs(channel(values, name)).max() < 2e-4, name


def test_known_curvature_of_a_cylinder():
    grid = disc(tilt=0.0, radius=0.25)
    sag = 0.1 - np.sqrt(0.1**2 - grid.xyz[..., 0] ** 2)  # a cylinder of radius 10 cm, its ridge nearest
    grid.xyz[..., 2] = np.where(grid.valid, 0.4 + sag, 0)
    points = object_frame(grid.xyz, grid.valid)
    assert points[2][grid.valid].max() == pytest.approx(points[2, 56, 56], abs=1e-5)
    middle = at(xyz_descriptors(grid), 0.5, 0.5)
    radius = 0.02 * 100 * 0.2 / 112  # of the window, metres
    assert channel(middle, "k1_1") == pytest.approx(radius / 0.1, rel=0.05)
    assert channel(middle, "k2_1") == pytest.approx(0, abs=0.02 * radius / 0.1)


@pytest.mark.parametrize("move", [lambda x: x + np.float32([0.25, -0.5, 1]), lambda x: x * np.float32(8)])
def test_neither_origin_nor_unit_matters(move):
    grid = disc(bumps=[(0.4, 0.4, 0.003)], noise=2e-4)
    moved = replace(grid, xyz=np.where(grid.valid[..., None], move(grid.xyz), 0))
    assert np.allclose(xyz_descriptors(grid), xyz_descriptors(moved), atol=1e-3)


def test_scan_holes_are_bridged():
    grid = disc(bumps=[(0.4, 0.4, 0.003)])
    holey = grid.valid & ~(np.indices(grid.valid.shape).sum(0) % 7 == 0)
    holes = replace(grid, valid=holey, xyz=grid.xyz * holey[..., None])
    on = token_mask(grid) & token_mask(holes)
    difference = np.abs(xyz_descriptors(grid) - xyz_descriptors(holes))[on]
    assert on.sum() > 0.97 * token_mask(grid).sum() and difference.max() < 0.02


def test_a_far_pixel_does_not_matter():
    grid = disc(noise=1e-4)
    other = grid.rgb.copy()
    other[56, 85] = 255 - other[56, 85]
    changed = (rgb_descriptors(grid) != rgb_descriptors(replace(grid, rgb=other))).any(1).reshape(GRID, GRID)
    # the variances are taken about the object's mean colour, which moves in the last digit
    assert changed[28, 42] and np.allclose(at(rgb_descriptors(grid), 0.5, 0.3),
                                           at(rgb_descriptors(replace(grid, rgb=other)), 0.5, 0.3), atol=1e-4)


def test_empty_and_tiny_foregrounds_are_safe():
    nothing = np.zeros((112, 112), bool)
    speck = nothing.copy()
    speck[50:53, 50:53] = True
    strip = nothing.copy()
    strip[50:53, 20:90] = True
    for valid in (nothing, speck, strip):
        grid = disc()
        grid = replace(grid, valid=valid, xyz=grid.xyz * valid[..., None])
        for values in (rgb_descriptors(grid), xyz_descriptors(grid, fpfh=True)):
            assert np.isfinite(values).all() and not values[~token_mask(grid)].any()
    assert not token_mask(replace(disc(), valid=nothing)).any()


def test_a_frame_without_background_is_valid_up_to_its_border():
    grid = disc(radius=1.0)
    assert token_mask(grid).all() and object_mask(grid.valid).all()
    assert np.abs(xyz_descriptors(grid)).max() < 1e-3


def test_fpfh_is_an_option():
    grid = disc(bumps=[(0.4, 0.4, 0.004)], noise=1e-5)
    values = xyz_descriptors(grid, fpfh=True)
    assert values.shape == (GRID**2, 15 + len(FPFH_CHANNELS)) and len(FPFH_CHANNELS) == 33
    assert np.array_equal(values[:, :15], xyz_descriptors(grid))
    histogram = values[token_mask(grid), 15:]
    assert (histogram >= 0).all() and np.allclose(histogram.sum(1), 600, rtol=0.35)
    assert np.array_equal(values, xyz_descriptors(grid, fpfh=True))


def test_window_sums_are_gaussian_sums():
    image = np.random.default_rng(0).random((1, 56, 56))
    sums = window_sums(image, windows(56, 1.5)[0]).reshape(GRID, GRID)
    row, column = np.indices((56, 56))
    near = np.maximum(np.abs(row - 20), np.abs(column - 30)) <= 6
    weight = np.exp(-((row - 20) ** 2 + (column - 30) ** 2) / (2 * 1.5**2)) * near
    assert sums[20, 30] == pytest.approx((weight * image[0]).sum())


def test_cover_is_an_exact_area():
    mask = np.zeros((100, 100), bool)
    mask[:, :25] = True
    cover = token_cover(mask).reshape(GRID, GRID)
    assert np.allclose(cover[:, :14], 1) and np.allclose(cover[:, 14:], 0)
    assert cover.mean() == pytest.approx(0.25)
