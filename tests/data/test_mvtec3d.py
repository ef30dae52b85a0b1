import pytest
from layouts import isolated, mvtec, picture, spot

from mmadlib.data import categories, load
from mmadlib.errors import DataError


def test_all_splits(tmp_path):
    mvtec(tmp_path, "tire")
    assert categories("mvtec3d", tmp_path) == ["tire"]
    assert [len(load("mvtec3d", "tire", s, root=tmp_path)) for s in ("train", "validation", "test")] == [4, 2, 5]
    sample = load("mvtec3d", "tire", "test", root=tmp_path)[3]
    assert (sample.dataset, sample.category, sample.split, sample.defect) == ("mvtec3d", "tire", "test", "crack")
    assert not sample.isolated and sample.path.name == "000.png"


def test_mixed_defect_values_are_positive_and_good_masks_are_zero(tmp_path):
    mask = spot(value=255)
    mask[20:22], mask[22:24] = mask[20:22] // 255 * 253, mask[22:24] // 255 * 254
    picture(mvtec(tmp_path) / "test" / "crack" / "gt" / "000.png", mask)
    test = load("mvtec3d", "bagel", "test", root=tmp_path)
    assert [s.mask.sum() for s in test] == [0, 0, 0, 36, 36]


def test_values_below_the_documented_ones_are_refused(tmp_path):
    picture(mvtec(tmp_path) / "test" / "crack" / "gt" / "001.png", spot(value=249))
    with pytest.raises(DataError, match=r"undocumented values \(249\)"):
        _ = load("mvtec3d", "bagel", "test", root=tmp_path)[4]


def test_preprocessed_clouds_are_known_as_isolated(tmp_path):
    mvtec(tmp_path, cloud=isolated)
    assert load("mvtec3d", "bagel", "train", root=tmp_path)[0].isolated
