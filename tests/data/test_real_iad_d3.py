import numpy as np
import pytest
from layouts import SIZE, picture, real_iad_d3, rgb, tiff

from mmadlib.data import categories, load
from mmadlib.data.real_iad_d3 import sample_number, sample_stem
from mmadlib.errors import DataError


@pytest.fixture
def root(tmp_path):
    real_iad_d3(tmp_path)
    return tmp_path


def test_counts_labels_and_pairs(root):
    assert categories("real_iad_d3", root) == ["power_jack"]
    train, test = (load("real_iad_d3", "power_jack", split, root=root) for split in ("train", "test"))
    assert len(train) == 3 and [e.defect for e in test.entries] == ["good", "good", "scratch", "scratch"]
    for entry in train.entries:
        assert entry.rgb.parent.name[-4:] == entry.xyz.stem[-4:] == entry.extra["ps"].stem[-4:]
        assert "L05" in entry.rgb.name
    assert [s.mask.sum() for s in test] == [0, 0, 36, 36]


def test_nan_is_invalid_and_metric_coordinates_stay(root):
    sample = load("real_iad_d3", "power_jack", "train", root=root)[0]
    assert not sample.valid[:5, :7].any() and sample.valid.sum() == SIZE[0] * SIZE[1] - 35
    assert not sample.xyz[:5, :7].any()
    assert np.allclose(np.diff(sample.xyz[20, :, 0]), 1e-3, atol=1e-6)  # X is no column index
    assert sample.valid[20, 10]  # where X is 0
    assert sample.isolated


def test_views(root):
    assert "L01" in load("real_iad_d3", "power_jack", "train", root=root, view="L01").entries[0].rgb.name
    with pytest.raises(DataError, match=r"S0000: has 0 pictures named \*L07\*RGB\*.*there are: power_jack_0000_L01"):
        load("real_iad_d3", "power_jack", "train", root=root, view="L07")


def test_upper_and_lower_case_and_flat_folders(root):
    base = root / "power_jack" / "test"
    (base / "GOOD").rename(base / "good")
    masks = base / "scratch" / "gt"
    for path in list((masks / "rgb").iterdir()):
        path.rename(masks / path.name)
    (masks / "rgb").rmdir()
    views = base / "scratch" / "rgb"
    for folder in list(views.iterdir()):
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()
    for i in range(2):
        picture(views / f"{i:04d}.png", rgb(i))
    test = load("real_iad_d3", "power_jack", "test", root=root)
    assert [e.defect for e in test.entries] == ["good", "good", "scratch", "scratch"]
    assert (test[3].rgb == rgb(1)).all() and test[3].mask.any()


@pytest.mark.parametrize(("gone", "message"), [
    ("train/GOOD/xyz/power_jack_0001.tiff", "no matching xyz"),
    ("train/GOOD/ps/power_jack_0001.jpg", "no matching ps"),
    ("test/scratch/gt/rgb/power_jack_0000_L05.png", "no matching gt"),
    ("train/GOOD/rgb/S0002/power_jack_0002_L05_RGB.jpg", "has 0 pictures"),
])
def test_a_missing_file_shifts_no_pair(root, gone, message):
    (root / "power_jack" / gone).unlink()
    with pytest.raises(DataError, match=message):
        load("real_iad_d3", "power_jack", gone.split("/")[0], root=root)


def test_sizes_that_differ_need_consent(root):
    for path in (root / "power_jack/test/scratch").glob("xyz/*.tiff"):
        cloud = np.ones((SIZE[0] // 2, SIZE[1] // 2, 3), np.float32)
        tiff(path, cloud)
    with pytest.raises(DataError, match="sizes differ"):
        _ = load("real_iad_d3", "power_jack", "test", root=root)[2]
    sample = load("real_iad_d3", "power_jack", "test", root=root, resize=True)[2]
    assert sample.size == (SIZE[0] // 2, SIZE[1] // 2) and sample.mask.sum() == 9
    tiff(root / "power_jack/test/scratch/xyz/power_jack_0000.tiff", np.ones((20, 64, 3), np.float32))
    with pytest.raises(DataError, match="not of one shape"):
        _ = load("real_iad_d3", "power_jack", "test", root=root, resize=True)[2]


@pytest.mark.parametrize(("folder", "cloud"), [("S{:04d}", "S{:04d}_3D"), ("{:03d}_OK_0", "{:03d}_OK_0_L05_xyz"),
                                               ("S{:04d}", "{:04d}_OK_2_xyz"), ("{:03d}", "{:03d}_OK_0_L05_xyz")])
def test_other_digits_in_a_name_do_not_number_it(root, folder, cloud):
    good = root / "power_jack" / "train" / "GOOD"
    for i in range(3):
        (good / "rgb" / f"S{i:04d}").rename(good / "rgb" / folder.format(i))
        (good / "xyz" / f"power_jack_{i:04d}.tiff").rename(good / "xyz" / f"{cloud.format(i)}.tiff")
    for path in (good / "ps").iterdir():
        path.rename(path.with_name(path.name.replace("power_jack_0", "S0") if folder[0] == "S" else
                                   folder.format(int(path.stem[-4:])) + "_ps.jpg"))
    train = load("real_iad_d3", "power_jack", "train", root=root).entries
    assert [(e.rgb.parent.name, e.xyz.stem) for e in train] == [(folder.format(i), cloud.format(i)) for i in range(3)]
    (good / "xyz" / f"{cloud.format(1)}.tiff").unlink()
    with pytest.raises(DataError, match="no matching xyz"):
        load("real_iad_d3", "power_jack", "train", root=root)


def test_good_twice(root):
    (root / "power_jack" / "test" / "good").mkdir()
    with pytest.raises(DataError, match="has folders 'GOOD' and 'good'"):
        load("real_iad_d3", "power_jack", "test", root=root)


def test_sample_names():
    assert {sample_number(n) for n in ("S0007", "part3_007", "part3_0007_L05", "7", "0007-L05", "S0007_3D",
                                       "007_OK_0_L05_xyz")} == {7}
    assert sample_stem("S0007_L05_RGB") == sample_stem("s0007_3D") == "s0007" and sample_stem("rgb") == "rgb"
    assert sample_number("Left") == "left"
