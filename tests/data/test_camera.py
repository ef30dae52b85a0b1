"""Cameras: points of a plane known in advance, lenses there and back, sizes that fit and that do not."""

import numpy as np
import pytest

from mmadlib.data.camera import Camera, points_of, project, rays
from mmadlib.errors import DataError

IDEAL = Camera(500, 505, 30, 25, 64, 48)
BROWN = (0.1, -0.2, 0.001, -0.002, 0.05)
AZURE = (6.084, 4.3755, 6.5e-5, -5.53e-5, 0.2362, 6.4087, 6.4183, 1.2203)  # a real calibration's size of numbers
LENSES = [("brown", BROWN[:4]), ("brown", BROWN), ("brown", AZURE), ("inverse", BROWN),
          ("fisheye", (0.01, 0.002, -0.001, 3e-4))]
WIDE = Camera(50, 52, 30, 25, 64, 48)


def pixels(camera):
    return np.stack(np.meshgrid(np.arange(camera.width), np.arange(camera.height)), -1)


def test_a_tilted_plane_comes_back():
    """n . p = 0.5 is cut by the ray (x, y, 1) at depth 0.5 / n . (x, y, 1)."""
    normal = np.array([0.3, -0.2, 1.0])
    u, v = np.moveaxis(pixels(IDEAL), -1, 0)
    ray = np.dstack([(u - 30) / 500, (v - 25) / 505, np.ones(u.shape)])
    xyz = points_of((0.5 / (ray @ normal)).astype(np.float32), IDEAL)
    assert xyz.dtype == np.float32 and xyz.shape == (48, 64, 3)
    assert np.abs(xyz @ normal - 0.5).max() < 1e-6
    assert xyz[25, 40, 0] == pytest.approx(10 / 500 * xyz[25, 40, 2])
    assert xyz[35, 30, 1] == pytest.approx(10 / 505 * xyz[35, 30, 2])


def test_what_was_not_measured_is_zero_and_points_on_the_axes_stay():
    depth = np.full((48, 64), 0.4, np.float32)
    depth[0, :5] = 0, np.nan, np.inf, -1, -np.inf
    xyz = points_of(depth, IDEAL)
    assert not xyz[0, :5].any() and (xyz != 0).all(-1).sum() == 48 * 64 - 5
    assert xyz[25, 30] == pytest.approx([0, 0, 0.4], abs=1e-9)  # the principal point


@pytest.mark.parametrize(("model", "lens"), LENSES)
def test_a_lens_there_and_back(model, lens):
    camera = Camera(50, 52, 30, 25, 64, 48, lens, model)
    xyz = points_of(np.full((48, 64), 0.7, np.float32), camera)
    assert xyz[..., 2] == pytest.approx(0.7, abs=1e-6)
    assert np.abs(project(xyz.reshape(-1, 3).astype(float), camera).reshape(48, 64, 2) - pixels(camera)).max() < 1e-4
    assert np.abs(rays(camera) - rays(WIDE)).max() > 0.001  # the lens does something


def test_numbers_of_a_lens_by_hand():
    """k1 = 0.1 moves x = 0.2 to 0.2 (1 + 0.1 * 0.04) = 0.2008; the inverse model moves the stored 0.2 there."""
    point = np.array([[0.2, 0, 1.0]])
    assert project(point, Camera(100, 100, 50, 40, 100, 80, (0.1, 0, 0, 0)))[0] == pytest.approx([70.08, 40])
    assert rays(Camera(100, 100, 50, 40, 100, 80, (0.1, 0, 0, 0), "inverse"))[40, 70] == pytest.approx([0.2008, 0])
    theta = np.arctan(0.2)  # fisheye: the angle, not its tangent
    assert project(point, Camera(100, 100, 50, 40, 100, 80, (0.1, 0, 0, 0), "fisheye"))[0] == pytest.approx(
        [50 + 100 * (theta + 0.1 * theta**3), 40])


def test_what_a_camera_cannot_see_is_not_projected():
    points = np.array([[0, 0, -1.0], [0, 0, 0], [10, 0, 1.0], [0.1, 0, 1.0]])  # behind, within, far outside, in view
    seen = project(points, Camera(50, 52, 30, 25, 64, 48, BROWN))
    assert np.isfinite(seen).all(1).tolist() == [False, False, False, True]


def test_rays_beyond_the_reach_of_a_calibration_are_invalid():
    camera = Camera(50, 52, 30, 25, 64, 48, reach=0.3)
    valid = points_of(np.ones((48, 64), np.float32), camera).any(-1)
    assert valid[25, 30 + 15] and not valid[25, 30 + 16] and valid[25 + 15, 30] and not valid[25 + 16, 30]


def test_depth_beyond_the_fold_of_a_lens_is_invalid():
    """With k1 = -0.3, x (1 - 0.3 x^2) never exceeds 0.703: no ray falls farther out."""
    camera = Camera(50, 50, 31.5, 23.5, 64, 48, (-0.9, 0, 0, 0))
    valid = points_of(np.ones((48, 64), np.float32), camera).any(-1)
    radius = np.linalg.norm((pixels(camera) - (31.5, 23.5)) / 50, axis=-1)
    edge = 2 / 3 * np.sqrt(1 / 2.7)
    assert valid[radius < 0.95 * edge].all() and not valid[radius > edge].any()


def test_sizes():
    half = IDEAL.of_size(24, 32, scaled=True)
    assert (half.fx, half.fy, half.cx, half.cy) == (250, 252.5, 14.75, 12.25)
    assert IDEAL.of_size(48, 64) is IDEAL
    assert rays(half)[3, 4] == pytest.approx(rays(IDEAL)[6:8, 8:10].mean((0, 1)))  # the middle of the four pixels
    with pytest.raises(DataError, match=r"64 x 48 pixels, these have 32 x 24, 1/2 times the size; give scaled=True"):
        points_of(np.ones((24, 32), np.float32), IDEAL)
    for scaled in (False, True):
        with pytest.raises(DataError, match="a part was cut out"):
            IDEAL.of_size(48, 48, scaled=scaled)
    unknown = Camera(500, 500, 30, 25, source="cam.json")
    assert unknown.of_size(48, 64).width == 64
    with pytest.raises(DataError, match=r"cam.json: .*\(30, 25\), far from the middle of a picture of 640 x 480"):
        unknown.of_size(480, 640)


@pytest.mark.parametrize(("values", "message"), [
    ({"fx": 0}, "focal lengths 0, 500; both must be positive"), ({"fy": -500}, "focal lengths 500, -500"),
    ({"fx": 0.49}, "not pixels"), ({"cx": np.nan}, "NaN"), ({"distortion": (0.1, 0.2, 0.3)}, "3 coefficients"),
    ({"distortion": (1.0,) * 5, "model": "fisheye"}, "5 coefficients"), ({"model": "ftheta"}, "lens of the kind 'ftheta'"),
    ({"depth_scale": 0.0}, "depth scale 0"), ({"width": -1}, "-1 x 0 pixels")])
def test_impossible_cameras(values, message):
    with pytest.raises(DataError, match=f"(?s)camera: .*{message}"):
        Camera(**{"fx": 500, "fy": 500, "cx": 30, "cy": 25} | values)
