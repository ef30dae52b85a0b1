"""Hostile input: nothing that a user is handed runs code, writes elsewhere or hangs; each ends in one clear line, exit code 2.

Beside these: tests/test_untrusted.py (texts), tests/test_names.py, tests/report/test_export.py (markup, formulas) and
tests/features/test_weights.py.
"""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
import zlib

import numpy as np
import pytest
import tifffile
import torch
from layouts import eyecandies, isolated, mvtec, real_iad_d3, snapshot, stereo_pothole
from samples import BOMB, dome

from mmadlib.__main__ import main
from mmadlib.data import categories, load
from mmadlib.errors import DataError, MmadError, WeightsError
from mmadlib.experiments import read_yaml, run_experiment
from mmadlib.features import extract
from mmadlib.methods import METHODS
from mmadlib.paths import NOTEBOOKS

GOOD = "bagel/train/good"


class Evil:
    """Unpickled, it makes a folder."""

    def __reduce__(self):
        return os.mkdir, ("touched",)


@pytest.fixture(autouse=True)
def guarded(tmp_path, monkeypatch):
    """Stand in an empty folder, in which nothing may appear; what waits for a pipe is woken up after a while."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")

    def hung(*_):
        raise TimeoutError("hung")

    before = signal.signal(signal.SIGALRM, hung)
    signal.alarm(100)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)
    assert not any((tmp_path / "here").iterdir())


def refused(capsys, *argv):
    """The line that a command ends with, exit code 2."""
    assert main([str(word) for word in argv]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1 and len(error) < 1000
    return error


def lying(path, **tags):
    """Change what the header of a TIFF says."""
    with tifffile.TiffFile(path, mode="r+") as file:
        for name, value in tags.items():
            file.pages.first.tags[name].overwrite(value)


def stretched(path):
    """A strip that unpacks to much more than the header says."""
    xyz = isolated()
    tifffile.imwrite(path, xyz, photometric="rgb", compression="zlib")
    data = zlib.compress(bytes(2**28), 9)
    lying(path, StripOffsets=path.stat().st_size, StripByteCounts=len(data))
    with path.open("ab") as file:
        file.write(data)


def png_of(rows, columns):
    """A picture whose header claims this size."""
    def change(path):
        data = bytearray(path.read_bytes())
        data[16:24] = columns.to_bytes(4, "big") + rows.to_bytes(4, "big")
        data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
        path.write_bytes(data)

    return change


def fifo(path):
    path.unlink(missing_ok=True)
    os.mkfifo(path)


def link(target):
    def change(path):
        path.unlink(missing_ok=True)
        path.symlink_to(target)

    return change


def postscript(path):
    path.write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 48\n(touched) (w) file\nshowpage\n")


DATA = {
    "tiff of absurd size": (f"{GOOD}/xyz/001.tiff", lambda p: lying(p, ImageLength=2**31, ImageWidth=2**31),
                            "has 2147483648 x 2147483648 x 3 values"),
    "tiff that unpacks to more": (f"{GOOD}/xyz/001.tiff", stretched, "truncated or no TIFF"),
    "png of absurd size": (f"{GOOD}/rgb/001.png", png_of(60000, 60000), "has 3600000000 pixels, more than the 50000000"),
    "png above our limit": (f"{GOOD}/rgb/001.png", png_of(8000, 7000), "has 8000 x 7000 pixels, more than the 50000000"),
    "mask of absurd size": ("bagel/test/crack/gt/001.png", png_of(30000, 30000), "900000000 pixels"),
    "postscript for a picture": (f"{GOOD}/rgb/001.png", postscript, "no picture"),
    "pickle for a cloud": (f"{GOOD}/xyz/001.tiff", lambda p: p.write_bytes(pickle.dumps(Evil())), "no TIFF"),
    "pipe for a picture": (f"{GOOD}/rgb/001.png", fifo, "is a pipe"),
    "pipe for a cloud": (f"{GOOD}/xyz/001.tiff", fifo, "is a pipe"),
    "pipe for a mask": ("bagel/test/crack/gt/001.png", fifo, "is a pipe"),
    "pipe for a table": ("bagel/defects.csv", fifo, "is a pipe"),
    "device for a cloud": (f"{GOOD}/xyz/001.tiff", link("/dev/zero"), "is a device"),
    "link that goes in circles": (f"{GOOD}/rgb/001.png", link("001.png"), "cannot be read (Too many levels"),
    "table of absurd size": ("bagel/defects.csv", lambda p: (p.touch(), os.truncate(p, 2**40)), "bytes, more than"),
    "table that is no text": ("bagel/defects.csv", lambda p: p.write_bytes(b"defect,modality\n\xff,rgb\n"), "no UTF-8 text"),
}


@pytest.mark.parametrize("case", DATA)
def test_a_data_folder(tmp_path, capsys, case):
    where, change, fault = DATA[case]
    mvtec(tmp_path / "data")
    change(tmp_path / "data" / where)
    error = refused(capsys, "preprocess", tmp_path / "data", tmp_path / "out", "--dataset", "folder", "--jobs", "1")
    assert fault in error and os.path.basename(where) in error
    assert sorted(p.name for p in tmp_path.iterdir()) in (["data", "here"], ["data", "here", "out"])


@pytest.mark.parametrize(("make", "dataset", "category", "split", "where", "content"), [
    (eyecandies, "eyecandies", "Lollipop", "train", "train/data/001_info_depth.yaml",
     b"normalization: !!python/object/apply:os.mkdir [touched]"),
    (eyecandies, "eyecandies", "Lollipop", "train", "train/data/001_info_depth.yaml", BOMB.encode()),
    (eyecandies, "eyecandies", "Lollipop", "train", "train/data/001_pose.txt", None),
    (eyecandies, "eyecandies", "Lollipop", "test", "test_public/data/01_metadata.yaml", b"[" * 100_000),
    (eyecandies, "eyecandies", "Lollipop", "test", "test_public/data/01_mask.png", None),
    (real_iad_d3, "real_iad_d3", "power_jack", "train", "train/GOOD/xyz/power_jack_0001.tiff", None),
    (real_iad_d3, "real_iad_d3", "power_jack", "train", "train/GOOD/rgb/S0001/power_jack_0001_L05_RGB.jpg", None),
])
def test_other_datasets(tmp_path, make, dataset, category, split, where, content):
    path = make(tmp_path / "data", category) / where
    path.unlink()
    os.mkfifo(path) if content is None else path.write_bytes(content)
    with pytest.raises(DataError, match=path.name) as caught:
        list(load(dataset, category, split, root=tmp_path / "data"))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("part", ["rgb", "disp_tg", "label"])
def test_the_converter_of_road_waits_for_no_pipe_and_follows_no_path_out(tmp_path, capsys, part):
    src = stereo_pothole(tmp_path / "src", {"dataset1": (1, 12)})
    (tmp_path / "secret").write_text("a" * 40)
    (src / ".git").mkdir()
    (src / ".git" / "HEAD").write_text("ref: ../../secret\n")
    assert main(["convert", "road", str(src), str(tmp_path / "road")]) == 0
    assert json.loads((tmp_path / "road" / "manifest.json").read_text())["commit"] == "unknown"
    fifo(src / "dataset1" / part / "01.png")
    assert "01.png: is a pipe" in refused(capsys, "convert", "road", src, tmp_path / "other")
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize("content", [
    None, b"ply\nformat binary_little_endian 1.0\nelement vertex 999999999999\nproperty list uchar int x\nend_header\n",
    b"ply\nformat ascii 1.0\nelement vertex 99999999999999999999\nproperty float x\nend_header\n1\n"])
def test_scans_of_absurd_size(tmp_path, capsys, content):
    path = tmp_path / "src/point_cloud/a/PointCloud_merged.ply"
    path.parent.mkdir(parents=True)
    os.mkfifo(path) if content is None else path.write_bytes(content)
    fault = "PointCloud_merged" if content else "holds no PointCloud_merged"
    assert fault in refused(capsys, "convert", "polyurethane", tmp_path / "src", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("array", [np.array([Evil()], object), None, (10**9, 9216, 3)])
def test_arrays(tmp_path, array):
    path = tmp_path / "train.npy"
    if isinstance(array, np.ndarray):
        np.save(path, array, allow_pickle=True)
    elif array is None:
        os.mkfifo(path)
    else:
        with path.open("wb") as file:
            np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": array})
    with pytest.raises(DataError, match=r"train\.npy: is"):
        load("polyurethane", "cutting_edges", "train", root=tmp_path)


@pytest.mark.parametrize("name", ["..", "../other", "../../etc", "/etc", "bagel/../../other", ".", "bagel/train", "a\0b", ""])
@pytest.mark.parametrize("dataset", ["folder", "mvtec3d", "eyecandies", "real_iad_d3", "road", "polyurethane", "rendered"])
def test_a_category_is_a_name_and_no_path(tmp_path, dataset, name):
    mvtec(tmp_path / "data"), mvtec(tmp_path, "other")
    before = snapshot(tmp_path)
    with pytest.raises(MmadError):
        list(load(dataset, name, "train", root=tmp_path / "data"))
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize("text", ["categories: ['../../../x']", "categories: [a]\nmethods: {nearest: {'../../../x': {}}}"])
def test_a_sweep_writes_nowhere_else(tmp_path, capsys, text):
    sweep = "dataset: folder\nroot: data\nshots: [1]\nseeds: [0]\n" + text
    path = tmp_path / "sweep.yaml"
    path.write_text(sweep if "methods" in text else sweep + "\nmethods: {nearest: [rgb]}")
    mvtec(tmp_path / "data", "a")
    before = snapshot(tmp_path)
    assert "x' cannot be part of a run's folder" in refused(capsys, "sweep", path, "--base", tmp_path / "runs", "--root",
                                                             tmp_path / "data")
    assert snapshot(tmp_path) == before


def test_links_are_followed_where_they_lead_and_written_where_one_said(tmp_path, capsys):
    mvtec(tmp_path / "elsewhere")
    (tmp_path / "data").mkdir()
    (tmp_path / "data/bagel").symlink_to(tmp_path / "elsewhere/bagel")
    (tmp_path / "elsewhere/bagel/calibration").symlink_to(tmp_path / "elsewhere/bagel")  # in circles, for who walks down
    (tmp_path / "elsewhere/bagel/train/good/rgb/up").symlink_to(tmp_path)
    before = snapshot(tmp_path / "elsewhere")
    assert categories("folder", tmp_path / "data") == ["bagel"]
    assert len(list(load("folder", "bagel", "train", root=tmp_path / "data"))) == 4
    assert main(["preprocess", str(tmp_path / "data"), str(tmp_path / "out"), "--dataset", "folder", "--jobs", "1"]) == 0
    assert snapshot(tmp_path / "elsewhere") == before and (tmp_path / "out/bagel/train/good/xyz/000.tiff").is_file()
    capsys.readouterr()
    (tmp_path / "loop").symlink_to("loop")
    for src in (tmp_path / "loop", "~nobody-of-this-name/x"):
        refused(capsys, "preprocess", src, tmp_path / "out2")
        refused(capsys, "convert", "road", src, tmp_path / "out2")
    assert not (tmp_path / "out2").exists()


PARAMS = {"bomb": BOMB.encode(), "deep": b"[" * 100_000, "tag": b"category: !!python/object/apply:os.mkdir [touched]",
          "new": b"!!python/object/new:os.mkdir [touched]", "latin": "category: \xe9".encode("latin-1"), "list": b"- 1",
          "binary": bytes(100), "pipe": None}


@pytest.mark.parametrize("kind", PARAMS)
@pytest.mark.parametrize("suffix", [".yaml", ".json"])
def test_files_of_parameters(tmp_path, capsys, kind, suffix):
    path = tmp_path / f"params{suffix}"
    fifo(path) if PARAMS[kind] is None else path.write_bytes(PARAMS[kind])
    for words in (["run", NOTEBOOKS / "20_cfm.ipynb", tmp_path / "out.ipynb", "-f", path], ["sweep", path]):
        assert path.name in refused(capsys, *words)
    assert not (tmp_path / "out.ipynb").exists()


def test_a_notebook_is_a_file(tmp_path, capsys):
    fifo(tmp_path / "a.ipynb")
    assert "a.ipynb: is a pipe" in refused(capsys, "run", tmp_path / "a.ipynb", tmp_path / "out.ipynb")


def test_nothing_hangs_on_the_command_line(tmp_path):
    (tmp_path / "bomb.yaml").write_text(BOMB)
    fifo(tmp_path / "pipe.yaml")
    for name in ("bomb.yaml", "pipe.yaml"):
        done = subprocess.run([sys.executable, "-m", "mmadlib", "sweep", str(tmp_path / name)], capture_output=True, text=True,
                              timeout=120, check=False, env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)})
        assert done.returncode == 2 and done.stderr.startswith("error: ") and done.stderr.count("\n") == 1


@pytest.mark.parametrize("content", ["pickle", "torch", "pipe"])
def test_weights(tmp_path, content):
    path = tmp_path / "vit.pth"
    if content == "torch":
        torch.save({"state_dict": Evil()}, path)
    else:
        fifo(path) if content == "pipe" else path.write_bytes(pickle.dumps(Evil()))
    with pytest.raises(WeightsError, match=r"vit\.pth: is .*(pickle|pipe)"):
        extract(dome(), rgb="test_vit", xyz="none", size=96, rgb_blocks=2, rgb_weights=str(path))


@pytest.mark.parametrize("settings", ['{"method": "nearest", "seed": 0, "settings": {}}', "{}", "!!python/object:os.X"])
def test_a_model_is_no_pickle(tmp_path, settings):
    (tmp_path / "model").mkdir()
    (tmp_path / "model/settings.json").write_text(settings)
    (tmp_path / "model/model.safetensors").write_bytes(pickle.dumps(Evil()))
    with pytest.raises(MmadError):
        METHODS["nearest"].load(tmp_path / "model")


def test_names_of_any_bytes_and_marks_go_through_to_the_records(tmp_path):
    base = mvtec(tmp_path / "data", test={"good": 2, "<img src=x>": 1, "=1+1": 1, "$x\\": 1}, cloud=isolated)
    (base / "test/$x\\").rename(base / "test" / os.fsdecode(b"pi\xe8ce"))
    for kind, suffix in (("rgb", "png"), ("xyz", "tiff")):
        first = base / "train/good" / kind / f"000.{suffix}"
        first.rename(first.with_name(os.fsdecode(b"\xe8000.") + suffix))
    record = run_experiment("folder", "bagel", "nearest", root=tmp_path / "data", shots=None, base=tmp_path / "runs",
                            cache=tmp_path / "cache", progress=False)
    assert {"<img src=x>", "=1+1"} < set(record.by_defect) and len(record.draw) == 4
    for path in [p for p in (tmp_path / "runs").rglob("*") if p.suffix in (".csv", ".json")]:
        assert "\r" not in path.read_text(encoding="utf-8")
    os.mkfifo(tmp_path / "data" / os.fsdecode(b"\xff.yaml"))
    with pytest.raises(MmadError, match=r"\\xff\.yaml: is a pipe") as caught:
        read_yaml(tmp_path / "data" / os.fsdecode(b"\xff.yaml"))
    str(caught.value).encode()


