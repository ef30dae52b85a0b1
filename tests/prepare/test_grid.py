"""Loading against recorded outputs of the official loaders (tests/data/golden/loader.npz)."""

import hashlib

import numpy as np
import pytest
import torch
from recorded import RECORDED
from scipy.ndimage import label

from mmadlib.errors import SettingsError, UnknownName
from mmadlib.prepare.grid import Grid, covering, nearest_rows, rgb_tensor, square_margins, to_grid
from mmadlib.sample import Sample

GOLDEN = np.load(RECORDED / "loader.npz")
OFFICIAL = [("cfm", "edge"), ("m3dm", "none")]


def picture_sample() -> Sample:
    rgb = GOLDEN["in.rgb"]
    return Sample(rgb=rgb, xyz=np.zeros(rgb.shape, np.float32), mask=GOLDEN["in.gt"] > 127)


def unpack(name: str) -> np.ndarray:
    return np.unpackbits(GOLDEN[name])[: 224 * 224].reshape(224, 224).astype(bool)


@pytest.mark.parametrize(("code", "pad"), OFFICIAL)
def test_picture_and_mask_equal_the_official_loader(code, pad):
    grid = to_grid(picture_sample(), pad=pad)
    picture = grid.rgb.transpose(2, 0, 1)
    assert np.array_equal(picture[:, ::9, ::9], GOLDEN[f"{code}.rgb_u8"])
    assert hashlib.sha256(picture.tobytes()).digest() == GOLDEN[f"{code}.rgb_sha256"].tobytes(), "the whole picture"
    assert np.array_equal(grid.mask, unpack(f"{code}.gt"))
    tensor = rgb_tensor(grid.rgb)
    assert tensor.shape == (3, 224, 224) and tensor.dtype == torch.float32
    assert np.array_equal(tensor[:, 112, 100:108].numpy(), GOLDEN[f"{code}.rgb_first_pixels"])


@pytest.mark.parametrize(("code", "pad"), OFFICIAL)
def test_cloud_equals_the_official_loader(code, pad):
    xyz = GOLDEN["in.xyz"]
    grid = to_grid(Sample(rgb=np.zeros(xyz.shape, np.uint8), xyz=xyz), pad=pad)
    assert np.array_equal(grid.valid, unpack(f"{code}.xyz_valid"))
    assert np.array_equal(grid.xyz.sum((0, 1), dtype=np.float64), GOLDEN[f"{code}.xyz_sum"])
    assert np.array_equal(grid.xyz[77].T, GOLDEN[f"{code}.xyz_rows"][:, 1])
    assert grid.xyz.dtype == np.float32 and grid.size == 224


def test_zero_padding_is_black_and_leaves_the_given_sample_alone():
    sample = picture_sample()
    sample.mask[0] = True  # a defect at the border grows into an edge margin, not into a black one
    before = [a.copy() for a in (sample.rgb, sample.xyz, sample.valid, sample.mask)]
    grid = to_grid(sample, size=84, pad="zero")
    assert not grid.rgb[:12].any() and not grid.mask[:12].any() and not grid.valid[:12].any()
    assert grid.mask[12].all()
    assert to_grid(sample, size=84, pad="edge").mask[:12].all()
    for old, new in zip(before, (sample.rgb, sample.xyz, sample.valid, sample.mask), strict=True):
        assert np.array_equal(old, new)


def test_a_square_sample_of_the_target_size_comes_back_unchanged():
    rng = np.random.default_rng(0)
    xyz = rng.normal(size=(32, 32, 3)).astype(np.float32)
    xyz[3, 4] = 0
    sample = Sample(rgb=rng.integers(0, 256, (32, 32, 3), dtype=np.uint8), xyz=xyz, mask=rng.random((32, 32)) > 0.8, label=1)
    grid = to_grid(sample, size=32)
    assert isinstance(grid, Grid)
    for name in ("rgb", "xyz", "valid", "mask"):
        assert np.array_equal(getattr(grid, name), getattr(sample, name))


def test_margins_are_centred_and_the_odd_pixel_trails():
    assert square_margins(5, 8) == ((1, 2), (0, 0))
    assert square_margins(3, 4, side=10) == ((3, 4), (3, 3))


def test_nearest_rows_round_down():
    assert nearest_rows(100, 224).tolist() == [i * 100 // 224 for i in range(224)]
    assert nearest_rows(4, 2).tolist() == [0, 2]


def test_errors_name_the_options():
    with pytest.raises(UnknownName, match="did you mean 'edge'"):
        to_grid(picture_sample(), pad="edges")
    with pytest.raises(SettingsError, match="size=0"):
        to_grid(picture_sample(), size=0)


def masked(*spots, size=(90, 120), **extra):
    """A sample whose mask has these squares: (row, column, side)."""
    mask = np.zeros(size, bool)
    for v, u, side in spots:
        mask[v:v + side, u:u + side] = True
    rgb, xyz = np.zeros((*size, 3), np.uint8), np.ones((*size, 3), np.float32)
    return Sample(rgb, xyz, mask=mask, label=1, defect="hole", extra=extra)


def test_defects_that_fall_between_the_pixels_are_counted_and_kept_when_asked():
    spots = [(10, 7, 1), (40, 61, 2), (60, 8, 12), (80, 100, 1), (81, 101, 1)]  # the last two touch by a corner
    grid = to_grid(masked(*spots), size=28)
    assert grid.vanished == 3 and label(grid.mask)[1] == 1
    kept = to_grid(masked(*spots, mask_rule="any"), size=28)
    assert kept.vanished == 0 and label(kept.mask, np.ones((3, 3)))[1] == 4 and (kept.mask | ~grid.mask).all()
    alone = to_grid(masked((10, 7, 1), mask_rule="any"), size=28)
    assert np.argwhere(alone.mask).tolist() == [[int((10 + 15.5) * 28 / 120), int(7.5 * 28 / 120)]], "where its centre lies"
    assert to_grid(masked(*spots), size=120).vanished == to_grid(masked(), size=28).vanished == 0
    with pytest.raises(UnknownName, match="did you mean 'any'"):
        to_grid(masked(mask_rule="an"))


@pytest.mark.parametrize("size", [7, 30, 63, 64, 65, 200])
def test_no_single_pixel_is_lost_by_the_any_pixel_rule(size):
    for axis in (0, 1):
        line = np.arange(64) if axis else np.arange(64)[:, None]
        for i in (0, 1, 31, 62, 63):
            reduced = covering(np.broadcast_to(line == i, (64, 64)), size)
            hit = np.flatnonzero(reduced.any(1 - axis))
            assert reduced.shape == (size, size) and hit.size >= 1 and (hit.size == 1 or size > 64)
            assert abs((hit.mean() + 0.5) * 64 / size - i - 0.5) <= max(64 / size, 1) / 2
