"""Bad data, as a user meets it: load() and reading give one DataError that names the file, the fault and what to do."""

import os

import numpy as np
import pytest
import tifffile
from layouts import SIZE, mvtec, picture, rgb, spot, table, tiff

from mmadlib.data import load
from mmadlib.errors import DataError, MmadError

TRAIN, CRACK = "bagel/train/good", "bagel/test/crack"


def cut(share):
    return lambda path: path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])


def write(array):
    return lambda path: (tiff if path.suffix == ".tiff" else picture)(path, array)


def pipe(path):
    path.unlink(missing_ok=True)
    os.mkfifo(path)


def header(*sides):
    """A cloud whose header claims these sides."""
    def change(path):
        with tifffile.TiffFile(path, mode="r+") as file:
            for tag, side in zip(("ImageLength", "ImageWidth"), sides, strict=True):
                file.pages.first.tags[tag].overwrite(side)

    return change


FAULTS = {
    "folder missing": (f"{TRAIN}/xyz", lambda p: p.rename(p.with_name("pcd")), "no folder 'xyz'; .*there are: pcd, rgb"),
    "folder misnamed": ("bagel", lambda p: p.rename(p.with_name("bagels")), "did you mean 'bagels'"),
    "rgb without xyz": (f"{TRAIN}/xyz/001.tiff", lambda p: p.unlink(), r"rgb/001\.png has no matching xyz"),
    "xyz without rgb": (f"{TRAIN}/rgb/001.png", lambda p: p.unlink(), r"xyz/001\.tiff has no matching rgb"),
    "extra file": (f"{TRAIN}/rgb/007.png", write(rgb()), r"rgb/007\.png has no matching xyz"),
    "sizes differ": (f"{TRAIN}/rgb/001.png", write(rgb(0, (20, 20))), r"001\.png.*sizes differ"),
    "mask of another size": (f"{CRACK}/gt/001.png", write(spot((40, 40))), r"gt/001\.png: sizes differ, mask \(40, 40\)"),
    "truncated png": (f"{TRAIN}/rgb/001.png", cut(0.5), r"001\.png: is truncated"),
    "truncated tiff": (f"{TRAIN}/xyz/001.tiff", cut(0.5), r"001\.tiff: is truncated"),
    "truncated mask": (f"{CRACK}/gt/001.png", cut(0.5), r"001\.png: is truncated"),
    "two channels": (f"{TRAIN}/xyz/001.tiff", write(table()[..., :2]), r"001\.tiff: has shape \(48, 64, 2\)"),
    "millimetres in 16 bits": (f"{TRAIN}/xyz/001.tiff", write((table() * 1e3).astype(np.int16)), "holds int16 values"),
    "grey picture": (f"{TRAIN}/rgb/001.png", write(spot()), "three channels"),
    "all invalid": (f"{TRAIN}/xyz/001.tiff", write(np.zeros((*SIZE, 3), np.float32)), "has 0 valid points"),
    "all NaN": (f"{TRAIN}/xyz/001.tiff", write(np.full((*SIZE, 3), np.nan, np.float32)), "no finite point"),
    "almost empty": (f"{TRAIN}/xyz/001.tiff", write(np.pad(table((3, 3)), ((0, 45), (0, 61), (0, 0)))), "has 9 valid points"),
    "strange mask": (f"{CRACK}/gt/001.png", write(spot(value=1)), r"undocumented values \(1\)"),
    "a scaled mask": (f"{CRACK}/gt/001.png", write(spot((40, 40), 17)), r"gt/001\.png: sizes differ, mask \(40, 40\)"),
    "pipe for a picture": (f"{TRAIN}/rgb/001.png", pipe, r"001\.png: is a pipe, no regular file"),
    "pipe for a cloud": (f"{TRAIN}/xyz/001.tiff", pipe, r"001\.tiff: is a pipe, no regular file"),
    "pipe for a mask": (f"{CRACK}/gt/001.png", pipe, r"001\.png: is a pipe, no regular file"),
    "pipe for a table": ("bagel/defects.csv", pipe, r"defects\.csv: is a pipe, no regular file"),
    "huge picture": (f"{TRAIN}/rgb/001.png", write(np.zeros((8000, 8000), np.uint8)), r"001\.png: has 8000 x 8000 pixels"),
    "huge cloud": (f"{TRAIN}/xyz/001.tiff", header(20000, 20000), r"001\.tiff: has 20000 x 20000 x 3 values, more than"),
    "hidden sample": (f"{TRAIN}/rgb/001.png", lambda p: p.rename(p.with_name("..x...png")), r"rgb/\.\.x\.\.\.png: is hidden"),
    "hidden kind": (TRAIN, lambda p: p.rename(p.with_name(".good")), r"\.good: is hidden, by the dot"),
    "mask in 16 bits": (f"{CRACK}/gt/001.png", write(spot().astype(np.uint16) * 257), "mask of uint16 values"),
}


@pytest.mark.parametrize("dataset", ["mvtec3d", "folder"])
@pytest.mark.parametrize("fault", FAULTS)
def test_one_clear_error(tmp_path, dataset, fault):
    mvtec(tmp_path)
    where, change, message = FAULTS[fault]
    change(tmp_path / where)
    with pytest.raises(DataError, match=message) as caught:
        for split in ("train", "test"):
            list(load(dataset, "bagel", split, root=tmp_path))
    text = str(caught.value)
    assert "\n" not in text and str(tmp_path) in text and ";" in text  # one line: file: fault; remedy


def test_a_category_without_defects_or_without_normal_test_samples_is_read(tmp_path):
    mvtec(tmp_path, "perfect", test={"good": 2})
    mvtec(tmp_path, "broken", test={"crack": 2})
    assert [s.label for s in load("mvtec3d", "perfect", "test", root=tmp_path)] == [0, 0]
    assert [s.label for s in load("mvtec3d", "broken", "test", root=tmp_path)] == [1, 1]


def test_more_shots_than_samples(tmp_path):
    mvtec(tmp_path, train=3)
    with pytest.raises(MmadError, match="only 3 training samples"):
        load("mvtec3d", "bagel", "train", root=tmp_path, shots=4)
