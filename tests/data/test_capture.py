"""Samples stored as a depth camera stores them come back as they were, to half a step."""

import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from mmadlib.data.camera import Camera, points_of
from mmadlib.data.convert.capture import capture, depth_steps, mvtec_camera
from mmadlib.errors import DataError, OutputError
from mmadlib.sample import Sample

STEP = 1e-4
CAMERA = Camera(60.0, 60.0, 19.75, 15.75, width=40, height=32, depth_scale=STEP)


@pytest.fixture
def sample():
    rng = np.random.default_rng(0)
    depth = rng.uniform(0.4, 0.5, (32, 40)).astype(np.float32)
    depth[3:6, 7:11] = 0
    rgb = np.full((32, 40, 3), (200, 90, 30), np.uint8)
    return Sample(rgb, points_of(depth, CAMERA))


def test_depth_comes_back_to_half_a_step(sample, tmp_path):
    written = capture([sample, sample], tmp_path / "out", CAMERA)
    assert sorted(p.relative_to(tmp_path / "out").as_posix() for p in (tmp_path / "out").rglob("*.*")) == [
        "camera.json", "depth/000.png", "depth/001.png", "rgb/000.jpg", "rgb/001.jpg"]
    steps = np.array(Image.open(tmp_path / "out/depth/001.png"))
    assert steps.dtype == np.uint16 and (steps[3:6, 7:11] == 0).all()
    again = points_of((steps * STEP).astype(np.float32), CAMERA)
    assert ((again != 0).all(-1) == sample.valid).all()
    assert np.abs(again - sample.xyz)[..., 2].max() <= STEP / 2 + 1e-6
    told = json.loads(written.read_text())
    assert (told["fx"], told["ppx"], told["depth_scale"], told["width"]) == (60.0, 19.75, STEP, 40)
    rgb = np.array(Image.open(tmp_path / "out/rgb/000.jpg")).astype(int)
    assert np.abs(rgb - (200, 90, 30)).max() <= 3


def test_another_camera_is_refused(sample):
    with pytest.raises(DataError, match="pixels off the camera's rays"):
        depth_steps(sample, replace(CAMERA, cx=22.0))
    with pytest.raises(DataError, match="the depth scale None"):
        depth_steps(sample, replace(CAMERA, depth_scale=None))
    with pytest.raises(DataError, match="40 x 32 pixels, the camera 41 x 32"):
        depth_steps(sample, replace(CAMERA, width=41))
    with pytest.raises(DataError, match="more than 65535 steps"):
        depth_steps(sample, replace(CAMERA, depth_scale=1e-6))


def test_a_place_that_cannot_be_written(sample, tmp_path):
    (tmp_path / "out").write_text("a file")
    with pytest.raises(OutputError, match="cannot be written"):
        capture([sample], tmp_path / "out", CAMERA)


def test_the_calibration_of_mvtec(tmp_path):
    told = {"focus": 0.0152, "sx": 1.8e-5, "sy": 1.9e-5, "cx": 111.75, "cy": 110.0, "kappa": 0.0, "image_width": 224,
            "image_height": 200}
    path = tmp_path / "camera_parameters.json"
    path.write_text(json.dumps(told))
    found = mvtec_camera(path, 1e-4)
    assert (found.fx, found.fy) == (0.0152 / 1.8e-5, 0.0152 / 1.9e-5)
    assert (found.cx, found.cy, found.width, found.height, found.depth_scale) == (111.75, 110.0, 224, 200, 1e-4)
    for wrong, said in (({"sx": 0}, "is no calibration"), ({"focus": "far"}, "is no calibration"), ({"kappa": 2.0}, "bends")):
        path.write_text(json.dumps(told | wrong))
        with pytest.raises(DataError, match=said):
            mvtec_camera(path)
