import numpy as np
import pytest
from layouts import isolated, mvtec, picture, spot

from mmadlib.data import load
from mmadlib.errors import DataError, SettingsError


def test_the_files_tell_whether_the_background_is_gone(tmp_path):
    mvtec(tmp_path, "raw", size=(60, 90))
    mvtec(tmp_path, "done", cloud=isolated)
    raw, done = (load("folder", c, "train", root=tmp_path)[0] for c in ("raw", "done"))
    assert (raw.isolated, done.isolated) == (False, True)
    assert raw.size == (60, 90) and raw.dataset == "folder"


def test_the_user_may_say_so_instead(tmp_path):
    mvtec(tmp_path, "road")
    assert load("folder", "road", "train", root=tmp_path, isolated=True)[0].isolated
    with pytest.raises(SettingsError, match="did you mean 'isolated'"):
        load("folder", "road", "train", root=tmp_path, isolatd=True)


def test_nan_and_zero_both_mark_invalid_points(tmp_path):
    def cloud(size):
        xyz = isolated(size)
        xyz[:5][~xyz[:5].any(-1)] = np.nan
        return xyz

    mvtec(tmp_path, cloud=cloud)
    sample = load("folder", "bagel", "train", root=tmp_path)[0]
    assert np.isfinite(sample.xyz).all() and not sample.xyz[~sample.valid].any() and sample.isolated


@pytest.mark.parametrize("value", [1, 128, 253])
def test_masks_hold_0_and_255(tmp_path, value):
    picture(mvtec(tmp_path) / "test" / "crack" / "gt" / "000.png", spot(value=value))
    with pytest.raises(DataError, match=rf"undocumented values \({value}\); write 0 for normal and 255"):
        _ = load("folder", "bagel", "test", root=tmp_path)[3]
