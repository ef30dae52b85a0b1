"""The comparison with recorded arrays sees what it must."""

import numpy as np
import pytest
from recorded import assert_whole, encode

VALUES = np.random.default_rng(0).normal(size=(40, 50)) * 3


def test_arrays_within_the_tolerance_pass():
    codes = encode(VALUES, 1e-5)
    assert codes.dtype == np.uint8 and codes.nbytes == VALUES.size
    for shift in (0, 8.5e-6, -8.5e-6):
        assert_whole(VALUES + shift, codes, 1e-5)


@pytest.mark.parametrize("shift", [1.01e-5, -1.01e-5, 2e-5, 1e-4, 2.9e-4, 3.1e-4])
def test_one_number_off_by_more_is_found(shift):
    other = VALUES.copy()
    other[7, 11] += shift
    with pytest.raises(AssertionError, match=r"1 of 2000 are off by more than 1e-05, the first at \[7, 11\]"):
        assert_whole(other, encode(VALUES, 1e-5), 1e-5)


@pytest.mark.parametrize("other", [VALUES * 1.001, VALUES + 0.1, -VALUES, 0 * VALUES, VALUES[::-1], VALUES.T, VALUES[:9],
                                   np.where(VALUES > 5, np.nan, VALUES)])
def test_another_array_is_found(other):
    with pytest.raises(AssertionError):
        assert_whole(other, encode(VALUES, 1e-5), 1e-5)
