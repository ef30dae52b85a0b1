"""Image scores on one split: subsets that exist, AUROC against the same good parts, gaps with what they settle."""

from types import SimpleNamespace

import numpy as np
import pytest

from mmadlib.report import Split

TRUTHS = [SimpleNamespace(label=int(bool(shown)), modality=shown) for shown in ["", "", "xyz", "rgb", "rgb", ""]]
IMAGES = np.array([1.0, 2.0, 1.5, 3.0, 4.0, 0.0])


def test_a_subset_has_the_good_parts_and_the_defects_of_one_modality():
    split = Split(TRUTHS)
    assert list(split.subsets) == ["all", "rgb", "xyz"], "no defect shows in both: no such subset"
    assert split.subsets["rgb"].tolist() == [True, True, False, True, True, True]
    assert split.auroc(IMAGES) == {"all": pytest.approx(8 / 9), "rgb": 1.0, "xyz": pytest.approx(2 / 3)}


def test_gaps_are_of_the_first_row_to_each_other():
    split = Split(TRUTHS * 20)
    ours = np.tile(IMAGES, 20)
    table = split.compared({"ours": ours, "turned": -ours, "again": ours})
    assert table["all"].tolist() == [0.889, 0.111, 0.889] and table.loc["ours", "verdict"] == ""
    assert table.loc["turned", "verdict"] == "ahead" and table.loc["turned", "first row minus this"].startswith("+0.778 [+")
    assert table.loc["again"].tolist()[-2:] == ["+0.000 [+0.000, +0.000]", "open"]
    assert split.against(-ours, ours)["verdict"] == "behind"
