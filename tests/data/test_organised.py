"""Organised PLY and PCD clouds keep their rows; lists of points are refused with what would help."""

import numpy as np
import pytest
import tifffile
from layouts import picture, rgb, table

from mmadlib.data.convert.depth import convert
from mmadlib.data.convert.organised import read_organised
from mmadlib.errors import DataError

SIZE = (20, 30)


def cloud():
    """A table half a metre away; two points were not measured."""
    xyz = table(SIZE)
    xyz[3, 4], xyz[5, 6] = np.nan, 0
    return xyz


def pcd(path, xyz, width=None, height=None, binary=True):
    path.parent.mkdir(parents=True, exist_ok=True)
    height, width = height or xyz.shape[0], width or xyz.shape[1]
    head = (f"# .PCD v0.7\nVERSION 0.7\nFIELDS x y z\nSIZE 4 4 4\nTYPE F F F\nCOUNT 1 1 1\nWIDTH {width}\nHEIGHT {height}\n"
            f"VIEWPOINT 0 0 0 1 0 0 0\nPOINTS {width * height}\nDATA {'binary' if binary else 'ascii'}\n").encode()
    rows = xyz.reshape(-1, 3)
    text = "".join(" ".join(map(str, row)) + "\n" for row in rows).encode()
    path.write_bytes(head + (rows.tobytes() if binary else text))
    return path


def ply(path, xyz, *comments):
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = xyz.reshape(-1, 3)
    head = "\n".join(["ply", "format binary_little_endian 1.0", *comments, f"element vertex {len(rows)}",
                      *(f"property float {axis}" for axis in "xyz"), "end_header\n"])
    path.write_bytes(head.encode() + rows.tobytes())
    return path


@pytest.mark.parametrize("write", [lambda p, x: pcd(p / "a.pcd", x), lambda p, x: pcd(p / "a.pcd", x, binary=False),
                                   lambda p, x: ply(p / "a.ply", x),
                                   lambda p, x: ply(p / "a.PLY", x, "obj_info num_cols 30", "obj_info num_rows 20")])
def test_rows_and_columns_come_back(tmp_path, write):
    found = read_organised(write(tmp_path, cloud()), SIZE)
    assert found.dtype == np.float32 and np.allclose(found, cloud(), atol=1e-6, equal_nan=True)


def test_a_ply_tells_its_own_size(tmp_path):
    assert read_organised(ply(tmp_path / "a.ply", cloud(), "obj_info num_cols 30", "obj_info num_rows 20")).shape == (*SIZE, 3)


@pytest.mark.parametrize(("write", "message"), [
    (lambda p, x: pcd(p / "a.pcd", x, 600, 1), "a list of 600 points without rows and columns.*; export it as organised"),
    (lambda p, x: ply(p / "a.ply", x[:, :20]), "a list of 400 points without rows and columns, not the 20 x 30 of its"),
    (lambda p, x: ply(p / "a.ply", np.random.default_rng(0).permutation(x.reshape(-1, 3))), "in another order than that of"),
    (lambda p, x: pcd(p / "a.pcd", x, 30, 21), "says that it has 630 points and holds"),
    (lambda p, x: ply(p / "a.ply", np.zeros_like(x)), "holds no points")])
def test_clouds_without_rows(tmp_path, write, message):
    with pytest.raises(DataError, match=rf"a.p..: .*{message}"):
        read_organised(write(tmp_path, cloud()), SIZE)


@pytest.mark.parametrize("suffix", ["ply", "pcd"])
def test_damaged_files(tmp_path, suffix):
    path = {"ply": ply, "pcd": pcd}[suffix](tmp_path / f"a.{suffix}", cloud())
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(DataError, match=rf"a.{suffix}: is truncated or no {suffix.upper()} file"):
        read_organised(path, SIZE)
    with pytest.raises(DataError, match="does not exist"):
        read_organised(tmp_path / f"none.{suffix}")


def test_clouds_need_no_intrinsics_and_keep_their_unit(tmp_path):
    picture(tmp_path / "src/rgb/000.png", rgb(size=SIZE))
    pcd(tmp_path / "src/cloud/000.pcd", cloud() * np.float32(1000))
    with pytest.raises(DataError, match='units="mm"'):
        convert(tmp_path / "src", tmp_path / "dst", progress=False)
    convert(tmp_path / "src", tmp_path / "dst", units="mm", progress=False)
    xyz = tifffile.imread(tmp_path / "dst/xyz/000.tiff")
    measured = np.isfinite(cloud()).all(-1) & (cloud() != 0).any(-1)
    assert ((xyz != 0).all(-1) == measured).all() and np.abs(xyz - cloud())[measured].max() < 1e-6
