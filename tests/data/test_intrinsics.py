"""Camera files of every kind give one camera; every fault is one error that names file, fault and remedy."""

import json

import numpy as np
import pytest
import yaml

from mmadlib.data.azure import MODES
from mmadlib.data.intrinsics import read_camera
from mmadlib.errors import DataError

K = [[610.5, 0, 321.25], [0, 612.25, 243.5], [0, 0, 1]]
FLAT = [v for row in K for v in row]
COLUMNS = [row[i] for i in range(3) for row in K]
NUMBERS = {"fx": 610.5, "fy": 612.25, "cx": 321.25, "cy": 243.5}
SIZE = {"width": 640, "height": 480}
LENS = [0.1, -0.2, 0.001, -0.002, 0.05]
REALSENSE = {"width": 640, "height": 480, "ppx": 321.25, "ppy": 243.5, "fx": 610.5, "fy": 612.25}
TURN = [[0.0, -1, 0], [1, 0, 0], [0, 0, 1]]  # a quarter turn about z: not its own inverse
SHIFT = [0.015, -0.002, 0.001]
MOVE = [[*row, t] for row, t in zip(TURN, SHIFT, strict=True)] + [[0, 0, 0, 1]]
INVERSE = np.linalg.inv(np.array(MOVE))
AZURE = [0.50127, 0.50320, 0.49252, 0.49258, 6.084, 4.3755, 0.2362, 6.4087, 6.4183, 1.2203, 0, 0, 6.5e-5, -5.53e-5]

OPENCV = """%YAML:1.0
---
calibration_time: "Mon 02 Jun 2025"
image_width: 640
image_height: 480
camera_matrix: !!opencv-matrix
   rows: 3
   cols: 3
   dt: d
   data: [ 6.105e+02, 0., 3.2125e+02, 0., 6.1225e+02, 2.435e+02, 0., 0., 1. ]
distortion_coefficients: !!opencv-matrix
   rows: 1
   cols: 5
   dt: d
   data: [ 0.1, -0.2, 0.001, -0.002, 0.05 ]
"""
ROS = {"image_width": 640, "image_height": 480, "camera_name": "head", "camera_matrix": {"rows": 3, "cols": 3, "data": FLAT},
       "distortion_model": "plumb_bob", "distortion_coefficients": {"rows": 1, "cols": 5, "data": LENS},
       "rectification_matrix": {"rows": 3, "cols": 3, "data": [1, 0, 0, 0, 1, 0, 0, 0, 1]},
       "projection_matrix": {"rows": 3, "cols": 4, "data": [600.0, 0, 320, 0, 0, 601, 240, 0, 0, 0, 1, 0]}}
MESSAGE = {"header": {"frame_id": "depth"}, "height": 480, "width": 640, "distortion_model": "rational_polynomial",
           "D": [*LENS, 0.1, 0.2, 0.3], "K": FLAT, "R": [1, 0, 0, 0, 1, 0, 0, 0, 1],
           "P": ROS["projection_matrix"]["data"], "binning_x": 0, "binning_y": 0, "roi": {"x_offset": 0, "y_offset": 0}}


def put(tmp_path, values, name="cam.json"):
    path = tmp_path / name
    dump = json.dumps if name.endswith(".json") else yaml.safe_dump
    path.write_text(values if isinstance(values, str) else dump(values))
    return path


@pytest.mark.parametrize("values", [
    NUMBERS, {"K": K}, {"k": FLAT}, {"camera_matrix": K}, {"cameraMatrix": FLAT}, {"cam_K": FLAT},
    {"intrinsic_matrix": COLUMNS}, {"intrinsic_matrix": K}, {"intrinsics": [610.5, 612.25, 321.25, 243.5]},
    {"intrinsics": NUMBERS}, {"depth": {"K": K}},
    {"focal_length": [610.5, 612.25], "principal_point": [321.25, 243.5]}, {"cameras": [{"name": "left", **NUMBERS}]},
    {"sensor": {"depth": {"intrinsics": {"K": K}}}}])
@pytest.mark.parametrize("name", ["cam.json", "cam.yaml"])
def test_the_numbers_in_every_spelling(tmp_path, values, name):
    camera = read_camera(put(tmp_path, values, name))
    assert (camera.fx, camera.fy, camera.cx, camera.cy) == (610.5, 612.25, 321.25, 243.5)
    assert (camera.width, camera.height, camera.distortion, camera.depth_scale) == (0, 0, (), None)


@pytest.mark.parametrize(("values", "name", "lens"), [
    (OPENCV, "cam.yml", LENS), (ROS, "cam.yaml", LENS), (yaml.safe_dump(ROS) + "---\n", "echo.yaml", LENS),
    (MESSAGE, "info.json", [*LENS, 0.1, 0.2, 0.3]),
    (REALSENSE | {"model": "distortion.brown_conrady", "coeffs": LENS}, "rs.json", LENS),
    (REALSENSE | {"model": "Inverse Brown Conrady", "coeffs": [0.0] * 5}, "rs.json", []),
    ({"intrinsic_matrix": COLUMNS, **SIZE}, "open3d.json", []),
    ({**NUMBERS, **SIZE, "k1": 0.1, "k2": -0.2, "p1": 0.001, "p2": -0.002, "k3": 0.05}, "cam.json", LENS),
    ({**NUMBERS, **SIZE, "distortion": {"model": "plumb_bob", "coefficients": LENS}}, "cam.json", LENS),
    ({"camera_matrix": {"type_id": "opencv-matrix", "rows": 3, "cols": 3, "dt": "d", "data": FLAT}, **SIZE}, "cv.json", []),
    ({"cam0": {"camera_model": "pinhole", "intrinsics": [610.5, 612.25, 321.25, 243.5], "distortion_model": "radtan",
               "distortion_coeffs": LENS[:4], "resolution": [640, 480]}}, "kalibr.yaml", LENS[:4])])
def test_files_as_programs_write_them(tmp_path, values, name, lens):
    camera = read_camera(put(tmp_path, values, name), size=(480, 640))
    assert (camera.fx, camera.fy, camera.cx, camera.cy) == (610.5, 612.25, 321.25, 243.5)
    assert (camera.width, camera.height, camera.distortion, camera.model) == (640, 480, tuple(lens), "brown")


@pytest.mark.parametrize(("name", "coefficients", "model", "kept"), [
    ("equidistant", [0.1, 0.2, 0.3, 0.4], "fisheye", 4), ("distortion.kannala_brandt4", [0.1, 0.2, 0.3, 0.4, 0], "fisheye", 4),
    ("inverse_brown_conrady", LENS, "inverse", 5), ("modified_brown_conrady", [0.1, 0.2, 0, 0, 0.3], "brown", 5),
    ("rational_polynomial", [*LENS, 1, 2, 3, 0, 0, 0, 0, 0, 0], "brown", 8)])
def test_lenses_by_name(tmp_path, name, coefficients, model, kept):
    camera = read_camera(put(tmp_path, {**NUMBERS, "distortion_model": name, "D": coefficients}))
    assert camera.model == model and camera.distortion == tuple(coefficients[:kept])


def test_a_rectified_picture_has_the_projection_and_no_lens(tmp_path):
    camera = read_camera(put(tmp_path, ROS, "cam.yaml"), rectified=True)
    assert (camera.fx, camera.fy, camera.cx, camera.cy, camera.distortion) == (600, 601, 320, 240, ())


@pytest.mark.parametrize(("entry", "scale"), [({"depth_scale": 0.001}, 1e-3), ({"depth_units": 0.0001}, 1e-4),
                                              ({"depth_scale": 1000}, 1e-3), ({"depth_scale": 5000.0}, 2e-4), ({}, None)])
def test_depth_scale(tmp_path, entry, scale):
    assert read_camera(put(tmp_path, NUMBERS | entry)).depth_scale == scale
    assert read_camera(put(tmp_path, {"depth": NUMBERS, **entry})).depth_scale == scale  # beside the cameras
    assert read_camera(put(tmp_path, NUMBERS | {"depth_scale": 1.0}), depth_scale=0.002).depth_scale == 0.002


def test_one_of_several(tmp_path):
    both = put(tmp_path, {"depth": {**NUMBERS, "fx": 500}, "color": {**NUMBERS, "fx": 900}, "depth_scale": 0.001})
    assert (read_camera(both).fx, read_camera(both, role="colour").fx, read_camera(both, "COL").fx) == (500, 900, 900)
    assert read_camera(both).name == "depth"
    two = put(tmp_path, {"one": NUMBERS, "two": NUMBERS}, "two.json")
    with pytest.raises(DataError, match=r"two.json: holds several cameras: 'one', 'two'; name one: camera="):
        read_camera(two)
    with pytest.raises(DataError, match="no camera 'three': 'one', 'two'"):
        read_camera(two, "three")


@pytest.mark.parametrize(("place", "wanted"), [
    ({"extrinsics": MOVE}, MOVE), ({"extrinsics": [v for row in np.array(MOVE).T.tolist() for v in row]}, MOVE),
    ({"depth_to_color": {"rotation": TURN, "translation": SHIFT}}, MOVE),
    ({"depth_to_color": {"rotation": [v for row in TURN for v in row], "translation": SHIFT}}, MOVE),
    ({"color_to_depth": MOVE}, INVERSE), ({"T_cn_cnm1": MOVE}, MOVE)])
def test_where_the_colour_camera_is(tmp_path, place, wanted):
    path = put(tmp_path, {"depth": NUMBERS, "color": NUMBERS, **place})
    assert np.allclose(read_camera(path, role="colour").extrinsics, wanted)
    assert read_camera(path).extrinsics is None


def test_realsense_writes_rotations_by_column(tmp_path):
    """librealsense, rs2_extrinsics: "Column-major 3x3 rotation matrix"."""
    place = {"rotation": [v for row in np.array(TURN).T.tolist() for v in row], "translation": SHIFT}
    path = put(tmp_path, {"depth": REALSENSE, "color": REALSENSE, "extrinsics": place})
    assert np.allclose(read_camera(path, role="colour").extrinsics, MOVE)


def test_opencv_stereo_calibration(tmp_path):
    matrix = [[700, 0, 320], [0, 701, 240], [0, 0, 1]]
    path = put(tmp_path, {"M1": K, "D1": LENS, "M2": matrix, "D2": [], "R": TURN, "T": SHIFT})
    first, second = read_camera(path, "1"), read_camera(path, "2", role="colour")
    assert (first.fx, first.distortion, first.extrinsics) == (610.5, tuple(LENS), None)
    assert (second.fx, second.distortion) == (700, ()) and np.allclose(second.extrinsics, MOVE)


def azure(tmp_path, **changes):
    camera = {"Intrinsics": {"ModelParameterCount": 14, "ModelParameters": AZURE,
                             "ModelType": "CALIBRATION_LensDistortionModelBrownConrady"}, "MetricRadius": 1.74,
              "Rt": {"Rotation": [v for row in TURN for v in row], "Translation": SHIFT}}
    sensors = {"Depth": {"SensorWidth": 1024, "SensorHeight": 1024}, "PhotoVideo": {"SensorWidth": 4096, "SensorHeight": 3072}}
    cameras = [{"Purpose": f"CALIBRATION_CameraPurpose{name}"} | camera | sides | changes for name, sides in sensors.items()]
    return put(tmp_path, json.dumps({"CalibrationInformation": {"Cameras": cameras, "InertialSensors": []}}) + "\0")


def test_azure_kinect(tmp_path):
    path = azure(tmp_path)
    camera = read_camera(path, size=(576, 640))
    assert (camera.fx, camera.fy) == pytest.approx((0.49252 * 1024, 0.49258 * 1024))
    assert (camera.cx, camera.cy) == pytest.approx((0.50127 * 1024 - 192 - 0.5, 0.50320 * 1024 - 180 - 0.5))
    assert camera.distortion == (6.084, 4.3755, -5.53e-5, 6.5e-5, 0.2362, 6.4087, 6.4183, 1.2203)  # k1 k2 p1 p2 k3 ... k6
    assert (camera.reach, camera.depth_scale) == (1.74, 0.001) and np.allclose(camera.extrinsics, MOVE)
    colour = read_camera(path, role="colour", size=(720, 1280))
    assert (colour.fx, colour.cy) == pytest.approx((0.49252 * 1280, 0.50320 * 960 - 120 - 0.5)) and colour.depth_scale is None
    assert (read_camera(path).width, read_camera(path, role="colour").width) == (1024, 4096)
    assert len(MODES["depth"]) == 4 and read_camera(path, size=(288, 320)).cx == pytest.approx(0.50127 * 512 - 96 - 0.5)
    with pytest.raises(DataError, match=r"no depth pictures of 641 x 480 pixels; its modes have 320 x 288"):
        read_camera(path, size=(480, 641))
    with pytest.raises(DataError, match="has no Intrinsics"):
        read_camera(azure(tmp_path, Intrinsics=None))
    with pytest.raises(DataError, match="no depth and no colour camera"):
        read_camera(azure(tmp_path, Purpose="else"))


def test_an_old_calibration_of_the_azure_kinect_describes_the_middle_of_the_colour_sensor(tmp_path):
    path = azure(tmp_path, SensorHeight=2304, SensorWidth=4096)
    camera = read_camera(path, role="colour", size=(2160, 3840))
    assert (camera.fx, camera.fy) == pytest.approx((0.49252 * 3840, 0.49258 * 2304 / 3072 * 2880))
    assert camera.cy == pytest.approx((0.50320 * 2304 + 384) / 3072 * 2880 - 360 - 0.5)


@pytest.mark.parametrize(("values", "message"), [
    ({}, "holds no focal length and no camera matrix, but nothing; give a JSON or YAML file with fx, fy"),
    ({"param-depthunits": 1000}, "but param-depthunits"), ([1, 2], "no named values"),
    ({"fx": 500, "fy": 500}, "no principal point; give cx and cy"), (NUMBERS | {"fx": -1}, "focal lengths -1, 612.25"),
    (NUMBERS | {"fx": 0.95, "fy": 1.27}, "not pixels; give pixels: fx, cx times the width"),
    (NUMBERS | {"fx": "a"}, "fx is 'a'"),
    ({"K": [0] * 9}, "ends neither by row nor by column"), ({"K": [0] * 8 + [1]}, "focal lengths 0, 0"),
    ({"K": FLAT[:8]}, "has 8 numbers; a 3 x 3 matrix has 9"), ({"K": [[500, 5, 320], *K[1:]]}, "has skew 5"),
    (NUMBERS | {"D": LENS, "model": "ftheta"}, "lens of the kind 'ftheta'"),
    (NUMBERS | {"D": LENS, "model": "modified_brown_conrady"}, "tangential coefficients"),
    (NUMBERS | {"D": LENS[:3]}, "3 coefficients"), (NUMBERS | {"depth_scale": 1.0}, "depth scale is 1, neither metres"),
    (NUMBERS | {"width": 640.5, "height": 480}, "two whole numbers"), (NUMBERS | {"binning_x": 2}, "binned or cut out"),
    (NUMBERS | {"roi": {"x_offset": 8}}, "binned or cut out"), ({"K": K, "k": K}, "two entries of one name"),
    (NUMBERS | {"extrinsics": {"rotation": TURN, "translation": [15.0, 0, 0]}}, "moves by 15 m; .*not millimetres"),
    (NUMBERS | {"extrinsics": {"rotation": [[2.0, 0, 0], [0, 1, 0], [0, 0, 1]], "translation": SHIFT}}, "no rotation"),
    (NUMBERS | {"extrinsics": {"rotation": TURN}}, "no rotation and translation")])
def test_faults_name_file_fault_and_remedy(tmp_path, values, message):
    with pytest.raises(DataError, match=rf"cam.json: .*{message}"):
        read_camera(put(tmp_path, values), role="colour")


@pytest.mark.parametrize(("name", "text", "message"), [
    ("cam.xml", "<opencv_storage/>", "no JSON or YAML by its name; give a JSON or YAML"), ("cam.json", "{", "is not JSON"),
    ("cam.yaml", "fx: !!python/object/apply:os.system [ls]", "would make an object"), ("cam.yaml", "fx: [", "is not YAML"),
    ("cam.yaml", "a: 1\n" + "#" * 2**20, "bytes, more than")])
def test_texts_that_are_no_camera(tmp_path, name, text, message):
    with pytest.raises(DataError, match=f"(?s){name}: .*{message}"):
        read_camera(put(tmp_path, text, name))
    with pytest.raises(DataError, match="does not exist"):
        read_camera(tmp_path / "no.json")


def test_other_sizes(tmp_path):
    path = put(tmp_path, NUMBERS | SIZE)
    with pytest.raises(DataError, match=r"cam.json: is of pictures of 640 x 480 pixels, these have 320 x 240, 1/2 times"):
        read_camera(path, size=(240, 320))
    assert read_camera(path, size=(240, 320), scaled=True).fx == 610.5 / 2
    with pytest.raises(DataError, match="no projection matrix P"):
        read_camera(path, rectified=True)
