"""Composed features equal the official dense maps; the foreground is the published mask."""


import numpy as np
import pytest
from recorded import RECORDED, assert_whole

from mmadlib.features.entry import decode, encode
from mmadlib.features.grouping import three_nearest
from mmadlib.features.tokens import Groups, Patches, Tokens, Truth, compose

GOLDEN = np.load(RECORDED / "interpolation.npz")


def official():
    """The recorded case as tokens: 48 centres on a cloud of 224 x 224, RGB tokens 28 x 28."""
    valid = (GOLDEN["in.xyz"] != 0).all(-1)
    cloud = GOLDEN["in.xyz"] * valid[..., None]
    index, weight = three_nearest(cloud[valid], GOLDEN["in.centers"])
    rgb = Patches(GOLDEN["in.rgb_tokens"].reshape(3, -1).T.copy())
    xyz = Groups(GOLDEN["in.tokens"].T.copy(), index, weight.astype(np.float32))
    truth = Truth(np.zeros((224, 224), bool))
    meta = {"rgb": "dino_vitb8", "xyz": "point_mae", "family": "paper", "standardise": []}
    return Tokens(rgb, xyz, cloud, valid, truth, meta)


def test_dense_maps_equal_the_official_ones():
    features = compose(official())
    xyz = features.xyz.dense().reshape(224 * 224, -1).numpy()
    assert_whole(xyz, GOLDEN["out.xyz_patch"], 1e-6)
    rgb = features.rgb.at(GOLDEN["rgb_rows"]).numpy()
    assert_whole(rgb, GOLDEN["out.rgb_patch_rows"], 1e-6)


def test_foreground_is_the_official_mask():
    zero = np.unpackbits(GOLDEN["out.mask_zero"], count=224 * 224).reshape(224, 224).astype(bool)
    features = compose(official())
    np.testing.assert_array_equal(features.foreground, ~zero)
    assert (features.xyz.dense()[~features.foreground] == 0).all()


def test_half_precision_keeps_a_thousandth():
    tokens = official()
    whole, stored = compose(tokens), compose(decode(encode(tokens, "a b"), "a b"))
    np.testing.assert_array_equal(whole.foreground, stored.foreground)
    np.testing.assert_array_equal(whole.cloud, stored.cloud)
    for side in ("rgb", "xyz"):
        a, b = getattr(whole, side).dense(), getattr(stored, side).dense()
        assert 0 < (a - b).abs().max() <= 1e-3 * a.abs().max()
        assert (a - b).norm() <= 1e-3 * a.norm()


def test_patches_reach_the_object_only_and_share_one_operator():
    rng = np.random.default_rng(0)
    on = np.zeros((56, 56), bool)
    on[10:40, 10:40] = True
    points = np.zeros((224, 224), bool)
    points[44:156, 44:156] = True
    cloud = np.where(points[..., None], [0.5] * 3, 0).astype(np.float32)
    sides = [Patches(rng.normal(size=(3136, c)).astype(np.float32), on.ravel()) for c in (4, 6)]
    features = compose(Tokens(*sides, cloud, points, Truth(points), {"family": "descriptors"}))
    assert features.rgb.interp is features.xyz.interp
    assert (features.rgb.channels, features.xyz.channels) == (4, 6)
    np.testing.assert_array_equal(features.foreground, points & features.rgb.support)
    assert "mask" not in features.meta and not hasattr(features, "truth")


@pytest.mark.parametrize("ours", [(0, 1), (1, 0)])
def test_sides_may_differ_in_kind(ours):
    tokens = official()
    on = np.ones(28 * 28, bool)
    on[:300] = False
    kinds = [Patches(np.ones((784, 2), np.float32), on), tokens.xyz]
    mixed = compose(Tokens(kinds[ours[0]], kinds[ours[1]], tokens.cloud, tokens.valid, tokens.truth, {"family": "mixed"}))
    np.testing.assert_array_equal(mixed.foreground & ~(mixed.rgb.support & mixed.xyz.support), False)
