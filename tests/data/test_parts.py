"""A folder of parts of which nothing is known yet."""

import numpy as np
import pytest
from stored_scans import SIZE, colours, part, scan

from mmadlib.data.parts import parts
from mmadlib.errors import DataError, SettingsError, UnknownName


def test_parts_are_unlabelled_and_read_lazily(tmp_path):
    for name in ("b2", "a10", "3"):
        part(tmp_path / "new", name)
    found = parts(tmp_path / "new")
    assert [e.rgb.stem for e in found.entries] == ["3", "a10", "b2"]
    assert {(s.label, s.defect, s.category, s.dataset, s.size) for s in found} == {(-1, "unlabelled", "new", "folder", SIZE)}
    assert (found[0].rgb == colours()).all() and (found[0].xyz == scan()).all() and not found[0].mask.any()
    (tmp_path / "new/xyz/3.tiff").unlink()
    with pytest.raises(DataError, match=r"3\.tiff: does not exist"):
        _ = found[0]
    assert found[1].valid.any()


def test_how_they_are_read_is_said_by_keywords(tmp_path):
    part(tmp_path, xyz=scan() * 1000)
    with pytest.raises(DataError, match='give units="mm"'):
        _ = parts(tmp_path)[0]
    assert np.allclose(parts(tmp_path, units="mm")[0].xyz, scan(), atol=1e-6)
    with pytest.raises(UnknownName, match="did you mean 'units'"):
        parts(tmp_path, unit="mm")
    with pytest.raises(SettingsError, match="axes='up'"):
        parts(tmp_path, axes="up")


def test_another_folder_says_which_to_give(tmp_path):
    part(tmp_path / "good")
    with pytest.raises(DataError, match=r"has no folders rgb and xyz .*; give one of its folders, such as .*good"):
        parts(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="there are: none; put the pictures into rgb/"):
        parts(tmp_path / "empty")
    with pytest.raises(DataError, match="is not a folder"):
        parts(tmp_path / "nowhere")
    (tmp_path / "good/rgb/000.png").unlink()
    with pytest.raises(DataError, match=r"xyz/000\.tiff has no matching rgb"):
        parts(tmp_path / "good")
