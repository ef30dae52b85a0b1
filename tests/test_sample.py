"""Sample: fills in what follows from the arrays, refuses what readers could not mean."""

import numpy as np
import pytest

from mmadlib.errors import DataError
from mmadlib.sample import Sample

RGB, XYZ = np.zeros((4, 6, 3), np.uint8), np.ones((4, 6, 3), np.float32)


def test_what_follows_from_the_arrays():
    xyz = XYZ.copy()
    xyz[1, 2, 1] = 0
    sample = Sample(RGB, xyz)
    assert sample.size == (4, 6) and sample.modality == "none" and not sample.mask.any()
    assert sample.valid.sum() == 23 and not sample.valid[1, 2]
    assert Sample(RGB, XYZ, label=1).modality == "unknown"
    assert sample.with_(label=1).label == 1 and sample.label == 0


@pytest.mark.parametrize(("given", "match"), [
    ({"rgb": RGB.astype(float)}, "rgb must be uint8"), ({"rgb": RGB[..., 0]}, "rgb must be uint8"),
    ({"xyz": XYZ[..., :2]}, "three channels"), ({"xyz": XYZ.astype(np.float64)}, "float32 metres"),
    ({"xyz": XYZ[:2]}, "sizes differ"), ({"mask": np.zeros((4, 6))}, "mask must be bool"),
    ({"valid": np.ones((2, 2), bool)}, "valid must be bool"), ({"modality": "smell"}, "modality 'smell'")])
def test_arrays_that_do_not_fit_are_refused(given, match):
    with pytest.raises(DataError, match=match):
        Sample(**{"rgb": RGB, "xyz": XYZ} | given)


@pytest.mark.parametrize("mark", [np.nan, np.inf, -np.inf])
def test_marks_of_invalid_points_other_than_zero_are_refused(mark, tmp_path):
    xyz = XYZ.copy()
    xyz[0, 0, 2] = mark
    with pytest.raises(DataError, match=r"sample .*003\.png: xyz holds NaN or infinite values; .*\(0, 0, 0\)"):
        Sample(RGB, xyz, path=tmp_path / "003.png")
