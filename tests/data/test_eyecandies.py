import io
import logging

import numpy as np
import pytest
from layouts import SIZE, ball, eyecandies, picture
from PIL import Image
from recorded import RECORDED, assert_whole

from mmadlib.data import eyecandies_scene as scene
from mmadlib.data import load
from mmadlib.data.eyecandies import read_depth, read_pose
from mmadlib.errors import DataError, SettingsError

GOLDEN = RECORDED / "eyecandies.npz"


@pytest.fixture(scope="module")
def golden():
    return np.load(GOLDEN)


@pytest.fixture
def root(tmp_path):
    eyecandies(tmp_path)
    return tmp_path


def test_camera_points_equal_the_official_ones(golden, tmp_path):
    picture(tmp_path / "d.png", golden["small_depth_u16"])
    low, high = golden["small_bounds"]
    (tmp_path / "i.yaml").write_text(f"normalization:\n  max: {float(high)!r}\n  min: {float(low)!r}\n")
    depth = read_depth(tmp_path / "d.png", tmp_path / "i.yaml")
    assert_whole(scene.camera_points(depth)[depth > 0], golden["camera"], 1e-9)


def test_literature_conversion_equals_the_published_one(golden, root):
    code = np.array(Image.open(io.BytesIO(golden["depth512_u16_png"].tobytes())))
    low, high = map(float, golden["bounds512"])
    depth = (code.astype(np.float32) / 65535.0 * (high - low) + low).astype(np.float64)  # the script works in float32 here
    world = scene.world_points(depth, golden["pose512"])
    # one inverse of intrinsics times pose there: 1.4e-9 from ours
    assert_whole(world[::8, ::8], golden["points"], 2e-9)
    keep = scene.above_ground(world)
    published = np.unpackbits(golden["all_nonzero"]).astype(bool).reshape(512, 512)
    differ = np.nonzero(keep != published)[1]
    assert set(differ) <= {256}
    there = published[::8, ::8]
    assert np.abs(scene.literature_axes(world)[::8, ::8] - golden["out"])[there].max() < 1e-9
    data = root / "Lollipop" / "train" / "data"  # the same through the reader, whose depth is float64 and cloud float32
    for item in ("depth", "image_4"):
        picture(data / f"000_{item}.png", code if item == "depth" else np.zeros((512, 512, 3), np.uint8))
    (data / "000_info_depth.yaml").write_text(f"normalization:\n  max: {high!r}\n  min: {low!r}\n")
    np.savetxt(data / "000_pose.txt", golden["pose512"])
    sample = load("eyecandies", "Lollipop", "train", root=root, frame="literature")[0]
    assert set(np.nonzero(sample.valid != published)[1]) <= {256}
    assert np.abs(sample.xyz[::8, ::8] - golden["out"])[there].max() < 1e-7


def test_the_default_frame_is_the_cameras_in_metres(tmp_path):
    folder = eyecandies(tmp_path) / "train" / "data"
    picture(folder / "000_depth.png", np.full(SIZE, 65535, np.uint16))
    np.savetxt(folder / "000_pose.txt", [[0, -1, 0, 3], [1, 0, 0, 2], [0, 0, 1, 1], [0, 0, 0, 1]])
    sample = load("eyecandies", "Lollipop", "train", root=tmp_path, crop=False)[0]
    assert (sample.xyz[..., 2] == 2).all() and sample.isolated is False


def test_constant_depth_and_reprojection():
    points = scene.camera_points(np.full((60, 80), 1.7))
    assert (points[..., 2] == 1.7).all()
    v, u = np.mgrid[:60, :80]
    assert np.abs(points[..., 0] / 1.7 * scene.FOCAL_PX + 40 - u).max() < 1e-9
    assert np.abs(points[..., 1] / 1.7 * scene.FOCAL_PX + 30 - v).max() < 1e-9


def test_the_ground_rule_does_not_depend_on_the_tilt_of_the_camera():
    depth = ball()
    keep = scene.above_ground(scene.world_points(depth, np.eye(4)))
    angle, pose = 0.4, np.eye(4)
    pose[1:3, 1:3] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    pose[1:3, 3] = 0.3, -0.2
    assert 0 < keep.sum() < keep.size / 2
    assert (scene.above_ground(scene.world_points(depth, pose)) == keep).all()


def test_each_sample_has_its_own_depth_range(root):
    samples = load("eyecandies", "Lollipop", "train", root=root, frame="camera", crop=False)
    for sample in samples:  # ranges differ, the scene is the same
        assert np.abs(sample.xyz[..., 2] - ball()).max() < 1e-4
        assert sample.valid.all() and not sample.isolated


def test_flipped_bounds_shift_the_depth_as_the_formula_says(tmp_path):
    code = picture(tmp_path / "d.png", np.array([[0, 65535, 13107]] * 2, np.uint16))
    info = tmp_path / "i.yaml"
    info.write_text("normalization:\n  max: 3\n  min: 1\n")  # whole numbers, which the official package passes over
    assert np.allclose(read_depth(code, info)[0], [1, 3, 1.4])
    info.write_text("normalization:\n  max: 1\n  min: 3\n")
    assert np.allclose(read_depth(code, info)[0], [3, 1, 2.6])


def test_frames_and_ground_rule(root):
    camera, literature = (load("eyecandies", "Lollipop", "test", root=root, frame=f)[1] for f in ("camera", "literature"))
    assert (camera.valid == literature.valid).all() and 50 < camera.valid.sum() < camera.valid.size / 2
    assert camera.isolated is True and literature.isolated is True
    assert np.abs(camera.xyz[..., 2] - ball())[camera.valid].max() < 1e-4 and not camera.xyz[~camera.valid].any()
    assert np.allclose(literature.xyz, camera.xyz[..., [0, 2, 1]] * (0.1, -0.1, 0.1), atol=1e-6)  # pose is the identity
    assert camera.valid[:, SIZE[1] // 2].any() and camera.valid[SIZE[0] // 2].any()  # x = 0 and y = 0 are no holes


def test_lights(root):
    for light in (0, 4, 5):
        assert load("eyecandies", "Lollipop", "train", root=root, light=light)[0].rgb.max() == 40 * light
    with pytest.raises(SettingsError, match="pictures 0 to 5"):
        load("eyecandies", "Lollipop", "train", root=root, light=6)


def test_splits_and_labels(root):
    assert [len(load("eyecandies", "lollipop", split, root=root)) for split in ("train", "validation", "test")] == [3, 2, 3]
    test = load("eyecandies", "Lollipop", "test", root=root)
    assert [s.label for s in test] == [0, 1, 1] and [s.defect for s in test] == ["good", "bad", "bad"]
    assert [s.mask.sum() for s in test] == [0, 36, 36]
    assert [(s.extra["label_mask"], s.extra["label_metadata"], s.extra["kinds"]) for s in test] == [
        (0, 0, ()), (1, 1, ("dents",)), (1, 1, ("dents",))]
    assert test[1].modality == "unknown" and test[0].modality == "none"


def test_a_bad_sample_with_an_empty_mask_is_reported_not_dropped(root, caplog):
    picture(root / "Lollipop/test_public/data/02_mask.png", np.zeros(SIZE, np.uint8))
    with caplog.at_level(logging.WARNING):
        test = load("eyecandies", "Lollipop", "test", root=root)
    assert "disagree in 1 samples: 02_mask.png" in caplog.text
    assert len(test) == 3 and [e.defect for e in test.entries] == ["good", "bad", "good"]
    assert (test[2].extra["label_mask"], test[2].extra["label_metadata"]) == (0, 1)
    by_metadata = load("eyecandies", "Lollipop", "test", root=root, label_source="metadata")
    assert [e.defect for e in by_metadata.entries] == ["good", "bad", "bad"]


def test_a_scene_without_an_object_is_left_whole(root):
    for path in (root / "Lollipop/train/data").glob("*_depth.png"):
        picture(path, np.full(SIZE, 30000, np.uint16))
    sample = load("eyecandies", "Lollipop", "train", root=root, frame="camera")[0]
    assert not sample.isolated and sample.valid.all()
    assert np.ptp(sample.xyz[..., 2]) == 0


@pytest.mark.parametrize(("item", "message"), [("depth.png", "no matching depth file"), ("pose.txt", "no matching pose file"),
                                               ("info_depth.yaml", "no matching info_depth"), ("mask.png", "no matching mask"),
                                               ("image_4.png", "no matching image_4"), ("metadata.yaml", "matching metadata")])
def test_a_missing_item_is_named(root, item, message):
    (root / "Lollipop/test_public/data" / f"01_{item}").unlink()
    with pytest.raises(DataError, match=message):
        load("eyecandies", "Lollipop", "test", root=root)


@pytest.mark.parametrize(("item", "text", "message"), [
    ("info_depth.yaml", "normalization: 3\n", "lacks numbers"),
    ("info_depth.yaml", "normalization:\n  max: high\n  min: 1\n", "lacks numbers"),
    ("info_depth.yaml", "normalization:\n  max: .inf\n  min: 1\n", "lacks numbers"),
    ("info_depth.yaml", "a: [1", "is not YAML"),
    ("info_depth.yaml", "- 1\n", "no named values"),
    ("pose.txt", "1 0 0\n", "4x4"),
    ("pose.txt", "x y\n", "4x4"),
    ("pose.txt", "1 0 0 0\n0 1 0 0\n0 1 0 0\n0 0 0 1\n", "singular"),
    ("depth.png", "", "truncated"),
])
def test_faulty_items(root, item, text, message):
    (root / "Lollipop/train/data" / f"001_{item}").write_text(text)
    with pytest.raises(DataError, match=message):
        _ = load("eyecandies", "Lollipop", "train", root=root)[1]


def test_faulty_metadata(root):
    (root / "Lollipop/test_public/data/01_metadata.yaml").write_text("anomalous: maybe\n")
    with pytest.raises(DataError, match="says anomalous: 'maybe'"):
        load("eyecandies", "Lollipop", "test", root=root)


def test_unknown_switches(root):
    for switch in ({"frame": "camra"}, {"label_source": "masks"}):
        with pytest.raises(SettingsError, match="did you mean"):
            load("eyecandies", "Lollipop", "train", root=root, **switch)


def test_pose_is_read(tmp_path):
    np.savetxt(tmp_path / "p.txt", np.diag([1, 2, 3, 4]))
    assert (read_pose(tmp_path / "p.txt") == np.diag([1, 2, 3, 4])).all()
