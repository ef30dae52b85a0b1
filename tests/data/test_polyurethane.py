"""Polyurethane cutting edges: official layout, conversion of scans, and 3D-only use down to a method."""

import json
import os

import numpy as np
import open3d as o3d
import pytest
from layouts import snapshot
from samples import HAND_MADE
from sklearn.ensemble import IsolationForest
from sklearn.model_selection import train_test_split
from sklearn.neighbors import LocalOutlierFactor

from mmadlib.__main__ import main
from mmadlib.data import categories, load
from mmadlib.data.convert import polyurethane as converter
from mmadlib.data.convert.ply import read_ply
from mmadlib.data.convert.polyurethane import Rules, chunks, convert, outliers, scale, split
from mmadlib.errors import DataError, MissingModality, SettingsError, UnknownName
from mmadlib.features import Extractor, extract, extract_all
from mmadlib.methods import Nearest

PART = "cutting_edges"


def surface(n: int, seed: int = 0, side: int = 96) -> np.ndarray:
    """n points of a wavy edge in raster order, float32 (n, 3), millimetres."""
    i, rng = np.arange(n), np.random.default_rng(seed)
    u, v = i % side, i // side
    return np.stack([u * 0.1, v * 0.1, np.sin(u / 9) + rng.normal(0, 0.01, n)], -1).astype(np.float32)


def official(root, train=3, labels=(0, 1), points=9216):
    """The five files as the official script leaves them: float32, uint8."""
    root.mkdir(parents=True, exist_ok=True)
    side = round(points**0.5)
    masks = np.zeros((len(labels), points), np.uint8)
    masks[np.array(labels) == 1, 40 * side:41 * side] = 1
    np.save(root / "train.npy", scale(np.stack([surface(points, s, side) for s in range(train)])))
    test = np.stack([surface(points, 50 + s, side) for s in range(len(labels))])
    test[..., 2] += 4 * masks
    np.save(root / "test.npy", scale(test))
    np.save(root / "test_label.npy", np.array(labels, np.uint8))
    np.save(root / "train_gtmask.npy", np.zeros((train, points), np.uint8))
    np.save(root / "test_gtmask.npy", masks)
    return root


def scan(folder, points, ascii_=False):
    folder.mkdir(parents=True, exist_ok=True)
    cloud = o3d.geometry.PointCloud(o3d.utility.Vector3dVector(points.astype(np.float64)))
    assert o3d.io.write_point_cloud(str(folder / "PointCloud_merged.ply"), cloud, write_ascii=ascii_)
    return folder / "PointCloud_merged.ply"


@pytest.fixture(scope="module")
def scans(tmp_path_factory):
    """Two scans of 12 and 3 whole chunks of 4096 points; 24 far points lie together in the first one."""
    src = tmp_path_factory.mktemp("scans")
    first = surface(12 * 4096 + 100)
    first[5000:5024, 2] += np.linspace(20, 40, 24)
    scan(src / "point_cloud" / "a", first)
    scan(src / "point_cloud" / "b", surface(4096 * 3, seed=1), ascii_=True)
    return src


@pytest.fixture(scope="module")
def converted(scans, tmp_path_factory):
    dst = tmp_path_factory.mktemp("out") / "polyurethane"
    return dst, convert(scans, dst, Rules(points=4096), progress=False)


@pytest.mark.parametrize(("points", "side"), [(9216, 96), (4096, 64)])
def test_the_official_files_are_read(tmp_path, points, side):
    root = official(tmp_path / "data", labels=(0, 1, 0), points=points)
    assert categories("polyurethane", root) == [PART]
    train, test = (load("polyurethane", PART, split, root=root) for split in ("train", "test"))
    assert (len(train), [s.label for s in test]) == (3, [0, 1, 0])
    sample, stored = test[1], np.load(root / "test.npy")[1]
    assert sample.size == (side, side) and sample.valid.all() and sample.isolated and sample.missing == "rgb"
    np.testing.assert_array_equal(sample.xyz[2, 5], stored[2 * side + 5])  # row-major, in file order
    assert sample.mask[40].all() and sample.mask.sum() == side
    assert (sample.defect, sample.modality, sample.dataset) == ("outlier", "xyz", "polyurethane")
    assert not sample.rgb.any() and sample.path == root / "test.npy" / "00001"
    assert train[0].modality == "none" and not train[0].mask.any()
    assert len(load("polyurethane", PART, "train", root=root, shots=2)) == 2


def test_points_on_an_axis_are_valid_and_flags_of_normal_chunks_are_kept(tmp_path):
    root = official(tmp_path)
    points, masks = np.load(root / "train.npy"), np.load(root / "train_gtmask.npy")
    points[0, 7], masks[0, 3] = 0, 1
    np.save(root / "train.npy", points.astype(np.float64))
    np.save(root / "train_gtmask.npy", masks.astype(bool))
    sample = load("polyurethane", PART, "train", root=root)[0]
    assert sample.valid.all() and sample.label == 0 and sample.mask.sum() == 1 and sample.mask[0, 3]
    assert sample.xyz.dtype == np.float32


def _array(change):
    return lambda path: np.save(path, change(np.load(path)))


def _with(index, value):
    def change(array):
        array[index] = value
        return array
    return _array(change)


FAULTS = {
    "no data": ("train.npy", lambda p: p.unlink(), "holds no train.npy; .*mmadlib convert polyurethane"),
    "no test": ("test.npy", lambda p: p.unlink(), r"test\.npy: does not exist"),
    "no labels": ("test_label.npy", lambda p: p.unlink(), r"test_label\.npy: does not exist"),
    "no masks": ("train_gtmask.npy", lambda p: p.unlink(), r"train_gtmask\.npy: does not exist"),
    "truncated": ("train.npy", lambda p: p.write_bytes(p.read_bytes()[:5000]), r"train\.npy: is truncated"),
    "empty": ("test.npy", lambda p: p.write_bytes(b""), r"test\.npy: is truncated or no \.npy array"),
    "no array": ("test_gtmask.npy", lambda p: p.write_bytes(b"PK\x03\x04 etc"), "is truncated or no"),
    "objects": ("train.npy", lambda p: np.save(p, np.array([{}], object), allow_pickle=True), "is truncated or no"),
    "flat": ("train.npy", _array(lambda a: a.reshape(3, -1)), r"has shape \(3, 27648\)"),
    "other size": ("test.npy", _array(lambda a: a[:, :9000]), r"has shape \(2, 9000, 3\); chunks are"),
    "two axes": ("train.npy", _array(lambda a: a[..., :2]), r"\(3, 9216, 2\)"),
    "integers": ("train.npy", _array(lambda a: (a * 1000).astype(np.int16)), "holds int16 values"),
    "fewer masks": ("test_gtmask.npy", _array(lambda a: a[:1]), r"has shape \(1, 9216\), the chunks ask for \(2, 9216\)"),
    "more labels": ("test_label.npy", lambda p: np.save(p, [0, 1, 1]), r"has shape \(3,\), the chunks ask for \(2,\)"),
    "strange labels": ("test_label.npy", lambda p: np.save(p, [0, 2]), "other labels than 0 and 1"),
    "strange mask": ("test_gtmask.npy", _with((1, 4), 255), r"test_gtmask\.npy/00001: is a mask with other values"),
    "not a number": ("train.npy", _with((2, 5, 1), np.nan), r"train\.npy/00002: holds NaN"),
    "infinite": ("test.npy", _with((0, 5, 1), np.inf), r"test\.npy/00000: holds NaN or infinite"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_one_clear_error(tmp_path, fault):
    root = official(tmp_path / "data")
    name, change, message = FAULTS[fault]
    change(root / name)
    with pytest.raises(DataError, match=message) as caught:
        for part in ("train", "test"):
            list(load("polyurethane", PART, part, root=root))
    assert "\n" not in str(caught.value) and str(root) in str(caught.value)


def test_names_are_checked(tmp_path):
    official(tmp_path)
    with pytest.raises(UnknownName, match="did you mean 'cutting_edges'"):
        load("polyurethane", "cutting_edge", "train", root=tmp_path)
    with pytest.raises(UnknownName, match="There are: test, train"):
        load("polyurethane", PART, "validation", root=tmp_path)


def test_outliers_are_what_scikit_learn_says():
    points = surface(3000)
    points[100:103, 2] += 30
    forest = IsolationForest(contamination=1.5e-4, random_state=42, n_estimators=200, max_samples="auto").fit_predict(points)
    lof = LocalOutlierFactor(n_neighbors=30, contamination=1e-4, novelty=False).fit_predict(points)
    np.testing.assert_array_equal(outliers(points, Rules(contamination="high")), forest == -1)
    np.testing.assert_array_equal(outliers(points, Rules(detector="lof")), lof == -1)


def test_chunks_are_consecutive_and_anomalous_from_24_points_on():
    points, flags = surface(3 * 9216 + 9215), np.zeros(3 * 9216 + 9215, bool)
    flags[:23] = flags[9216:9240] = flags[-5:] = True
    data, labels, masks = chunks(points, flags, Rules())
    np.testing.assert_array_equal(data.reshape(-1, 3), points[:3 * 9216])
    assert labels.tolist() == [0, 1, 0] and masks.sum(1).tolist() == [23, 24, 0]
    assert (data.dtype, labels.dtype, masks.dtype) == (np.float32, np.uint8, np.uint8)
    assert [len(part) for part in chunks(points[:9215], flags[:9215], Rules())] == [0, 0, 0]


def test_chunks_are_scaled_axis_by_axis():
    data = np.stack([surface(4096), 7 * surface(4096, 1) + 3])
    scaled = scale(data)
    assert scaled.dtype == np.float32
    assert (scaled.min(1) == -1).all() and (scaled.max(1) == 1).all()
    np.testing.assert_allclose(scale(5 * data - 2), scaled, atol=1e-4)
    data[0, :, 1] = 4
    assert (scale(data)[0, :, 1] == -1).all()


def test_the_published_split():
    labels = np.zeros(2091, np.uint8)
    labels[::75] = 1
    train, test = split(labels)
    assert (len(train), len(test), labels[test].sum()) == (1856, 235, 28)
    expected = train_test_split(np.flatnonzero(labels == 0), test_size=0.1, random_state=42)
    np.testing.assert_array_equal(train, expected[0])
    np.testing.assert_array_equal(test[:207], expected[1])
    assert labels[test[207:]].all() and sorted([*train, *test]) == list(range(2091))


def test_conversion_writes_what_the_reader_reads(scans, converted):
    dst, counts = converted
    data, labels, masks = (np.load(dst / f"global_{name}.npy") for name in ("data", "labels", "gtmask"))
    assert data.shape == (15, 4096, 3) and masks.shape == (15, 4096) and labels.shape == (15,)
    first = read_ply(scans / "point_cloud" / "a" / "PointCloud_merged.ply")
    np.testing.assert_array_equal(data[:12].reshape(-1, 3), first[:12 * 4096])
    np.testing.assert_array_equal(masks[:12].ravel(), outliers(first, Rules())[:12 * 4096])
    train, test = (load("polyurethane", PART, part, root=dst) for part in ("train", "test"))
    assert counts == {"train": len(train), "test": len(test), "anomalous": int(labels.sum())}
    assert not any(s.label for s in train) and sum(s.label for s in test) == labels.sum()
    row = split(labels)[0][2]
    np.testing.assert_array_equal(train[2].xyz.reshape(-1, 3), scale(data)[row])
    np.testing.assert_array_equal(train[2].mask.ravel(), masks[row] == 1)
    manifest = json.loads((dst / "manifest.json").read_text())
    assert manifest["chunks"] == counts and manifest["rules"]["points"] == 4096 and list(manifest["scans"]) == ["a", "b"]


def test_a_second_run_changes_nothing_and_other_content_is_kept(scans, converted, tmp_path):
    before, source = snapshot(converted[0]), snapshot(scans)
    assert convert(scans, converted[0], Rules(points=4096)) == converted[1]
    with pytest.raises(DataError, match="holds something else"):
        convert(scans, converted[0], Rules(points=9216))
    with pytest.raises(DataError, match="lies inside the source"):
        convert(scans, scans / "out")
    (tmp_path / "mine.txt").write_text("keep me")
    with pytest.raises(DataError, match="holds something else"):
        convert(scans, tmp_path)
    assert snapshot(converted[0]) == before and snapshot(scans) == source


EMPTY = b"ply\nformat ascii 1.0\nelement vertex 0\nproperty float x\nproperty float y\nproperty float z\nend_header\n"


def _cut(path):
    path.write_bytes(path.read_bytes()[:-100])


@pytest.mark.parametrize(("change", "message"), [
    (lambda ply: ply.unlink(), r"point_cloud/a: holds no PointCloud_merged\.ply"),
    (lambda ply: (ply.unlink(), ply.parent.rmdir()), "point_cloud: holds no scans"),
    (lambda ply: ply.parent.parent.rename(ply.parent.parent.with_name("clouds")), "no folder 'point_cloud'"),
    (_cut, r"PointCloud_merged\.ply: is truncated"),
    (lambda ply: ply.write_bytes(b"hello"), "is truncated or no PLY"),
    (lambda ply: ply.write_bytes(b"ply\nelement vertex many\nend_header\n"), "is truncated or no PLY"),
    (lambda ply: ply.write_bytes(EMPTY), "holds no points"),
    (lambda ply: scan(ply.parent, np.full((5, 3), np.nan)), "infinite ones"),
    (lambda ply: scan(ply.parent, surface(5000)), "gives 1 chunks, fewer than two"),
])
def test_nothing_is_left_when_a_scan_is_faulty(tmp_path, change, message):
    change(scan(tmp_path / "src" / "point_cloud" / "a", surface(9000)))
    with pytest.raises(DataError, match=message):
        convert(tmp_path / "src", tmp_path / "out", Rules(points=4096), progress=False)
    assert [p.name for p in tmp_path.iterdir()] == ["src"]


def test_truncated_text_is_noticed_by_its_size(tmp_path):
    ply = scan(tmp_path, surface(100), ascii_=True)
    assert read_ply(ply).shape == (100, 3)
    ply.write_bytes(ply.read_bytes()[:400])
    with pytest.raises(DataError, match="is truncated"):
        read_ply(ply)
    with pytest.raises(DataError, match="does not exist"):
        read_ply(tmp_path / "none.ply")


def test_a_full_disk_leaves_nothing_behind(scans, tmp_path, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(converter.np, "save", full)
    with pytest.raises(DataError, match=r"cannot be written .No space left"):
        convert(scans, tmp_path / "out", Rules(points=4096), progress=False)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("given", [{"detector": "forrest"}, {"contamination": "middle"}, {"points": 5000}])
def test_rules_are_checked(given):
    with pytest.raises(SettingsError, match=str(next(iter(given.values())))):
        Rules(**given)


def test_command_line(scans, tmp_path, capsys):
    rare = ["--points", "4096", "--detector", "lof", "--contamination", "high"]
    assert main(["convert", "polyurethane", str(scans), str(tmp_path / "out"), *rare]) == 0
    assert "train 1" in capsys.readouterr().out
    assert main(["convert", "polyurethane", str(tmp_path), str(tmp_path / "out2")]) == 2
    assert "no folder 'point_cloud'" in capsys.readouterr().err
    assert main(["convert", "polyurethane", str(scans), str(tmp_path / "out2"), "--detector", "lofs"]) == 2
    assert "unknown detector 'lofs'" in capsys.readouterr().err


@pytest.mark.parametrize("options", [
    {"xyz": "descriptors"}, {"xyz": "random"},
    {"xyz": "point_mae", "xyz_weights": "random", "xyz_blocks": 4, "groups": 96, "group_size": 32}])
def test_front_ends_work_on_the_chunk_grid(tmp_path, options):
    sample = load("polyurethane", PART, "train", root=official(tmp_path))[0]
    features = extract(sample, "none", size=96, **options)
    assert features.size == (96, 96) and features.foreground.all() and features.missing == "rgb"
    assert features.xyz.dense().isfinite().all() and features.xyz.tokens.std() > 0
    np.testing.assert_array_equal(features.cloud, sample.xyz)  # not resized
    if options["xyz"] == "point_mae":
        assert features.xyz.tokens.shape == (96, 1152) and features.meta["family"] == "paper"


def test_a_3d_method_finds_the_defect_and_others_refuse(tmp_path):
    root, extractor = official(tmp_path / "data"), Extractor(**HAND_MADE, size=96)
    train, test = (extract_all(load("polyurethane", PART, part, root=root), extractor, tmp_path / "cache", progress=False)
                   for part in ("train", "test"))
    assert len(list((tmp_path / "cache").rglob("*.safetensors"))) == 5  # chunks share files, not cache entries
    assert test.truth(1).path == root / "test.npy" / "00001" and test.truth(1).label == 1
    method = Nearest(bank="xyz").fit(train, progress=False)
    normal, bad = method.score(test[0]), method.score(test[1])
    assert bad.image > normal.image and abs(np.unravel_index(bad.map.argmax(), (96, 96))[0] - 40) <= 4
    again = Nearest.load(method.save(tmp_path / "model"))
    np.testing.assert_array_equal(again.score(test[1]).map, bad.map)
    with pytest.raises(MissingModality, match="nearest: a sample has no RGB features"):
        Nearest(bank="joint").fit(train, progress=False)


def test_more_chunks_than_can_be_listed_are_refused(tmp_path, monkeypatch):
    official(tmp_path)
    monkeypatch.setattr("mmadlib.data.polyurethane.CHUNKS", 2)
    with pytest.raises(DataError, match=r"train\.npy: has 3 chunks, more than 2"):
        load("polyurethane", PART, "train", root=tmp_path)
