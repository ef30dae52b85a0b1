"""Where the recorded outputs of the official code lie: small copies, see the test that reads each.

A large array is kept whole in one byte a number: value / (tolerance / 8), rounded, without its multiples of 256. So every
number is compared at the stated tolerance; a wrong one escapes by hitting a multiple of 32 tolerances, a wrong array never.
"""

from pathlib import Path

import numpy as np

RECORDED = Path(__file__).parent / "data" / "golden"
PARTS = 8  # of the tolerance: the unit of a code


def encode(values, tolerance: float) -> np.ndarray:
    """The codes of an array, uint8."""
    return np.round(np.asarray(values, np.float64) * (PARTS / tolerance)).astype(np.int64).astype(np.uint8)


def assert_whole(found, codes: np.ndarray, tolerance: float) -> None:
    """Every number lies within `tolerance` of the recorded one."""
    found = np.asarray(found, np.float64)
    assert found.shape == codes.shape, f"{found.shape} instead of {codes.shape}"
    assert np.isfinite(found).all()
    off = (found * (PARTS / tolerance) - codes + 128) % 256 - 128
    wrong = np.abs(off) > PARTS - 0.5  # rounding has moved the code by up to a half
    assert not wrong.any(), (f"{wrong.sum()} of {wrong.size} are off by more than {tolerance:g}, the first at "
                             f"{np.argwhere(wrong)[0].tolist()}: {found[wrong][0]:g}")
