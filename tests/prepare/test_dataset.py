"""The offline version: a new folder with manifests; resumable, parallel, and the source as it was."""

import hashlib
import json
import shutil

import numpy as np
import pytest
import stored_scans
import tifffile
from layouts import isolated, mvtec, spot, table
from PIL import Image

from mmadlib.__main__ import main
from mmadlib.data import load
from mmadlib.data.layout import entries
from mmadlib.errors import DataError, PreprocessError, SettingsError, UnknownName
from mmadlib.prepare.dataset import padded_side, preprocess_dataset
from mmadlib.prepare.isolate import isolate_object

SIZE = (96, 128)


def bumpy(size):
    return table(size, bump=0.04)


@pytest.fixture
def source(tmp_path):
    mvtec(tmp_path / "src", train=2, test={"good": 1, "crack": 1}, size=SIZE, cloud=bumpy)
    return tmp_path / "src"


def digest(folder):
    return {p.relative_to(folder): (hashlib.sha256(p.read_bytes()).hexdigest(), p.stat().st_mtime_ns)
            for p in sorted(folder.rglob("*")) if p.is_file()}


def test_new_folder_reads_back_isolated_and_square(source, tmp_path):
    before = digest(source)
    made = preprocess_dataset(source, tmp_path / "new", jobs=1, progress=False)
    assert digest(source) == before
    for split in ("train", "validation", "test"):
        old, new = load("mvtec3d", "bagel", split, root=source), load("mvtec3d", "bagel", split, root=made)
        assert [e.defect for e in new.entries] == [e.defect for e in old.entries]
        for a, b in zip(map(isolate_object, old), new, strict=True):
            assert b.isolated and b.size == (200, 200)
            assert np.array_equal(b.xyz[52:148, 36:164], a.xyz) and b.valid.sum() == a.valid.sum()
            assert np.array_equal(b.rgb[52:148, 36:164], a.rgb) and np.array_equal(b.mask[52:148, 36:164], a.mask)
            assert np.array_equal(b.rgb[:52, 36:164], np.broadcast_to(a.rgb[0], (52, 128, 3)))  # its own border


def test_manifest_says_how_each_sample_was_made(source, tmp_path):
    made = preprocess_dataset(source, tmp_path / "new", "folder", seed=5, jobs=1, progress=False, plane_distance=0.006)
    manifest = json.loads((made / "bagel/test/crack/preprocess/000.json").read_text())
    assert manifest["pad"] == "square" and manifest["seed"] == 5 and manifest["side"] == 128
    assert manifest["constants"]["plane_distance"] == 0.006 and manifest["constants"]["cluster_eps"] == 0.006
    assert np.allclose(np.abs(manifest["plane"]), [0, 0, 1, 0.5], atol=2e-3) and 0 < manifest["kept_share"] < 0.5
    for name, file in {"xyz": "xyz/000.tiff", "rgb": "rgb/000.png", "gt": "gt/000.png"}.items():
        for key, root in (("source_sha256", source), ("sha256", made)):
            content = (root / "bagel/test/crack" / file).read_bytes()
            assert manifest[key][name] == hashlib.sha256(content).hexdigest()


def test_square_pictures_are_copied_byte_by_byte(tmp_path):
    mvtec(tmp_path / "src", train=1, test={"good": 1}, size=(100, 100), cloud=bumpy)
    made = preprocess_dataset(tmp_path / "src", tmp_path / "new", jobs=1, progress=False)
    picture = "bagel/train/good/rgb/000.png"
    assert (made / picture).read_bytes() == (tmp_path / "src" / picture).read_bytes()


def test_calibration_defect_table_and_good_masks_come_along(source, tmp_path):
    (source / "bagel/calibration").mkdir()
    (source / "bagel/calibration/camera_parameters.json").write_text("{}")
    (source / "bagel/defects.csv").write_text("defect,modality\ncrack,both\n")
    zero = source / "bagel/test/good/gt/000.png"
    zero.parent.mkdir(exist_ok=True)
    Image.fromarray(np.zeros(SIZE, np.uint8)).save(zero)
    made = preprocess_dataset(source, tmp_path / "new", jobs=1, progress=False)
    assert (made / "bagel/calibration/camera_parameters.json").read_text() == "{}"
    assert load("mvtec3d", "bagel", "test", root=made)[-1].modality == "both"
    assert np.asarray(Image.open(made / "bagel/test/good/gt/000.png")).shape == (200, 200)


def test_second_run_does_nothing_and_an_interrupted_one_resumes(source, tmp_path):
    made = preprocess_dataset(source, tmp_path / "new", jobs=1, progress=False)
    first = digest(made)
    preprocess_dataset(source, made, jobs=1, progress=False)
    assert digest(made) == first
    manifest = made / "bagel/train/good/preprocess/001.json"
    manifest.unlink()
    (made / "bagel/train/good/xyz/001.tiff").write_bytes(b"half")
    preprocess_dataset(source, made, jobs=1, progress=False)
    again = digest(made)
    assert {k: v[0] for k, v in again.items()} == {k: v[0] for k, v in first.items()}
    assert sum(again[k] != first[k] for k in first) == 3  # picture, cloud and manifest of one sample


def test_processes_give_the_same_bytes(source, tmp_path):
    one = preprocess_dataset(source, tmp_path / "one", jobs=1, progress=False)
    two = preprocess_dataset(source, tmp_path / "two", jobs=2, progress=False)
    assert [v[0] for v in digest(one).values()] == [v[0] for v in digest(two).values()]


def test_processed_input_is_refused(source, tmp_path):
    made = preprocess_dataset(source, tmp_path / "new", jobs=1, progress=False)
    with pytest.raises(PreprocessError, match="removed already"):
        preprocess_dataset(made, tmp_path / "twice", jobs=2, progress=False)
    mvtec(tmp_path / "theirs", train=1, test={"good": 1}, size=SIZE, cloud=isolated)
    with pytest.raises(PreprocessError, match=r"000\.png.*already"):
        preprocess_dataset(tmp_path / "theirs", tmp_path / "thrice", jobs=1, progress=False)


def test_an_object_at_the_border_stays_isolated_when_read_back(tmp_path):
    def bar(size):
        xyz = table(size, bump=0.0)
        xyz[40:56, :, 2] -= 0.03  # from edge to edge: its ends lie on the rim
        return xyz

    mvtec(tmp_path / "src", "rope", train=1, test={"good": 1}, size=(100, 100), cloud=bar)
    made = preprocess_dataset(tmp_path / "src", tmp_path / "new", jobs=1, progress=False)
    sample = load("mvtec3d", "rope", "train", root=made)[0]
    assert sample.isolated and sample.valid[40:56].all() and not sample.valid[:40].any()


@pytest.mark.parametrize(("target", "options", "error", "words"), [
    ("src", {}, SettingsError, "lies in the source"),
    ("src/new", {}, SettingsError, "lies in the source"),
    (".", {}, SettingsError, "or holds it"),
    ("new", {"dataset": "eyecandies"}, UnknownName, "unknown dataset to preprocess"),
    ("new", {"pad": "squared"}, UnknownName, "did you mean 'square'"),
    ("new", {"seed": "a"}, SettingsError, "seed='a'"),
    ("new", {"seed": -1}, SettingsError, "seed=-1"),
    ("new", {"seed": None}, SettingsError, "seed=None"),
    ("new", {"plane": 1}, UnknownName, "unknown preprocessing constant"),
])
def test_wrong_arguments(source, tmp_path, target, options, error, words):
    before = digest(source)
    with pytest.raises(error, match=words):
        preprocess_dataset(source, tmp_path / target, progress=False, **options)
    assert digest(source) == before and not (tmp_path / "new").exists()


def test_a_foreign_or_differently_made_folder_is_left_alone(source, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.txt").write_text("precious")
    with pytest.raises(PreprocessError, match="holds other files"):
        preprocess_dataset(source, tmp_path / "mine", progress=False)
    made = preprocess_dataset(source, tmp_path / "new", jobs=1, progress=False)
    with pytest.raises(PreprocessError, match="other settings"):
        preprocess_dataset(source, made, seed=1, progress=False)


@pytest.mark.parametrize("content", [b"{", b"[1]", b"\xff"])
def test_a_damaged_note_of_the_settings_is_reported(source, tmp_path, content):
    (tmp_path / "new").mkdir()
    (tmp_path / "new/preprocessing.json").write_bytes(content)
    with pytest.raises(DataError, match=r"preprocessing\.json: .*delete the folder"):
        preprocess_dataset(source, tmp_path / "new", progress=False)


def test_mask_values_of_the_dataset_are_accepted(source, tmp_path):
    Image.fromarray(spot(SIZE, 253)).save(source / "bagel/test/crack/gt/000.png")
    made = preprocess_dataset(source, tmp_path / "new", jobs=1, progress=False)
    assert load("mvtec3d", "bagel", "test", root=made)[-1].mask.sum() == 36
    with pytest.raises(DataError, match=r"undocumented values \(253\)"):
        preprocess_dataset(source, tmp_path / "folder", "folder", jobs=1, progress=False)


def test_faulty_source_stops_with_the_name_of_the_file(source, tmp_path):
    broken = source / "bagel/train/good/xyz/001.tiff"
    broken.write_bytes(broken.read_bytes()[:500])
    with pytest.raises(DataError, match=r"001\.tiff"):
        preprocess_dataset(source, tmp_path / "new", jobs=1, progress=False)
    assert not (tmp_path / "new/bagel/train/good/preprocess/001.json").exists()


@pytest.mark.parametrize("when", ["claim", "cloud", "manifest"])
def test_a_full_disk_leaves_nothing_half_written(source, tmp_path, monkeypatch, when):
    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    if when == "cloud":
        monkeypatch.setattr(tifffile, "imwrite", full)
    else:
        target = tmp_path / "new" / ("preprocessing" if when == "claim" else "bagel/train/good/preprocess/000")
        write = type(target).write_text
        monkeypatch.setattr(type(target), "write_text", lambda self, text: full() if self.parent == target.parent
                            and self.name.startswith(f".{target.name}") else write(self, text))
    with pytest.raises(PreprocessError, match="No space left on device"):
        preprocess_dataset(source, tmp_path / "new", jobs=1, progress=False)
    assert not list((tmp_path / "new").rglob("*/preprocess/*.json")) and not list((tmp_path / "new").rglob(".*"))
    monkeypatch.undo()
    made = preprocess_dataset(source, tmp_path / "new", jobs=1, progress=False)
    assert len(list(made.rglob("*/preprocess/*.json"))) == sum(len(entries(source, "bagel", s)) for s in
                                                               ("train", "validation", "test"))


def test_command_line(source, tmp_path, capsys):
    assert main(["preprocess", str(source), str(tmp_path / "new"), "--jobs", "1", "--pad", "square"]) == 0
    assert capsys.readouterr().out.endswith(f"written: {tmp_path / 'new'}\n")
    assert main(["preprocess", str(source), str(tmp_path / "other"), "--dataset", "mvtec"]) == 2
    assert "did you mean 'mvtec3d'" in capsys.readouterr().err


def test_sides():
    assert [padded_side(400, 900, p) for p in ("published", "square")] == [900, 900]
    assert [padded_side(120, 150, p) for p in ("published", "square")] == [200, 150]


def clouds(folder):
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.parent.name.casefold() == "xyz")


def test_capital_names_lose_no_cloud(tmp_path, capsys):
    stored_scans.dataset(tmp_path / "src", {"good": 1, "dent": 2}, named=str.capitalize, table=True)
    args = [str(tmp_path / "src"), str(tmp_path / "new"), "--dataset", "folder", "--jobs", "1"]
    assert main(["preprocess", *args]) == 0
    assert clouds(tmp_path / "new") == clouds(tmp_path / "src") and len(clouds(tmp_path / "new")) == 5
    assert [s.label for s in load("folder", "part", "test", root=tmp_path / "new")] == [0, 1, 1]
    (tmp_path / "src/part/Test").rename(tmp_path / "src/part/Testing")
    assert main(["preprocess", str(tmp_path / "src"), str(tmp_path / "newer"), *args[2:]]) == 2
    assert "belongs to no part that is read; splits are train, " in capsys.readouterr().err
    assert not (tmp_path / "newer").exists()


def test_a_cloud_beside_the_good_ones_is_not_left_out_in_silence(source, tmp_path):
    shutil.copytree(source / "bagel/train/good", source / "bagel/train/better")
    with pytest.raises(DataError, match=r"train/better/xyz/000\.tiff: belongs to no part that is read"):
        preprocess_dataset(source, tmp_path / "new", jobs=1, progress=False)


def test_all_kinds_that_a_folder_may_hold_become_tiff_and_png(tmp_path, capsys):
    base = stored_scans.dataset(tmp_path / "src", {"good": 1, "dent": 1, "new": 1}, table=True) / "part"
    for path in list(base.rglob("xyz/*.tiff")):
        np.save(path.with_suffix(".npy"), tifffile.imread(path) * 1000)
        path.unlink()
    for path in [*base.rglob("rgb/*.png"), *base.rglob("gt/*.png")]:
        with Image.open(path) as image:
            image.convert("CMYK" if image.mode == "RGB" else "L").save(path.with_suffix(".jpg"), quality=95)
        path.unlink()
    before = digest(tmp_path / "src")
    args = ["preprocess", str(tmp_path / "src"), str(tmp_path / "new"), "--dataset", "folder", "--jobs", "1"]
    assert main(args) == 2 and 'give units="mm"' in capsys.readouterr().err
    shutil.rmtree(tmp_path / "new")
    assert main([*args, "--reading", "units=mm"]) == 0 and digest(tmp_path / "src") == before
    assert json.loads((tmp_path / "new/preprocessing.json").read_text())["reader"] == {"units": "mm"}
    for split in ("train", "test"):
        old = [isolate_object(s) for s in load("folder", "part", split, root=tmp_path / "src", units="mm")]
        new = list(load("folder", "part", split, root=tmp_path / "new"))
        assert [s.label for s in new] == [s.label for s in old] and {s.path.suffix for s in new} == {".png"}
        for a, b in zip(old, new, strict=True):
            inside = b.xyz[8:48]  # 40 rows in a square of 56
            assert b.isolated and (inside == a.xyz).all() and (b.rgb[8:48] == a.rgb).all() and (b.mask[8:48] == a.mask).all()
    with pytest.raises(UnknownName, match="did you mean 'units'"):
        preprocess_dataset(tmp_path / "src", tmp_path / "x", "folder", reader={"unit": "mm"})
    with pytest.raises(SettingsError, match="only files of dataset 'folder'"):
        preprocess_dataset(tmp_path / "src", tmp_path / "x", reader={"units": "mm"})
