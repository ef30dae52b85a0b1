"""Which modality speaks: the parts of a method beside their levels on good parts."""

import numpy as np
import pytest

from mmadlib.inspection.speaking import SAYS, levels_of, speaks
from mmadlib.methods import EVERY

PLACE = np.zeros((8, 8), bool)
PLACE[2:5, 2:5] = True
LEVELS = {"recon2d": 0.2, "recon3d": 0.1, "pred2d": 0.5, "pred3d": 0.5}


def maps(**values):
    return {name: np.where(PLACE, np.float32(values.get(name, 0.5)) * level, 0).astype(np.float32)
            for name, level in LEVELS.items()}


@pytest.mark.parametrize(("times", "word"), [({"recon2d": 3}, "colour"), ({"recon3d": 3}, "shape"),
                                             ({"recon2d": 3, "recon3d": 2}, "both"),
                                             ({"recon2d": 3, "recon3d": 1.2}, "colour"),
                                             ({"pred2d": 2}, "relation"), ({"pred3d": 2, "recon3d": 1.5}, "shape")])
def test_the_part_that_is_far_above_its_level_speaks(times, word):
    assert speaks("cpir", maps(**times), PLACE, LEVELS) == word


def test_methods_that_mix_both_cannot_tell():
    part = {"joint": np.ones((8, 8), np.float32)}
    assert speaks("nearest", part, PLACE, {"joint": 0.1}) == ""
    assert speaks("cfm", {"rgb": part["joint"], "xyz": part["joint"]}, PLACE, {"rgb": 0.1, "xyz": 0.1}) == ""


def test_every_method_has_an_entry():
    assert set(SAYS) == set(EVERY)


def test_a_level_is_what_good_parts_reach():
    values = np.arange(64, dtype=np.float32).reshape(8, 8)
    assert levels_of([{"a": values}, {"a": 3 * values}], [PLACE, PLACE]) == pytest.approx({"a": 2 * np.percentile(
        values[PLACE], 99)})
