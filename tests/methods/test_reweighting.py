"""The image score of BTF and M3DM by hand, and its bounds."""

import numpy as np
import pytest
import torch

from mmadlib.methods.memory import Memory
from mmadlib.methods.reweighting import reweighted, weight

ROWS = torch.tensor([[0.0, 0], [1, 0], [0, 2], [9, 9]])


def scored(patches, rule="btf", rows=ROWS):
    memory = Memory(rows)
    distance, index = (x[:, 0] for x in memory.nearest(patches))
    return reweighted(patches, distance, index, memory, rule)


def test_by_hand():
    """f* = (0, -1), m* = row 0 at 1; its next two are rows 1 and 2, at sqrt(2) and 3 from f*."""
    patches, root = torch.tensor([[0.1, 0.0], [0.0, -1]]), np.sqrt(2)
    total = np.exp(root / root) + np.exp(3 / root)
    assert scored(patches) == pytest.approx(1 - np.exp(1 / root) / total, rel=1e-6)
    assert scored(patches, "none") == 1
    assert scored(patches, "m3dm_single") == pytest.approx(1 - np.exp(1 / root) / (total + 1e-5), rel=1e-9)
    thousandth = np.exp([root / root / 1000, 3 / root / 1000]).sum()
    assert scored(patches, "m3dm_double") == pytest.approx(1 - np.exp(1 / root / 1000) / thousandth, rel=1e-6)


@pytest.mark.parametrize("seed", range(5))
def test_weights_lie_between_a_half_and_one(seed):
    rng = np.random.default_rng(seed)
    rows, patches = (torch.from_numpy(rng.normal(size=(n, 6)) * 3).float() for n in (200, 40))
    s = scored(patches, "none", rows)
    assert 0.5 <= scored(patches, "btf", rows) / s < 1
    assert abs(scored(patches, "m3dm_double", rows) / s - 0.5) < 1e-3


def test_nothing_overflows_and_little_is_enough():
    assert weight(torch.tensor(1e6), torch.tensor([2e6, 3e6]), 4).item() == 1
    assert scored(torch.zeros(0, 2)) == 0 and scored(ROWS[:1]) == 0
    assert scored(torch.tensor([[3.0, 4]]), rows=ROWS[:1]) == 5 and scored(torch.tensor([[-3.0, -4]]), rows=ROWS[:2]) == 5
