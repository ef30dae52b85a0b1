import numpy as np
import pytest
from layouts import eyecandies, mvtec, real_iad_d3, snapshot

from mmadlib import paths
from mmadlib.data import DATASETS, categories, draw, load
from mmadlib.errors import DataError, SettingsError, UnknownName


def test_a_few_shot_draw_is_recorded_in_the_entries(tmp_path):
    mvtec(tmp_path, train=9)
    drawn = load("mvtec3d", "bagel", "train", root=tmp_path, shots=4)
    assert [e.extra["index"] for e in drawn.entries] == draw(9, 4, rule="fixed")
    assert [int(e.rgb.stem) for e in drawn.entries] == draw(9, 4, rule="fixed")
    seeds = [load("mvtec3d", "bagel", "train", root=tmp_path, shots=5, seed=s) for s in (0, 1)]
    assert [[e.extra["index"] for e in s.entries] for s in seeds] == [draw(9, 5, 0), draw(9, 5, 1)]
    own = load("mvtec3d", "bagel", "train", root=tmp_path, shots=["007", "003.png"])
    assert [e.extra["index"] for e in own.entries] == [3, 7]
    first = load("mvtec3d", "bagel", "train", root=tmp_path, shots=3, rule="first")
    assert [e.extra["index"] for e in first.entries] == [0, 1, 2]


def test_samples_are_read_lazily(tmp_path):
    base = mvtec(tmp_path)
    samples = load("mvtec3d", "bagel", "train", root=tmp_path)
    (base / "train" / "good" / "xyz" / "002.tiff").unlink()
    assert len(samples[:2]) == 2 and samples[1].label == 0
    with pytest.raises(DataError, match=r"002\.tiff: does not exist"):
        _ = samples[2]


def test_faulty_questions(tmp_path):
    mvtec(tmp_path)
    for call, message in (
        (lambda: load("mvtec", "bagel", "train", root=tmp_path), "did you mean 'mvtec3d'"),
        (lambda: categories("eyecandy", tmp_path), "did you mean 'eyecandies'"),
        (lambda: load("mvtec3d", "bagel", "tran", root=tmp_path), "did you mean 'train'"),
        (lambda: load("mvtec3d", "bagel", "train", root=tmp_path, shot=2), "did you mean 'shots'"),
        (lambda: load("real_iad_d3", "bagel", "validation", root=tmp_path), "There are: test, train"),
    ):
        with pytest.raises(UnknownName, match=message):
            call()
    for call, message in (
        (lambda: load("mvtec3d", "bagel", "train"), "needs root="),
        (lambda: categories("folder"), "needs root="),
        (lambda: load("mvtec3d", "bagel", "train", root=tmp_path, shots=5), "only 4 training samples"),
        (lambda: load("mvtec3d", "bagel", "test", root=tmp_path, shots=2), "only the training split"),
        (lambda: load("mvtec3d", "bagel", "train", root=tmp_path, data_seed=1), "only rendered data"),
        (lambda: load("mvtec3d", "bagel", "train", root=tmp_path, seed="a"), "seed='a'"),
    ):
        with pytest.raises(SettingsError, match=message):
            call()


def test_the_rendered_plan_needs_no_root_and_no_rendering(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "DATA", tmp_path)
    assert "keyed" in categories("rendered")
    drawn = load("rendered", "keyed", "train", shots=4, data_seed=3, root=tmp_path)
    assert [e.extra["index"] for e in drawn.entries] == draw(60, 4)
    assert len(load("rendered", "keyed", "twins", root=tmp_path)) > 0
    assert not list(tmp_path.iterdir())


def test_every_dataset_has_a_reader():
    for name in DATASETS:
        with pytest.raises((DataError, SettingsError)):
            load(name, "no such category", "train", root="/no/such/folder")


def test_reading_changes_nothing_on_disk(tmp_path):
    mvtec(tmp_path / "mvtec3d")
    eyecandies(tmp_path / "eyecandies")
    real_iad_d3(tmp_path / "real_iad_d3")
    before = snapshot(tmp_path)
    for name in ("mvtec3d", "eyecandies", "real_iad_d3"):
        for category in categories(name, tmp_path / name):
            for split in ("train", "test"):
                for sample in load(name, category, split, root=tmp_path / name):
                    sample.xyz[:] = 7  # even a careless caller changes only its own copy
                    assert sample.rgb.dtype == np.uint8
    assert snapshot(tmp_path) == before
