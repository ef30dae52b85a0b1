"""A small sample with a known shape, the smallest backbones with random weights, a hostile text: for several rooms' tests."""

import numpy as np

from mmadlib.sample import Sample

HAND_MADE = {"rgb": "descriptors", "xyz": "descriptors"}  # features without a network: quick
TINY_VIT = "vit_tiny_patch16_224"  # 5.5 million parameters, same code as the large ones
TINY = {"rgb": TINY_VIT, "xyz": "point_mae", "rgb_weights": "random", "xyz_weights": "random",
        "rgb_blocks": 2, "xyz_blocks": 2, "groups": 64, "group_size": 16}
BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 10))  # YAML of ten thousand million values


def dome(size=96, seed=0, **fields) -> Sample:
    """A dome in the middle, 0.8 mm per pixel half a metre away, background removed."""
    rng = np.random.default_rng(seed)
    v, u = np.mgrid[:size, :size] - size / 2 + 0.5
    r2 = (u**2 + v**2) / (size / 3) ** 2
    xyz = np.stack([8e-4 * u, 8e-4 * v, 0.5 - 0.02 * np.sqrt(np.clip(1 - r2, 0, 1)) + rng.normal(0, 1e-5, u.shape)], -1)
    xyz[r2 >= 1] = 0
    rgb = rng.integers(60, 200, (size, size, 3), dtype=np.uint8)
    mask = (np.abs(u) < 6) & (np.abs(v) < 6)
    return Sample(rgb, xyz.astype(np.float32), mask=mask, **({"isolated": True, "label": 1, "defect": "dent"} | fields))


def on_a_table(size=96, seed=0, **fields) -> Sample:
    """The dome on a table that is still there."""
    sample = dome(size, seed)
    v, u = np.mgrid[:size, :size] - size / 2 + 0.5
    plane = np.stack([8e-4 * u, 8e-4 * v, np.full(u.shape, 0.5)], -1).astype(np.float32)
    xyz = np.where(sample.valid[..., None], sample.xyz, plane)
    return sample.with_(xyz=xyz, valid=None, **({"isolated": False, "dataset": "rendered"} | fields))
