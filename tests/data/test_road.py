import json
import os
import shutil
import warnings

import numpy as np
import pytest
import tifffile
from layouts import picture, snapshot, stereo_pothole

from mmadlib.__main__ import main
from mmadlib.data import categories, load
from mmadlib.data.convert import road
from mmadlib.data.convert.road_tiles import Rules, cloud, height_score, read_label, tile_corners
from mmadlib.errors import DataError, SettingsError


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return stereo_pothole(tmp_path_factory.mktemp("source"))


@pytest.fixture(scope="module")
def converted(source, tmp_path_factory):
    dst = tmp_path_factory.mktemp("road") / "tiles"
    return dst, road.convert(source, dst, progress=False)


def test_counts_and_layout(converted):
    dst, counts = converted
    assert counts == {"test/good": 15, "test/pothole": 3, "train/good": 10}  # 6 tiles a frame, the hole lies in one
    assert categories("road", dst) == ["road"]
    train, test = (load("road", "road", split, root=dst) for split in ("train", "test"))
    assert len(train) == 10 and len(test) == 18
    sample = test.where(defect="pothole")[0]
    assert sample.isolated and sample.modality == "both" and sample.size == (168, 168) and sample.label == 1
    assert sample.mask.mean() == pytest.approx(68 * 72 / 168**2, rel=0.05)
    assert all(not s.mask.any() for s in test.where(defect="good"))
    manifest = json.loads((dst / "manifest.json").read_text())
    assert manifest["tiles"] == counts and manifest["rules"]["tile"] == 168
    assert "PSEUDO-METRIC" in (dst / "README.md").read_text() and (dst / "LICENSE").read_text() == "MIT License\n"


def test_no_frame_is_on_both_sides(converted):
    train, test = (load("road", "road", split, root=converted[0]).entries for split in ("train", "test"))
    assert {e.extra["frame"] for e in train} == {"dataset1/01", "dataset2/20"}
    assert {e.extra["frame"] for e in test} == {"dataset1/12", "dataset2/21", "dataset3/01"}


def test_the_authors_subset_leaves_frames_out(converted):
    test = load("road", "road", "test", root=converted[0], subset="authors")
    assert {e.extra["frame"] for e in test.entries} == {"dataset1/12", "dataset3/01"}
    with pytest.raises(SettingsError, match="did you mean 'authors'"):
        load("road", "road", "test", root=converted[0], subset="author")


def test_geometry_of_a_tile(converted):
    sample = load("road", "road", "test", root=converted[0]).where(defect="pothole")[0]
    z = sample.xyz[..., 2]
    assert sample.valid.all()
    assert np.median(z[~sample.mask]) == pytest.approx(1, abs=1e-3)
    assert np.median(z[sample.mask]) > 1.01  # lower disparity is farther away
    assert np.allclose(np.diff(sample.xyz[3, :, 0]), 1e-3, atol=1e-6) and sample.xyz[0, 0, 1] == pytest.approx(1e-3)


def test_zero_disparity_is_invalid_and_normal_points_have_no_zero():
    score, valid = np.zeros((5, 6)), np.ones((5, 6), bool)
    valid[2, 3] = False
    xyz = cloud(score, valid, Rules())
    assert ((xyz != 0).all(-1) == valid).all() and not xyz[2, 3].any()


def test_height_does_not_change_with_gain_and_offset():
    disparity = np.random.default_rng(0).integers(1000, 9000, (40, 50)).astype(np.float64)
    disparity[3, 4] = 0
    score = height_score(disparity)
    changed = np.where(disparity > 0, 3 * disparity + 500, 0)
    assert np.allclose(height_score(changed), score) and score[3, 4] == 0
    assert np.abs(height_score(np.r_[disparity.ravel(), 1e6])).max() == 12
    assert (height_score(np.zeros((2, 2))) == 0).all() and (height_score(np.full((2, 2), 7)) == 0).all()


@pytest.mark.parametrize("values", [(0, 153), (0, 255)])
def test_both_label_colours_are_positive(tmp_path, values):
    gray = np.full((4, 4), values[0], np.uint8)
    gray[1, 2] = values[1]
    for pixels in (gray, np.dstack([gray, 0 * gray, 0 * gray])):
        assert read_label(picture(tmp_path / "l.png", pixels)).sum() == 1


def test_strange_labels(tmp_path):
    for pixels in (np.full((4, 4), 46, np.uint8), np.full((4, 4, 3), 153, np.uint8)):
        with pytest.raises(DataError, match="other values"):
            read_label(picture(tmp_path / "l.png", pixels))


def test_tiles_do_not_overlap_and_fill_the_frame():
    corners = tile_corners(342, 576, 168)
    assert corners == [(t, c) for t in (3, 171) for c in (36, 204, 372)]


def test_frames_of_full_size_give_the_same_tiles(tmp_path):
    stereo_pothole(tmp_path / "big", {"dataset1": (1, 12)}, size=(1028, 1730), colour=False)
    counts = road.convert(tmp_path / "big", tmp_path / "out", progress=False)
    assert counts == {"test/good": 5, "test/pothole": 1, "train/good": 5}


def test_a_second_run_changes_nothing_and_other_content_is_kept(source, converted, tmp_path):
    before = snapshot(converted[0])
    assert road.convert(source, converted[0]) == converted[1]
    assert snapshot(converted[0]) == before
    (tmp_path / "mine.txt").write_text("keep me")
    with pytest.raises(DataError, match="holds something else"):
        road.convert(source, tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["mine.txt"]
    with pytest.raises(DataError, match="holds something else"):
        road.convert(source, converted[0], Rules(tile=112))


def test_the_source_is_checked_and_never_written(source, tmp_path):
    before = snapshot(source)
    with pytest.raises(DataError, match="lies inside the source"):
        road.convert(source, source / "out")
    with pytest.raises(DataError, match=r"is not the stereo_pothole set: no dataset1/rgb; looked for .* there are: other"):
        (tmp_path / "x" / "other").mkdir(parents=True)
        road.convert(tmp_path / "x", tmp_path / "out")
    with pytest.raises(DataError, match="no such folder"):
        road.convert(tmp_path / "nowhere", tmp_path / "out")
    assert snapshot(source) == before and not (tmp_path / "out").exists()


@pytest.mark.parametrize(("change", "message"), [
    (lambda src: (src / "dataset1/disp_tg/01.png").unlink(), r"rgb|label.*no matching disp_tg"),
    (lambda src: picture(src / "dataset1/rgb/12.png", np.zeros((20, 30, 3), np.uint8)), "differ in size"),
    (lambda src: (src / "dataset1/rgb/01.png").rename(src / "dataset1/rgb/one.png"), "no matching"),
    (lambda src: [p.rename(p.with_name("one.png")) for p in list(src.glob("dataset1/*/12.png"))], "frame named 'one'"),
    (lambda src: [p.unlink() for p in src.glob("dataset1/*/01.png")], "no normal training tile"),
    (lambda src: (src / "dataset1/label/12.png").write_bytes(b"\x89PNG"), "truncated"),
])
def test_nothing_is_left_when_a_frame_is_faulty(tmp_path, change, message):
    src = stereo_pothole(tmp_path / "src", {"dataset1": (1, 12)})
    change(src)
    with pytest.raises(DataError, match=message):
        road.convert(src, tmp_path / "out", progress=False)
    assert [p.name for p in tmp_path.iterdir()] == ["src"]


def test_a_full_disk_leaves_nothing_behind(tmp_path, monkeypatch):
    src = stereo_pothole(tmp_path / "src", {"dataset1": (1,)})

    def full(*args, **kwargs):
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(road.tifffile, "imwrite", full)
    with pytest.raises(DataError, match=r"cannot be written .No space left"):
        road.convert(src, tmp_path / "out", progress=False)
    assert [p.name for p in tmp_path.iterdir()] == ["src"]


def test_the_commit_is_found_in_a_clone_or_a_note(tmp_path):
    assert road._commit(tmp_path) == "unknown"
    (tmp_path / "SOURCE.txt").write_text(f"somewhere at {'b' * 40}; MIT")
    assert road._commit(tmp_path) == "b" * 40
    (tmp_path / ".git" / "refs").mkdir(parents=True)
    (tmp_path / ".git" / "HEAD").write_text("ref: refs/main\n")
    assert road._commit(tmp_path) == "unknown"
    (tmp_path / ".git" / "refs" / "main").write_text("a" * 40 + "\n")
    assert road._commit(tmp_path) == "a" * 40


def test_command_line(tmp_path, capsys):
    src = stereo_pothole(tmp_path / "src", {"dataset1": (1, 12)})
    assert main(["convert", "road", str(src), str(tmp_path / "out")]) == 0
    assert "train/good 5" in capsys.readouterr().out
    assert main(["convert", "road", str(tmp_path / "out"), str(tmp_path / "out2")]) == 2
    assert "is not the stereo_pothole set" in capsys.readouterr().err


def test_reading_before_converting_says_how(tmp_path):
    with pytest.raises(DataError, match="mmadlib convert road CLONE data/road"):
        load("road", "road", "test", root=tmp_path / "none")


def test_a_faulty_table_of_tiles(converted, tmp_path):
    shutil.copytree(converted[0], tmp_path / "copy")
    table = tmp_path / "copy" / "road" / "tiles.csv"
    for content, message in (("split,defect\n", "the columns split and defect and number"), (None, "is missing")):
        table.unlink() if content is None else table.write_text(content)
        with pytest.raises(DataError, match=rf"tiles\.csv: .*{message}"):
            load("road", "road", "test", root=tmp_path / "copy")


def test_clouds_are_written_without_a_warning(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        road._write(tmp_path, "0", np.zeros((4, 5, 3), np.uint8), np.ones((4, 5, 3), np.float32), None)
    assert tifffile.imread(tmp_path / "xyz" / "0.tiff").shape == (4, 5, 3)
