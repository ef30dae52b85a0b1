"""Clouds are looked at once before they are believed; what a good scan shows is never suspected."""

import json

import numpy as np
import pytest
from layouts import picture, table, tiff
from stored_scans import CAMERA, SIZE, rays, scan

from mmadlib.data.clouds import read_cloud
from mmadlib.data.reading import Reading
from mmadlib.errors import DataError, SettingsError, UnknownName

GOOD = scan()
VALID = GOOD.any(-1)


def read(tmp_path, xyz, **reading):
    return read_cloud(tiff(tmp_path / "a.tiff", xyz.astype(np.float32)), Reading(**reading))


def marked(value, rays_too=False):
    place = np.dstack([rays() * value, np.full(SIZE, value)]) if rays_too else np.full(3, value)
    return np.where(VALID[..., None], GOOD, place).astype(np.float32)


@pytest.mark.parametrize("value", [-1, -32.768, 65.535, -9999, 2.5, 0.01])
@pytest.mark.parametrize("on_rays", [False, True])
def test_a_marker_is_named_and_taken_when_declared(tmp_path, value, on_rays):
    with pytest.raises(DataError, match=rf"a\.tiff: .*looks like a marker .*; give invalid={value:g} \(or"):
        read(tmp_path, marked(value, on_rays))
    xyz, valid = read(tmp_path, marked(value, on_rays), invalid=value)
    assert (valid == VALID).all() and (xyz == GOOD).all()


def test_several_markers_and_none(tmp_path):
    two = marked(-1)
    two[:4, :4] = 2.5
    with pytest.raises(DataError, match=r"give invalid=\[-1, 2.5\]"):
        read(tmp_path, two)
    with pytest.raises(DataError, match=r"give invalid=\[2.5, -1\]"):
        read(tmp_path, two, invalid=2.5)
    assert (read(tmp_path, two, invalid=[2.5, -1])[1] == VALID).all()
    assert read(tmp_path, marked(2.5), invalid="none")[1].all()


def test_a_few_points_at_one_far_place_are_a_marker_and_stray_points_are_none(tmp_path):
    xyz = GOOD.copy()
    xyz[20, 20:23] = 65.535
    with pytest.raises(DataError, match=r"3 of .* points .*at \(65\.535, 65\.535, 65\.535\)"):
        read(tmp_path, xyz)
    xyz[20, 20:23, 2] = (3, 3.1, 2.9)
    assert read(tmp_path, xyz)[1][20, 20:23].all()


def test_points_at_the_camera_itself_are_not_measured(tmp_path):
    xyz = GOOD.copy()
    xyz[~VALID] = [1, 2, 0]
    assert (read(tmp_path, xyz)[1] == VALID).all()


def test_a_centred_cloud_keeps_its_middle(tmp_path):
    xyz = GOOD - [*GOOD[20, 28, :2], 0]
    xyz[~VALID] = 0
    xyz[20, :, 1], xyz[:, 28, 0] = 0, 0
    got, valid = read(tmp_path, xyz)
    assert (valid == VALID).all() and ((got != 0).all(-1) == VALID).all() and np.abs(got - xyz).max() < 1e-6
    xyz[5, 28], xyz[30, 28, 2] = 0, np.nan
    assert read(tmp_path, xyz)[1].sum() == VALID.sum() - 1 - VALID[5, 28]


@pytest.mark.parametrize(("unit", "factor"), [("mm", 1000), ("cm", 100), ("um", 1e6)])
def test_the_unit_is_named_and_taken_when_declared(tmp_path, unit, factor):
    stored = GOOD * factor
    with pytest.raises(DataError, match=rf'does not look like metres .* rather like {unit}: .*; give units="{unit}"'):
        read(tmp_path, stored)
    for said in (unit, "auto"):
        assert np.allclose(read(tmp_path, stored, units=said)[0], GOOD, atol=1e-6)
    assert np.allclose(read(tmp_path, stored, units="m")[0], stored)
    with pytest.raises(DataError, match=r"does not look like .*leave units out"):
        read(tmp_path, GOOD, units=unit)


def test_whole_numbers_need_their_unit(tmp_path):
    path = tiff(tmp_path / "a.tiff", np.round(GOOD * 1000).astype(np.int16))
    with pytest.raises(DataError, match=r'int16 values; .*give units="mm"'):
        read_cloud(path)
    assert np.abs(read_cloud(path, Reading(units="mm"))[0] - GOOD).max() < 6e-4


AXES = {"y up, z backward": ("x,-y,-z", lambda p: p * [1, -1, -1]), "x to the left": ("-x,y,z", lambda p: p * [-1, 1, 1]),
        "upside down": ("-x,-y,z", lambda p: p * [-1, -1, 1]), "z backward": ("x,y,-z", lambda p: p * [1, 1, -1]),
        "swapped": ("y,x,z", lambda p: p[..., [1, 0, 2]]), "x forward": ("-y,-z,x", lambda p: p[..., [2, 0, 1]] * [1, -1, -1])}


@pytest.mark.parametrize("kind", AXES)
@pytest.mark.parametrize("with_table", [False, True])
def test_other_axes_are_named_and_taken_when_declared(tmp_path, kind, with_table):
    axes, turn = AXES[kind]
    good = scan(table=with_table)
    with pytest.raises(DataError, match=rf'axes are not those of a camera .*; give axes="{axes}"'):
        read(tmp_path, turn(good))
    assert np.allclose(read(tmp_path, turn(good), axes=axes)[0], good)
    assert np.allclose(read(tmp_path, turn(good), axes="x,y,z")[0], turn(good))


def test_all_that_is_seen_is_said_at_once(tmp_path):
    stored = np.where(VALID[..., None], GOOD * [1000, -1000, -1000], -9999.0)
    with pytest.raises(DataError, match=r'give invalid=-9999 .* and units="mm" .* and axes="x,-y,-z"'):
        read(tmp_path, stored)
    assert np.allclose(read(tmp_path, stored, invalid=-9999, units="mm", axes="x,-y,-z")[0], GOOD, atol=1e-6)


def tilted(degrees):
    a = np.radians(degrees)
    xyz = scan(table=True)
    return (xyz - [0, 0, 0.4]) @ np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]]) + [0, 0, 0.4]


def quantised():
    xyz = scan(table=True)
    xyz[..., 2] = np.round(xyz[..., 2], 3)
    return xyz


def steps():
    """A flat part on a flat table, no noise: two values of z in all."""
    xyz = table(SIZE, bump=0)
    xyz[10:30, 10:40, 2] -= 0.02
    return xyz


def near_and_wide():
    """A part that takes half the way to the camera, on a table without noise."""
    xyz = scan(table=True) * [6, 6, 0.6]
    xyz[:8] = rays()[:8, :, [0, 1, 1]] * 0.4
    xyz[:8, :, 2] = 0.4
    return xyz


def height_map():
    v, u = np.mgrid[: SIZE[0], : SIZE[1]] * 1e-3
    return np.dstack([u, v, 0.004 * np.sin(100 * u) * np.cos(80 * v)])


ON_TABLE = scan(table=True)
UNSUSPICIOUS = {"an isolated part": GOOD, "on a table": ON_TABLE, "a table without noise": table(SIZE), "steps": steps(),
                "near and wide": near_and_wide(),
                "depth in steps of 1 mm": quantised(), "a height map": height_map(), "seen at a slant": tilted(50),
                "a macro": GOOD / 20, "a car's door": ON_TABLE * 5, "enlarged": ON_TABLE.repeat(4, 0).repeat(4, 1)}


@pytest.mark.parametrize("name", UNSUSPICIOUS)
def test_good_scans_are_not_suspected(tmp_path, name):
    xyz, valid = read(tmp_path, UNSUSPICIOUS[name])
    assert (valid == UNSUSPICIOUS[name].any(-1)).all() and np.allclose(xyz, UNSUSPICIOUS[name], atol=1e-7)


def test_hardly_a_valid_point_is_a_warning(tmp_path):
    xyz = np.zeros((200, 200, 3))
    xyz[90:98, 90:98] = scan(table=True)[:8, :8]
    with pytest.warns(UserWarning, match="only 64 of 40000 points are valid"):
        read(tmp_path, xyz)


def test_npy_without_pickle(tmp_path):
    np.save(tmp_path / "a.npy", GOOD.astype(np.float64))
    assert (read_cloud(tmp_path / "a.npy")[0] == GOOD).all()
    for array, fault in ((np.array([{}, 1], object), "can't be memory-mapped"), (GOOD.reshape(-1, 3), "list of points"),
                         (np.moveaxis(GOOD, -1, 0), r"store numpy\.moveaxis"), (GOOD[..., :2], r"shape \(40, 56, 2\)"),
                         (GOOD > 0, "bool values")):
        np.save(tmp_path / "a.npy", array)
        with pytest.raises(DataError, match=rf"a\.npy: .*({fault})"):
            read_cloud(tmp_path / "a.npy")
    (tmp_path / "a.npy").write_bytes(b"\x93NUMPY")
    with pytest.raises(DataError, match=r"a\.npy: is truncated or no \.npy array"):
        read_cloud(tmp_path / "a.npy")


def test_depth_without_a_camera_says_what_it_is(tmp_path):
    for path in (picture(tmp_path / "a.png", np.full(SIZE, 400, np.uint16)), tiff(tmp_path / "a.tiff", GOOD[..., 2])):
        with pytest.raises(DataError, match=r"is a depth picture, .*give intrinsics=.* python -m mmadlib convert depth"):
            read_cloud(path)
    with pytest.raises(DataError, match="8 bits or fewer, no depth"):
        read_cloud(picture(tmp_path / "b.png", np.full(SIZE, 40, np.uint8)))


def test_depth_with_a_camera(tmp_path):
    camera = tmp_path / "camera.json"
    camera.write_text(json.dumps(CAMERA))
    steps = np.round(GOOD[..., 2] * 1e4).astype(np.uint16)
    png, exact = picture(tmp_path / "a.png", steps), tiff(tmp_path / "a.tiff", GOOD[..., 2])
    with pytest.raises(DataError, match=r"uint16 steps of depth, .*give depth_scale=0\.001"):
        read_cloud(png, Reading(intrinsics=camera))
    assert np.abs(read_cloud(png, Reading(intrinsics=camera, depth_scale=1e-4))[0] - GOOD).max() < 6e-5
    assert np.allclose(read_cloud(exact, Reading(intrinsics=camera))[0], GOOD, atol=1e-7)
    camera.write_text(json.dumps(CAMERA | {"depth_scale": 1e-4}))
    xyz, valid = read_cloud(png, Reading(intrinsics=camera))
    assert (valid == VALID).all() and np.abs(xyz - GOOD).max() < 6e-5
    np.save(tmp_path / "a.npy", GOOD[..., 2] * 1000)
    with pytest.raises(DataError, match='give units="mm"'):
        read_cloud(tmp_path / "a.npy", Reading(intrinsics=camera))
    assert np.allclose(read_cloud(tmp_path / "a.npy", Reading(intrinsics=camera, units="mm"))[0], GOOD, atol=1e-6)
    steps[steps == 0] = 65535  # the largest of 16 bits is none, as in convert depth; another value is asked about
    assert (read_cloud(picture(png, steps), Reading(intrinsics=camera))[1] == VALID).all()
    steps[steps == 65535] = 60000
    with pytest.raises(DataError, match=r"give invalid=60000 "):
        read_cloud(picture(png, steps), Reading(intrinsics=camera))
    assert (read_cloud(png, Reading(intrinsics=camera, invalid=60000))[1] == VALID).all()


def test_a_marker_is_looked_for_along_the_axis_of_depth(tmp_path):
    turned = marked(2.5)[..., [2, 0, 1]]  # x forward; -y and -z of it are a camera's x and y
    turned = turned * np.array([1, -1, -1], np.float32)
    assert (read(tmp_path, turned, invalid=2.5, axes="-y,-z,x")[1] == VALID).all()
    level = np.where(VALID[..., None], GOOD, 0)[..., [2, 0, 1]] * np.array([1, -1, -1], np.float32)
    height = float(level[VALID][0, 2])
    assert (read(tmp_path, level.astype(np.float32), invalid=height, axes="-y,-z,x")[1] == VALID).all()


@pytest.mark.parametrize(("given", "error"), [
    ({"units": "inch"}, UnknownName), ({"invalid": "minus one"}, SettingsError), ({"invalid": [1, "a"]}, SettingsError),
    ({"axes": "x,y"}, SettingsError), ({"axes": "x,x,z"}, SettingsError), ({"depth_scale": 0}, SettingsError),
    ({"orientation": "left"}, UnknownName), ({"masks": "grey"}, UnknownName), ({"resample": 2}, SettingsError),
    ({"isolated": "yes"}, SettingsError), ({"invalid": True}, SettingsError),
])
def test_a_reading_that_means_nothing(given, error):
    with pytest.raises(error, match=next(iter(given))):
        Reading(**given)
