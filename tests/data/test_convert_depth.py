"""Captures of a depth camera become pictures and clouds on one grid: every kind of file, other cameras, and every fault."""

import json
import os
import shutil
import subprocess
import sys

import cv2
import numpy as np
import pytest
import tifffile
from layouts import picture, snapshot, tiff
from PIL import Image

from mmadlib.__main__ import main
from mmadlib.atomic import temporary_name
from mmadlib.data import load
from mmadlib.data.convert import grids
from mmadlib.data.convert.depth import convert
from mmadlib.data.convert.sources import stem
from mmadlib.data.parts import parts
from mmadlib.errors import DataError, SettingsError

H, W = 48, 64
CAMERA = {"fx": 80.0, "fy": 82.0, "ppx": 31.5, "ppy": 23.5, "width": W, "height": H, "depth_units": 0.0001}
NORMAL = np.array([0.2, -0.1, 1.0])  # of a plane, NORMAL . p = 0.5


def pixels(height=H, width=W):
    return np.stack(np.meshgrid(np.arange(width), np.arange(height)), -1).astype(float)


def plane(camera=CAMERA):
    """Depth of the plane for an ideal camera, float64 metres; a block of it was not measured."""
    at = (pixels() - (camera["ppx"], camera["ppy"])) / (camera["fx"], camera["fy"])
    depth = 0.5 / (np.dstack([at, np.ones((H, W))]) @ NORMAL)
    depth[:4, :6] = 0
    return depth


def rgb(height=H, width=W):
    """Colours that tell the place: red from left to right, green from the top down."""
    u, v = np.moveaxis(pixels(height, width), -1, 0)
    return np.dstack([40 + 160 * u / width, 40 + 160 * v / height, np.full(u.shape, 90)]).astype(np.uint8)


def save_npy(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, array)


def capture(folder, name="000", depth=None, colours=None, suffix=".png"):
    picture(folder / "rgb" / f"{name}{suffix}", rgb() if colours is None else colours)
    steps = np.round((plane() if depth is None else depth) / CAMERA["depth_units"]).astype(np.uint16)
    picture(folder / "depth" / f"{name}.png", steps)


def camera_file(path, **changes):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({k: v for k, v in (CAMERA | changes).items() if v is not None}))
    return path


@pytest.fixture
def source(tmp_path):
    """One part, its camera beside it."""
    capture(tmp_path / "src")
    return tmp_path / "src", camera_file(tmp_path / "camera.json")


def made(dst, name="000"):
    return np.array(Image.open(dst / "rgb" / f"{name}.png")), tifffile.imread(dst / "xyz" / f"{name}.tiff")


@pytest.mark.parametrize(("write", "suffix", "scale", "error"), [
    (lambda path, d: picture(path, np.round(d * 1e4).astype(np.uint16)), ".png", None, 6e-5),
    (lambda path, d: tiff(path, np.round(d * 1e4).astype(np.uint16)), ".tif", None, 6e-5),
    (lambda path, d: tiff(path, d.astype(np.float32)), ".tiff", 1.0, 1e-5),
    (lambda path, d: save_npy(path, (d * 1000).astype(np.float32)), ".npy", 0.001, 1e-5),
    (lambda path, d: save_npy(path, np.where(d > 0, d, np.nan)), ".npy", 1.0, 1e-5)])
def test_a_tilted_plane_comes_back_from_every_kind_of_depth(tmp_path, write, suffix, scale, error):
    picture(tmp_path / "src/rgb/000.png", rgb())
    write(tmp_path / f"src/depth/000{suffix}", plane())
    counts = convert(tmp_path / "src", tmp_path / "dst", camera_file(tmp_path / "c.json"), scale, progress=False)
    colours, xyz = made(tmp_path / "dst")
    valid = (xyz != 0).all(-1)
    assert counts == {"parts": 1} and len(parts(tmp_path / "dst")) == 1
    assert xyz.dtype == np.float32 and (valid == (plane() > 0)).all() and not xyz[~valid].any()
    assert np.abs(xyz[valid] @ NORMAL - 0.5).max() < error and np.abs(xyz[..., 2] - plane()).max() < error
    assert np.allclose(xyz[valid][:, :2] / xyz[valid][:, 2:], ((pixels() - (31.5, 23.5)) / (80, 82))[valid], atol=1e-5)
    assert (colours == rgb()).all()


@pytest.mark.parametrize("suffix", [".jpg", ".bmp", ".tif", ".webp"])
def test_every_kind_of_picture(tmp_path, suffix):
    capture(tmp_path / "src", suffix=suffix)
    convert(tmp_path / "src", tmp_path / "dst", camera_file(tmp_path / "c.json"), progress=False)
    assert np.abs(made(tmp_path / "dst")[0].astype(int) - rgb()).max() <= (0 if suffix in (".bmp", ".tif") else 12)


def test_the_lens_of_the_depth_camera_is_removed_from_the_points(tmp_path):
    """A ray leaves by OpenCV's own undistortPoints; the picture stays as it is."""
    lens = [0.2, -0.1, 0.002, -0.001, 0.01]
    matrix = np.array([[80, 0, 31.5], [0, 82, 23.5], [0, 0, 1]], float)
    at = cv2.undistortPoints(pixels().reshape(-1, 1, 2), matrix, np.array(lens)).reshape(H, W, 2)
    depth = 0.5 / (np.dstack([at, np.ones((H, W))]) @ NORMAL)
    picture(tmp_path / "src/rgb/000.png", rgb())
    save_npy(tmp_path / "src/depth/000.npy", depth.astype(np.float32))
    cameras = [camera_file(tmp_path / f"{i}.json", model="brown_conrady", coeffs=c) for i, c in enumerate((lens, [0.0] * 5))]
    off = []
    for i, camera in enumerate(cameras):
        convert(tmp_path / "src", tmp_path / f"dst{i}", camera, 1.0, progress=False)
        colours, xyz = made(tmp_path / f"dst{i}")
        off.append(np.abs(xyz @ NORMAL - 0.5).max())
        assert (colours == rgb()).all()
    assert off[0] < 1e-4 < 1e-3 < off[1]


def test_a_dataset_keeps_its_folders_and_masks(tmp_path):
    src = tmp_path / "src"
    for folder, count in (("train/good", 2), ("test/good", 1), ("test/dent", 1)):
        for i in range(count):
            capture(src / "part" / folder, f"{i:03d}")
    mask = np.zeros((H, W), np.uint8)
    mask[20:24, 30:36] = 255
    picture(src / "part/test/dent/gt/000.png", mask)
    (src / "part/defects.csv").write_text("defect,modality\ndent,xyz\n")
    (src / "part/notes.txt").write_text("left alone")
    before = snapshot(src)
    counts = convert(src, tmp_path / "dst", camera_file(tmp_path / "c.json"), progress=False)
    assert counts == {"part/test/dent": 1, "part/test/good": 1, "part/train/good": 2} and snapshot(src) == before
    train, test = (load("folder", "part", split, root=tmp_path / "dst") for split in ("train", "test"))
    assert len(train) == 2 and [s.label for s in test] == [0, 1] and test[1].modality == "xyz"
    assert len(parts(tmp_path / "dst/part/train/good")) == 2
    assert (test[1].mask == (mask > 0)).all() and np.median(train[0].xyz[train[0].valid][:, 2]) == pytest.approx(0.5, abs=0.01)


def test_names_as_cameras_give_them(tmp_path):
    for name in ("0007", "0008"):
        picture(tmp_path / f"src/Color/color_{name}.png", rgb())
        picture(tmp_path / f"src/Depth/{name}-depth.png", np.round(plane() * 1e4).astype(np.uint16))
    assert convert(tmp_path / "src", tmp_path / "dst", camera_file(tmp_path / "c.json"), progress=False) == {"parts": 2}
    assert sorted(p.name for p in (tmp_path / "dst/xyz").iterdir()) == ["0007.tiff", "0008.tiff"]
    assert [stem(tmp_path / n) for n in ("rgb.png", "img12.png", "depthgauge_3.png", "cloudy.png")] == [
        "rgb", "12", "depthgauge_3", "cloudy"]


def test_a_picture_of_another_size_with_the_same_view(source, tmp_path):
    src, camera = source
    fine = rgb(2 * H, 2 * W)
    picture(src / "rgb/000.png", fine)
    with pytest.raises(DataError, match=r"000.png: sizes differ, picture \(96, 128\) and cloud \(48, 64\); .*resample"):
        convert(src, tmp_path / "dst", camera, progress=False)
    convert(src, tmp_path / "dst", camera, resample=True, progress=False)
    mean = fine.reshape(H, 2, W, 2, 3).mean((1, 3))
    assert np.abs(made(tmp_path / "dst")[0] - mean).max() <= 1
    picture(src / "rgb/000.png", rgb(H, H))
    with pytest.raises(DataError, match="different views"):
        convert(src, tmp_path / "dst2", camera, resample=True, progress=False)


# ---- another camera: a floor at z = 0.5 and a plate that floats at z = 0.4, seen by two cameras ----

LENS = [0.05, -0.02, 0.001, -0.001, 0.0]
COLOUR = {"fx": 150.0, "fy": 150.0, "cx": 63.0, "cy": 50.0, "width": 128, "height": 96, "D": LENS}
TURN = cv2.Rodrigues(np.array([0.02, 0.15, 0.05]))[0]
SHIFT = np.array([-0.12, 0.01, 0.003])
SIDE = 0.03  # half of the plate's


def looks(origin, directions):
    """(points, whether on the plate) where rays from a point meet the scene, in the depth camera's frame."""
    plate = origin + directions * ((0.4 - origin[2]) / directions[..., 2:])
    on = (np.abs(plate[..., :2]) < SIDE).all(-1)
    return np.where(on[..., None], plate, origin + directions * ((0.5 - origin[2]) / directions[..., 2:])), on


def paint(points, on):
    return np.dstack([128 + 400 * points[..., 0], 128 + 400 * points[..., 1], np.where(on, 220, 30)])


def colour_picture():
    """What the colour camera sees: its rays by OpenCV, turned into the depth camera's frame."""
    matrix = np.array([[150, 0, 63.0], [0, 150, 50.0], [0, 0, 1]])
    at = cv2.undistortPointsIter(pixels(96, 128).reshape(-1, 1, 2), matrix, np.array(LENS), np.eye(3), np.eye(3),
                                 (3, 100, 1e-12)).reshape(96, 128, 2)
    return looks(-TURN.T @ SHIFT, np.dstack([at, np.ones((96, 128))]) @ TURN)


@pytest.fixture(scope="module")
def two_cameras(tmp_path_factory):
    """(source folder, intrinsics, colour camera's file, points, whether on the plate) of the depth camera."""
    root = tmp_path_factory.mktemp("two")
    at = (pixels() - (31.5, 23.5)) / (80, 82)
    points, on = looks(np.zeros(3), np.dstack([at, np.ones((H, W))]))
    save_npy(root / "src/depth/000.npy", points[..., 2].astype(np.float32))
    picture(root / "src/rgb/000.png", np.clip(np.rint(paint(*colour_picture())), 0, 255).astype(np.uint8))
    picture(root / "src/gt/000.png", (colour_picture()[1] * 255).astype(np.uint8))
    place = {"rotation": TURN.tolist(), "translation": SHIFT.tolist()}
    colour = root / "colour.json"
    colour.write_text(json.dumps(COLOUR | {"extrinsics": place}))
    return root / "src", camera_file(root / "camera.json", depth_units=1000), colour, points, on


def test_colours_of_another_camera_land_on_their_points(two_cameras, tmp_path):
    src, camera, colour, points, on = two_cameras
    convert(src, tmp_path / "dst", camera, 1.0, colour, progress=False)
    colours, xyz = made(tmp_path / "dst")
    valid = (xyz != 0).all(-1)
    assert np.abs(xyz - points)[valid].max() < 1e-5 and not colours[~valid].any()
    off = np.abs(colours - paint(points, on)).max(-1)
    edge = cv2.dilate(on.astype(np.uint8), np.ones((3, 3))) != cv2.erode(on.astype(np.uint8), np.ones((3, 3)))
    assert off[valid & ~edge].max() <= 2 and (valid & on).sum() > 120
    camera_at = -TURN.T @ SHIFT
    to_camera = camera_at - points
    crossing = points + to_camera * ((0.4 - points[..., 2]) / to_camera[..., 2])[..., None]
    far = np.abs(crossing[..., :2]).max(-1) / SIDE  # of a floor point: below 1 the plate hides it
    moved = points @ TURN.T + SHIFT
    matrix = np.array([[150, 0, 63.0], [0, 150, 50.0], [0, 0, 1]])
    uv = cv2.projectPoints(moved.reshape(-1, 3), np.zeros(3), np.zeros(3), matrix, np.array(LENS))[0].reshape(H, W, 2)
    inside = ((uv > 1) & (uv < (126, 94))).all(-1)
    assert not valid[~on & (far < 0.9)].any() and (~on & (far < 0.9)).sum() > 30
    assert valid[inside & ~on & (far > 1.35)].all() and valid[inside & on & ~edge].all()
    outside = ((uv < 0) | (uv > (127, 95))).any(-1)
    assert outside.sum() > 50 and not valid[outside].any()
    mask = np.array(Image.open(tmp_path / "dst/gt/000.png")) > 0  # drawn on the picture, it moves with it
    assert (mask == on)[valid & ~edge].all() and mask.sum() > 100


def test_the_depth_scale_of_a_colour_cameras_file_does_not_count(two_cameras, tmp_path):
    src, camera, colour, *_ = two_cameras
    told = tmp_path / "colour.json"
    told.write_text(json.dumps(json.loads(colour.read_text()) | {"depth_scale": 1.0}))  # BOP writes millimetres so
    convert(src, tmp_path / "dst", camera, 1.0, told, progress=False)
    convert(src, tmp_path / "same", camera, 1.0, colour, progress=False)
    assert all((a == b).all() for a, b in zip(made(tmp_path / "dst"), made(tmp_path / "same"), strict=True))


def test_what_a_colour_camera_must_say(two_cameras, tmp_path):
    src, camera, colour, *_ = two_cameras
    alone = tmp_path / "alone.json"
    alone.write_text(json.dumps(COLOUR))
    with pytest.raises(DataError, match=r"alone.json: does not say where the colour camera is; add extrinsics"):
        convert(src, tmp_path / "dst", camera, 1.0, alone, progress=False)
    away = tmp_path / "away.json"
    away.write_text(json.dumps(COLOUR | {"extrinsics": {"rotation": np.eye(3).tolist(), "translation": [0.9, 0, 0]}}))
    with pytest.raises(DataError, match="shows 0 of 3072 points; check the extrinsics"):
        convert(src, tmp_path / "dst", camera, 1.0, away, progress=False)
    with pytest.raises(DataError, match=r"colour.json: is of pictures of 128 x 96 pixels, these have 64 x 48"):
        small = shutil.copytree(src, tmp_path / "src")
        picture(small / "rgb/000.png", rgb())
        convert(small, tmp_path / "dst", camera, 1.0, colour, progress=False)


# ---- faults ----

def test_depth_without_a_camera_a_scale_or_the_right_size(source, tmp_path):
    src, camera = source
    with pytest.raises(DataError, match=r"000.png: is a depth picture; .*--intrinsics"):
        convert(src, tmp_path / "dst", progress=False)
    bare = camera_file(tmp_path / "bare.json", depth_units=None)
    with pytest.raises(DataError, match=r"bare.json does not say how long one is; the median depth is 4.9.* m at 0.001 "
                                        r"metres a step, 49.* m at 1.0; give depth_scale=0.001"):
        convert(src, tmp_path / "dst", bare, progress=False)
    with pytest.raises(DataError, match=r"has a median depth of 49.* m at 0.1 metres a step"):
        convert(src, tmp_path / "dst", camera, 0.1, progress=False)
    with pytest.raises(DataError, match=r"large.json: is of pictures of 128 x 96 pixels, these have 64 x 48, 1/2 times"):
        convert(src, tmp_path / "dst", camera_file(tmp_path / "large.json", width=128, height=96), progress=False)
    for option, value in (("units", "furlong"), ("depth_scale", -1.0), ("orientation", "up")):
        with pytest.raises(SettingsError, match=option):
            convert(src, tmp_path / "dst", camera, **{option: value}, progress=False)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["bare.json", "camera.json", "large.json", "src"]


def test_depth_that_was_not_measured(source, tmp_path):
    src, camera = source
    steps = np.round(plane() * 1e4).astype(np.uint16)
    steps[10, 10:13] = 65535, 1234, 1234
    picture(src / "depth/000.png", steps)
    convert(src, tmp_path / "dst", camera, invalid=1234, progress=False)
    assert not made(tmp_path / "dst")[1][10, 10:13].any()
    for value in (0, 65535):
        picture(src / "depth/000.png", np.full((H, W), value, np.uint16))
        with pytest.raises(DataError, match=r"holds no depth|has 0 valid points"):
            convert(src, tmp_path / f"dst{value}", camera, progress=False)


def test_a_far_plane_is_no_surface(source, tmp_path):
    src, camera = source
    steps = np.round(plane() * 1e4).astype(np.uint16)
    steps[:, 40:] = 40000
    picture(src / "depth/000.png", steps)
    with pytest.raises(DataError, match=r"000.png: 1152 of 3048 points .* looks like a marker.*; give invalid=40000"):
        convert(src, tmp_path / "dst", camera, progress=False)
    convert(src, tmp_path / "dst", camera, invalid=40000, progress=False)
    assert made(tmp_path / "dst")[1].any(-1).sum() == 3048 - 1152


def test_folders_that_are_not_complete(source, tmp_path):
    src, camera = source
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="empty: holds no parts"):
        convert(tmp_path / "empty", tmp_path / "dst", camera, progress=False)
    picture(src / "rgb/001.png", rgb())
    with pytest.raises(DataError, match=r"rgb/001.png has no matching depth file"):
        convert(src, tmp_path / "dst", camera, progress=False)
    (src / "rgb/001.png").unlink()
    picture(src / "gt/002.png", rgb())
    with pytest.raises(DataError, match=r"002.png: is a mask without a part"):
        convert(src, tmp_path / "dst", camera, progress=False)
    shutil.rmtree(src / "gt")
    (src / "xyz").mkdir()
    with pytest.raises(DataError, match="has folders depth and xyz for one thing"):
        convert(src, tmp_path / "dst", camera, progress=False)
    (src / "xyz").rmdir()
    shutil.rmtree(src / "rgb")
    with pytest.raises(DataError, match=r"has no folder of pictures \(rgb/\); there are: depth"):
        convert(src, tmp_path / "dst", camera, progress=False)
    with pytest.raises(DataError, match="is not a folder"):
        convert(tmp_path / "none", tmp_path / "dst", camera, progress=False)


def test_the_result_is_whole_or_absent(source, tmp_path, monkeypatch):
    src, camera = source
    before = snapshot(src)
    for dst in (src / "dst", src):
        with pytest.raises(DataError, match="lies inside the source"):
            convert(src, dst, camera, progress=False)
    (tmp_path / "other").mkdir()
    (tmp_path / "other/file").write_text("mine")
    with pytest.raises(DataError, match="holds something else already"):
        convert(src, tmp_path / "other", camera, progress=False)

    gone = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True, check=True)
    left = temporary_name(tmp_path / "dst")
    left = left.with_name(left.name.replace(f"-{os.getpid()}-", f"-{gone.stdout.strip()}-"))
    (left / "rgb").mkdir(parents=True)

    def interrupted(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("mmadlib.data.convert.depth.geometry", interrupted)
        convert(src, tmp_path / "dst", camera, progress=False)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["camera.json", "other", "src"] and snapshot(src) == before
    counts = convert(src, tmp_path / "dst", camera, progress=False)
    first = snapshot(tmp_path / "dst")
    monkeypatch.setattr(grids, "points_of", None)  # a second run has nothing to do
    assert convert(src, tmp_path / "dst", camera, progress=False) == counts and snapshot(tmp_path / "dst") == first
    camera_file(camera, fx=81.0)
    with pytest.raises(DataError, match="holds something else already"):
        convert(src, tmp_path / "dst", camera, progress=False)


def test_command(source, tmp_path, capsys):
    src, camera = source
    words = ["convert", "depth", str(src), str(tmp_path / "dst")]
    assert main([*words, "--intrinsics", str(camera), "--depth-scale", "0.0001", "--invalid", "-1"]) == 0
    assert "parts 1" in capsys.readouterr().out and made(tmp_path / "dst")[1].any()
    assert main(["convert", "depth", str(src), str(tmp_path / "dst2")]) == 2
    assert capsys.readouterr().err.count("\n") == 1
