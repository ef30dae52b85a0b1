"""A number belongs to its data: whatever decides it and changes makes the run unfinished, and the sweep says what it was."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace

import numpy as np
import pytest
import yaml
from layouts import isolated, mvtec, picture, rgb, tiff
from safetensors.torch import save_file
from samples import TINY_VIT

from mmadlib.__main__ import main
from mmadlib.data import loading
from mmadlib.errors import DataError, SettingsError, WeightsError
from mmadlib.experiments import causes, standing, sweep
from mmadlib.experiments.causes import CAUSES, Causes
from mmadlib.experiments.grids import read_sweep
from mmadlib.experiments.record import find_records, read
from mmadlib.experiments.standing import stand, standings, told
from mmadlib.experiments.sweep import run_cells
from mmadlib.features import family, weights_of
from mmadlib.features.networks import import_timm
from mmadlib.features.options import check_options


@pytest.fixture
def data(tmp_path):
    """A folder of isolated parts."""
    mvtec(tmp_path / "data", "part", cloud=isolated)
    return tmp_path / "data"


@pytest.fixture
def plan(data):
    """A sweep of one quick run on it."""
    return {"dataset": "folder", "categories": ["part"], "shots": [2], "seeds": [0], "features": "random",
            "methods": {"nearest": {"rgb": {"bank": "rgb", "size": 50}}}, "root": str(data), "options": {"size": 64}}


@pytest.fixture
def ran(plan, tmp_path):
    """The run, done once; its cell and where it lies."""
    cells = read_sweep(plan)
    records, failed = run_cells(cells, tmp_path / "runs", tmp_path / "cache", progress=False)
    assert len(records) == 1 and failed == []
    return cells[0], tmp_path / "runs"


def test_a_finished_run_stays_finished_as_long_as_nothing_changes(ran):
    cell, base = ran
    assert stand(cell, base).record == read(cell.folder(base) / "metrics.json")
    assert set(stand(cell, base).record.causes) == set(CAUSES)


def spoiled(data, what):
    """Another content of one file that the run used."""
    if what == "mask":
        picture(data / "part/test/crack/gt/000.png", np.zeros((48, 64), np.uint8) + 255 * np.eye(48, 64, dtype=np.uint8))
    elif what == "scan":
        tiff(data / "part/test/good/xyz/001.tiff", isolated() * np.float32(1.001))
    elif what == "training picture":
        for i in range(4):
            picture(data / f"part/train/good/rgb/{i:03d}.png", rgb(90 + i))
    elif what == "a test sample more":
        for kind, suffix in (("rgb", "png"), ("xyz", "tiff"), ("gt", "png")):
            folder = data / "part/test/good" / kind
            shutil.copy(folder / f"000.{suffix}", folder / f"009.{suffix}")
    elif what == "the background said to be gone":
        (data / "part/test/good/preprocess").mkdir()


@pytest.mark.parametrize("what", ["mask", "scan", "training picture", "a test sample more", "the background said to be gone"])
def test_other_content_makes_the_run_unfinished(ran, data, what):
    cell, base = ran
    spoiled(data, what)
    assert stand(cell, base).changed == ("data",)


def test_a_file_with_the_old_size_and_time_is_read_again(ran, data):
    cell, base = ran
    mask = data / "part/test/crack/gt/000.png"
    before, content = mask.stat(), bytearray(mask.read_bytes())
    content[-20] ^= 1
    mask.write_bytes(bytes(content))
    os.utime(mask, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert stand(cell, base).changed == ("data",)


def test_content_that_the_run_did_not_use_does_not_matter(ran, data):
    cell, base = ran
    unused = set(range(4)) - {int(name) for name in stand(cell, base).record.draw}
    picture(data / f"part/train/good/rgb/{unused.pop():03d}.png", rgb(99))
    picture(data / "part/validation/good/rgb/000.png", rgb(99))
    assert stand(cell, base).record is not None


@pytest.mark.parametrize(("change", "cause"), [
    ({"settings": {"bank": "rgb", "size": 40}}, "settings"), ({"options": {"size": 96}}, "settings"),
    ({"rule": "random"}, "settings"), ({"test_limit": 4}, "test_limit"), ({"options": {"size": 64, "seed": 3}}, "settings")])
def test_other_settings_make_the_run_unfinished(ran, change, cause):
    cell, base = ran
    assert cause in stand(replace(cell, **change), base).changed


def test_the_same_files_below_another_root_are_another_run(ran, data, tmp_path):
    cell, base = ran
    shutil.copytree(data, tmp_path / "other")
    assert stand(replace(cell, root=str(tmp_path / "other")), base).changed == ("root",)


def test_other_weights_make_the_run_unfinished(plan, tmp_path):
    """Whatever the file with them is called."""
    path, base = tmp_path / "vit.safetensors", tmp_path / "runs"
    state = import_timm().create_model(TINY_VIT, num_classes=0, img_size=64).state_dict()
    save_file(state, path)
    options = {"size": 64, "rgb_weights": str(path), "rgb_blocks": 1}
    (cell,) = read_sweep(plan | {"features": f"{TINY_VIT}+random", "options": options})
    assert run_cells([cell], base, tmp_path / "cache", progress=False)[1] == []
    assert stand(cell, base).changed == () and stand(cell, base).record
    save_file(state | {"cls_token": state["cls_token"] + 1}, path)
    assert stand(cell, base).changed == ("weights",)


def test_the_sweep_runs_it_again_and_says_why(plan, ran, data, tmp_path, capsys):
    cell, base = ran
    (tmp_path / "plan.yaml").write_text(yaml.safe_dump(plan))
    old = read(cell.folder(base) / "metrics.json")
    for i in range(2):
        picture(data / f"part/test/crack/gt/{i:03d}.png", np.pad(np.full((6, 6), 255, np.uint8), ((2, 40), (2, 56))))
    assert main(["sweep", str(tmp_path / "plan.yaml"), "--base", str(base)]) == 0
    assert "1 no longer valid (what changed: data in 1)" in capsys.readouterr().out
    new, = run_cells([cell], tmp_path / "fresh", None, progress=False)[0]
    found = read(cell.folder(base) / "metrics.json")
    assert found.digest == new.digest != old.digest


def test_a_root_that_does_not_exist_is_an_error_also_when_all_is_finished(ran, data, tmp_path, plan, capsys):
    cell, base = ran
    data.rename(tmp_path / "elsewhere")
    with pytest.raises(DataError, match="is not a folder"):
        run_cells([cell], base, progress=False)
    (tmp_path / "plan.yaml").write_text(yaml.safe_dump(plan))
    assert main(["sweep", str(tmp_path / "plan.yaml"), "--base", str(base)]) == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize(("change", "error", "said"), [
    ({"device": "cuda"}, SettingsError, "cuda"), ({"features": "paper"}, WeightsError, "cannot be reached"),
    ({"features": "paper", "options": {"rgb_weights": "pointer.pth"}}, WeightsError, "Git LFS pointer"),
    ({"features": "none+point_mae", "options": {"xyz_weights": "pointer.pth"}}, WeightsError, "Git LFS pointer")])
def test_what_no_run_can_do_without_is_missed_once_before_anything_starts(ran, monkeypatch, tmp_path, change, error, said):
    from mmadlib.features import networks

    cell, base = ran
    monkeypatch.setattr(networks, "_reachable", lambda address: False)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("mmadlib.paths.WEIGHTS", base / "no weights")
    monkeypatch.setattr(sweep, "run_missing", lambda *_: pytest.fail("something ran"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pointer.pth").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 1\n")
    with pytest.raises(error, match=said):
        run_cells([replace(cell, shots=n, **({"options": {}} | change)) for n in (1, 2, 3)], base, progress=False)


def test_a_damaged_record_is_named_and_counts_as_unfinished(ran):
    cell, base = ran
    path = cell.folder(base) / "metrics.json"
    path.write_text(path.read_text().replace('"wall_s": ', '"wall_s": 1', 1))
    found = standings([cell, replace(cell, shots=1)], base)
    assert found[0].record is None and "edited" in found[0].damaged
    assert "2 runs, 0 finished, 1 with a damaged record" in told(found) and "metrics.json" in told(found)


def test_a_failure_to_read_the_data_is_no_finished_run(ran, data):
    cell, base = ran
    shutil.rmtree(data / "part/test")
    assert stand(cell, base).changed == ("data",)


def test_data_are_listed_and_read_once_for_all_runs(ran, monkeypatch):
    cell, _ = ran
    asked, original = [], causes.content_keys
    monkeypatch.setattr(causes, "content_keys", lambda entries, progress: (asked.append(len(entries)),
                                                                          original(entries, progress))[1])
    found = Causes()
    for seed in range(3):
        found.of(replace(cell, variant=str(seed)))
    assert asked == [2, 5]


def test_rendered_runs_are_named_by_the_recipe_without_rendering(plan, monkeypatch):
    cell = read_sweep({k: v for k, v in plan.items() if k != "root"} | {"dataset": "rendered", "categories": ["plain"]})[0]
    monkeypatch.setattr("mmadlib.data.rendered.make", lambda entry: pytest.fail("it was rendered"))
    before = Causes().of(cell)
    monkeypatch.setattr("mmadlib.data.rendered.VERSION", 99)
    assert Causes().of(cell)["data"] != before["data"]
    assert standing.CAUSES == causes.CAUSES


def test_weights_of_packages_are_named_without_loading_timm_unless_a_file_stands_in(plan, tmp_path, monkeypatch):
    monkeypatch.setattr("mmadlib.paths.WEIGHTS", tmp_path / "weights")
    cell, = read_sweep(plan | {"features": "learned"})
    assert Causes().weights(cell) == weights_of(*family("learned"), check_options({"size": 64}))
    with monkeypatch.context() as patched:
        patched.setattr("mmadlib.features.networks.import_timm", lambda: pytest.fail("timm was loaded"))
        before = Causes().weights(cell)
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights/tf_efficientnet_lite0.safetensors").write_bytes(bytes(range(64)))
    assert Causes().weights(cell).keys() == before.keys() and Causes().weights(cell) != before


def test_a_record_in_the_folder_of_another_run_is_none(ran):
    cell, base = ran
    other = replace(cell, seed=1)
    shutil.copytree(cell.folder(base), other.folder(base))
    assert "is the record of another run" in stand(other, base).damaged
    with pytest.warns(UserWarning, match="1 damaged record"):
        assert [r.seed for r in find_records(base)] == [0]


def test_more_shots_than_are_left_stop_no_other_run(plan, tmp_path, data):
    cells = read_sweep(plan | {"shots": [1, 4]})
    base = tmp_path / "runs"
    assert len(run_cells(cells, base, tmp_path / "cache", progress=False)[0]) == 2
    for kind, suffix in (("rgb", "png"), ("xyz", "tiff")):
        (data / f"part/train/good/{kind}/003.{suffix}").unlink()
    records, failed = run_cells(cells, base, tmp_path / "cache", progress=False)
    assert [r.shots for r in records] == [1] and len(failed) == 1 and "there are only 3" in failed[0]


def test_a_rerun_that_fails_leaves_no_old_record_to_collect(ran, data, tmp_path):
    cell, base = ran
    picture(data / "part/test/crack/gt/000.png", np.full((48, 64), 77, np.uint8))
    records, failed = run_cells([cell], base, tmp_path / "cache", progress=False)
    assert records == [] and len(failed) == 1 and find_records(base) == []


@pytest.mark.parametrize(("dataset", "error", "said"), [("mvtec3d", SettingsError, "needs root="),
                                                        ("road", DataError, "is not a folder")])
def test_a_dataset_without_its_folder_is_missed_once(ran, monkeypatch, tmp_path, dataset, error, said):
    cell, base = ran
    monkeypatch.setitem(loading.DEFAULT_ROOT, "road", tmp_path / "no road")
    monkeypatch.setattr(sweep, "run_missing", lambda *_: pytest.fail("something ran"))
    with pytest.raises(error, match=said):
        run_cells([replace(cell, dataset=dataset, root=None)], base, progress=False)


def test_a_pipe_in_the_place_of_a_record_is_no_record(ran):
    cell, base = ran
    (cell.folder(base) / "metrics.json").unlink()
    os.mkfifo(cell.folder(base) / "metrics.json")
    assert "a pipe" in stand(cell, base).damaged
