import json
from dataclasses import fields
from inspect import signature

import numpy as np
import pytest
import tifffile
from layouts import isolated, mvtec, picture, spot
from stored_scans import CAMERA, dataset

from mmadlib.data import categories, folder, load
from mmadlib.data.contents import content_key
from mmadlib.data.reading import Reading
from mmadlib.errors import DataError, SettingsError, UnknownName
from mmadlib.prepare.grid import to_grid


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


def read_all(root, **options):
    return [list(load("folder", "part", split, root=root, **options)) for split in ("train", "test")]


def test_parts_without_a_mask_are_unlabelled_and_good_ones_are_good(tmp_path):
    dataset(tmp_path, {"ok": 2, "dent": 2, "unlabelled": 1, "monday": 1})
    test = read_all(tmp_path)[1]
    assert [(s.label, s.defect) for s in test] == [(0, "good")] * 2 + [(1, "dent")] * 2 + [(-1, "monday"), (-1, "unlabelled")]
    assert [int(s.mask.sum()) for s in test] == [0, 0, 45, 45, 0, 0]
    assert [e.label for e in load("folder", "part", "test", root=tmp_path).entries] == [0, 0, 1, 1, -1, -1]


@pytest.mark.parametrize("name", ["good", "Good", "ok", "OK", "normal", "Normal"])
def test_names_of_good_parts(tmp_path, name):
    base = dataset(tmp_path, {name: 1}) / "part"
    (base / "train" / "good").rename(base / "train" / name)
    assert categories("folder", tmp_path) == ["part"]
    assert [[(s.label, s.defect) for s in samples] for samples in read_all(tmp_path)] == [[(0, "good")] * 2, [(0, "good")]]


def test_two_folders_of_good_parts_are_not_guessed_between(tmp_path):
    dataset(tmp_path, {"good": 1, "ok": 1})
    with pytest.raises(DataError, match="has folders 'good' and 'ok'; join them or rename one"):
        load("folder", "part", "test", root=tmp_path)


def test_masks_of_some_parts_only(tmp_path):
    base = dataset(tmp_path, {"good": 1, "dent": 3}) / "part/test/dent"
    (base / "gt/001.png").unlink()
    with pytest.warns(UserWarning, match=r"dent: 1 of 3 parts have no mask and count as unlabelled, 001\.png first"):
        assert [s.label for s in load("folder", "part", "test", root=tmp_path)] == [0, 1, -1, 1]
    (base / "gt/001.png").write_bytes((base / "gt/000.png").read_bytes())
    (base / "rgb/002.png").unlink(), (base / "xyz/002.tiff").unlink()
    with pytest.raises(DataError, match=r"gt/002\.png has no matching rgb"):
        load("folder", "part", "test", root=tmp_path)


@pytest.mark.parametrize("place", ["part/test/dent/masks", "part/ground_truth/dent"])
def test_masks_under_another_name_are_not_overlooked(tmp_path, place):
    base = dataset(tmp_path, {"good": 1, "dent": 1}) / "part/test/dent"
    (tmp_path / place).parent.mkdir(exist_ok=True)
    (base / "gt").rename(tmp_path / place)
    with pytest.raises(DataError, match=r"(masks|ground_truth): may hold masks, which are looked for in gt/"):
        load("folder", "part", "test", root=tmp_path)


def test_a_root_with_only_good_parts(tmp_path):
    base = dataset(tmp_path, {}) / "part"
    for old, new in (("train/good", "train/good"), ("train/good", "train"), ("train", "good")):
        (base / new).mkdir(exist_ok=True)
        for name in ("rgb", "xyz"):
            (base / old / name).rename(base / new / name)
        if old != new:
            (base / old).rmdir()
        assert categories("folder", tmp_path) == ["part"]
        assert [s.label for s in load("folder", "part", "train", root=tmp_path)] == [0, 0]
        with pytest.raises(DataError, match="holds good parts only, nothing to test"):
            load("folder", "part", "test", root=tmp_path)


def test_capital_names(tmp_path):
    dataset(tmp_path, {"good": 1, "dent": 1}, named=str.capitalize)
    train, test = read_all(tmp_path)
    assert [s.label for s in train + test] == [0, 0, 0, 1] and test[1].defect == "Dent" and test[1].mask.any() is np.True_


def test_kinds_that_are_not_read_are_named(tmp_path):
    base = dataset(tmp_path, {}) / "part/train/good"
    (base / "rgb/Thumbs.db").write_bytes(b"")
    (base / "xyz/notes.txt").write_text("")
    assert len(load("folder", "part", "train", root=tmp_path)) == 2
    (base / "xyz/001.tiff").rename(base / "xyz/001.ply")
    with pytest.raises(DataError, match=r"001\.ply: is of a kind that is not read .*\.tiff, \.npy; python -m mmadlib convert"):
        load("folder", "part", "train", root=tmp_path)
    (base / "xyz/001.ply").rename(base / "xyz/001.tiff")
    (base / "rgb/001.png").rename(base / "rgb/001.heic")
    with pytest.raises(DataError, match=r"001\.heic: is of a kind that is not read .*\.png, .*\.webp; store"):
        load("folder", "part", "train", root=tmp_path)


def test_depth_in_place_of_clouds(tmp_path):
    base = dataset(tmp_path, {}) / "part/train/good"
    right = read_all_clouds(tmp_path)
    for path in list((base / "xyz").iterdir()):
        picture(path.with_suffix(".png"), np.round(tifffile.imread(path)[..., 2] * 1e4).astype(np.uint16))
        path.unlink()
    with pytest.raises(DataError, match=r"xyz/000\.png: is a depth picture, .*focal length .*intrinsics="):
        load("folder", "part", "train", root=tmp_path)
    (tmp_path / "camera.json").write_text(json.dumps(CAMERA))
    for name in ("xyz", "depth"):
        got = read_all_clouds(tmp_path, intrinsics="camera.json", depth_scale=1e-4)  # found beside the data
        assert np.abs(np.array(got) - right).max() < 1e-4
        (base / name).rename(base / "depth")
    entry = load("folder", "part", "train", root=tmp_path, intrinsics="camera.json", depth_scale=1e-4).entries[0]
    key = content_key(entry)
    (tmp_path / "camera.json").write_text(json.dumps(CAMERA | {"fx": 81.0}))
    assert content_key(entry) != key


def read_all_clouds(root, **options):
    return [s.xyz for s in load("folder", "part", "train", root=root, **options)]


def test_every_field_of_a_reading_is_an_option_and_part_of_the_content(tmp_path):
    dataset(tmp_path, {})
    names = [f.name for f in fields(Reading)]
    assert set(signature(folder.entries).parameters) == {"root", "category", "split", *names}
    changed = {"units": "m", "invalid": -1, "axes": "x,y,z", "depth_scale": 1.0, "orientation": "exif", "resample": True,
               "masks": "white", "mask_rule": "any", "isolated": True}
    assert {*changed, "intrinsics"} == set(names)
    keys = [content_key(load("folder", "part", "train", root=tmp_path, **options).entries[0])
            for options in ({}, *({name: value} for name, value in changed.items()))]
    assert len(set(keys)) == len(keys)


def test_small_defects_survive_on_request(tmp_path):
    base = mvtec(tmp_path, test={"good": 1, "crack": 1})
    mask = 0 * spot()
    mask[21, 31] = 255
    picture(base / "test/crack/gt/000.png", mask)
    found = {rule: to_grid(load("folder", "bagel", "test", root=tmp_path, mask_rule=rule)[1], 16)
             for rule in ("nearest", "any")}
    assert found["nearest"].vanished == 1 and not found["nearest"].mask.any()
    assert found["any"].vanished == 0 and found["any"].mask.sum() == 1
    with pytest.raises(UnknownName, match="did you mean 'any'"):
        load("folder", "bagel", "test", root=tmp_path, mask_rule="an")
