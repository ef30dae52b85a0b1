"""Pictures as cameras and programs write them, on the grid of the cloud."""

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms
from stored_scans import SIZE, colours

from mmadlib.data.pictures import read_picture
from mmadlib.data.reading import Reading
from mmadlib.errors import DataError

RGB = colours()


def stored(path, pixels=RGB, mode=None, **options):
    image = Image.fromarray(pixels)
    (image.convert(mode) if mode else image).save(path, **options)
    return path


def exif(tag):
    made = Image.Exif()
    made[0x0112] = tag
    return made


@pytest.mark.parametrize("name", ["a.png", "a.bmp", "a.BMP", "a.tif", "a.TIFF", "a.jpg", "a.jpeg", "a.webp"])
def test_kinds(tmp_path, name):
    lossy = name[2:3].lower() in "jw"
    options = {"quality": 95} | ({"subsampling": 0} if "j" in name else {}) if lossy else {}
    got = read_picture(stored(tmp_path / name, **options), SIZE)
    assert got.dtype == np.uint8 and np.abs(got.astype(int) - RGB).mean() <= (4 if lossy else 0)


def test_palettes_and_alpha(tmp_path):
    right = np.array(Image.fromarray(RGB).convert("P").convert("RGB"))
    assert (read_picture(stored(tmp_path / "p.png", mode="P"), SIZE) == right).all()
    alpha = np.dstack([RGB, np.full(SIZE, 7, np.uint8)])
    assert (read_picture(stored(tmp_path / "a.png", alpha), SIZE) == RGB).all()
    coloured = Image.fromarray(RGB).quantize(8)
    coloured.info["transparency"] = 0
    coloured.save(tmp_path / "t.png")
    assert (read_picture(tmp_path / "t.png", SIZE) == np.array(coloured.convert("RGB"))).all()


@pytest.mark.parametrize("name", ["a.jpg", "a.tif"])
def test_cmyk_without_a_profile_by_pillow(tmp_path, name):
    path = stored(tmp_path / name, mode="CMYK", **({"quality": 100, "subsampling": 0} if "j" in name else {}))
    assert np.abs(read_picture(path, SIZE).astype(int) - RGB).max() <= 6


def test_a_profile_counts(tmp_path):
    """In a profile whose red and green are swapped, red pixels are green."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for old, new in ((b"rXYZ", b"????"), (b"gXYZ", b"rXYZ"), (b"????", b"gXYZ")):
        profile = profile.replace(old, new)
    flat = Image.fromarray(RGB).quantize(8)
    path = tmp_path / "p.png"
    flat.save(path, icc_profile=profile)
    assert np.abs(read_picture(path, SIZE).astype(int) - np.array(flat.convert("RGB"))[..., [1, 0, 2]]).max() <= 12
    flat.save(path, icc_profile=b"no profile")
    with pytest.raises(DataError, match=r"p\.png: .*colour profile that cannot be used"):
        read_picture(path, SIZE)
    lab = ImageCms.profileToProfile(Image.fromarray(RGB), ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"),
                                    outputMode="LAB")
    assert lab is not None
    lab.save(tmp_path / "l.tif")
    assert np.abs(read_picture(tmp_path / "l.tif", SIZE).astype(int) - RGB).max() <= 10


TURNED = {3: lambda a: a[::-1, ::-1], 6: lambda a: np.rot90(a, 1), 8: lambda a: np.rot90(a, -1), 5: lambda a: a.swapaxes(0, 1),
          7: lambda a: a[::-1, ::-1].swapaxes(0, 1)}


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.webp"])
@pytest.mark.parametrize("tag", [5, 6, 7, 8])
def test_a_turned_picture_is_turned_where_only_that_fits(tmp_path, name, tag):
    pixels = np.ascontiguousarray(TURNED[tag](RGB))
    path = stored(tmp_path / name, pixels, exif=exif(tag), **({"lossless": True} if "w" in name else {}))
    assert (read_picture(path, SIZE) == RGB).all()
    assert (read_picture(path, SIZE[::-1]) == pixels).all()  # the cloud lies as the pixels are stored
    with pytest.raises(DataError, match="sizes differ"):
        read_picture(path, SIZE, Reading(orientation="stored"))


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_where_both_ways_fit_the_orientation_is_asked_for(tmp_path, name):
    path = stored(tmp_path / name, np.ascontiguousarray(TURNED[3](RGB)), exif=exif(3))
    with pytest.raises(DataError, match=r'EXIF orientation 3, .*orientation="exif" .*orientation="stored"'):
        read_picture(path, SIZE)
    assert (read_picture(path, SIZE, Reading(orientation="exif")) == RGB).all()
    assert (read_picture(path, SIZE, Reading(orientation="stored")) == TURNED[3](RGB)).all()


def test_a_larger_picture_of_the_same_view(tmp_path):
    path = stored(tmp_path / "a.png", RGB.repeat(2, 0).repeat(2, 1))
    with pytest.raises(DataError, match=r"sizes differ, picture \(80, 112\) and cloud \(40, 56\); give resample=True"):
        read_picture(path, SIZE)
    assert (read_picture(path, SIZE, Reading(resample=True)) == RGB).all()
    with pytest.raises(DataError, match=r"show different views: .*convert depth"):
        read_picture(stored(tmp_path / "a.png", RGB[:, :-8]), SIZE, Reading(resample=True))


def deep_tiff(path):
    tifffile.imwrite(path, RGB.astype(np.uint16) * 257, photometric="rgb")


def float_tiff(path):
    tifffile.imwrite(path, RGB.astype(np.float32) / 255, photometric="rgb")


def deep_png(path):
    Image.fromarray(RGB[..., 0].astype(np.uint16)).save(path)


@pytest.mark.parametrize(("name", "write", "fault"), [
    ("a.tif", deep_tiff, "16 bits per colour channel"), ("a.tif", float_tiff, "16 bits per colour channel, or more"),
    ("a.png", deep_png, "16 bits per colour channel"),
    ("a.png", lambda path: path.write_bytes(b"x"), "truncated or no picture"),
    ("a.webp", lambda path: path.write_bytes(b"RIFF"), "truncated or no picture"),
    ("a.tif", lambda path: path.write_bytes(b"II*\0"), "truncated or no picture"),
    ("a.bmp", lambda path: stored(path, RGB[..., 0]), "three channels"), ("a.png", lambda path: None, "does not exist"),
])
def test_one_error_that_names_the_file(tmp_path, name, write, fault):
    write(tmp_path / name)
    with pytest.raises(DataError, match=rf"{name[:1]}\{name[1:]}: .*{fault}"):
        read_picture(tmp_path / name, SIZE)


def test_a_cut_picture(tmp_path):
    for name in ("a.png", "a.jpg", "a.bmp", "a.tif", "a.webp"):
        path = stored(tmp_path / name, np.random.default_rng(0).integers(0, 255, (*SIZE, 3), dtype=np.uint8))
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        with pytest.raises(DataError, match="truncated or no picture"):
            read_picture(path, SIZE)
