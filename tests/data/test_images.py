import numpy as np
import pytest
import tifffile
from layouts import picture, spot, table, tiff
from PIL import Image

from mmadlib.data.images import BRIGHT, MIN_POINTS, mark_invalid, read_gray16, read_mask, read_pixels, read_rgb, read_xyz
from mmadlib.errors import DataError


def test_rgb_is_read_as_stored(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (7, 9, 3), dtype=np.uint8)
    assert (read_rgb(picture(tmp_path / "a.png", pixels)) == pixels).all()
    alpha = np.dstack([pixels, np.full((7, 9), 255, np.uint8)])
    assert (read_rgb(picture(tmp_path / "b.png", alpha)) == pixels).all()


@pytest.mark.parametrize("pixels", [np.zeros((5, 5), np.uint8), np.zeros((5, 5), np.uint16), np.zeros((5, 5), bool)])
def test_rgb_needs_three_channels_of_8_bits(tmp_path, pixels):
    with pytest.raises(DataError, match=r"a\.png.*three channels"):
        read_rgb(picture(tmp_path / "a.png", pixels))


def test_16_bit_colour_is_refused_not_cut(tmp_path):
    path = tmp_path / "deep.png"
    path.write_bytes(deep_png())
    with pytest.raises(DataError, match="16 bits per colour"):
        read_rgb(path)


def deep_png() -> bytes:
    """A 1x1 PNG with 16 bits per channel, which Pillow cannot write."""
    import struct
    import zlib

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", 1, 1, 16, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(7))) + chunk(b"IEND", b"")


@pytest.mark.parametrize("keep", [0, 20, 60, 400])
def test_truncated_png(tmp_path, keep):
    path = picture(tmp_path / "a.png", np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8))
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(DataError, match=r"a\.png: is truncated or no picture") as caught:
        read_rgb(path)
    assert caught.value.__suppress_context__  # no library traceback


def test_missing_files(tmp_path):
    for read in (read_pixels, read_xyz):
        with pytest.raises(DataError, match="does not exist"):
            read(tmp_path / "nothing")


def test_gray16_keeps_all_bits(tmp_path):
    code = np.arange(60000, 60035, dtype=np.uint16).reshape(5, 7)
    assert (read_gray16(picture(tmp_path / "d.png", code)) == code).all()
    with pytest.raises(DataError, match="lost the depth"):
        read_gray16(picture(tmp_path / "e.png", code.astype(np.uint8)))


@pytest.mark.parametrize("value", [128, 200, 255])
def test_any_bright_value_is_positive_where_none_are_documented(tmp_path, value):
    assert (read_mask(picture(tmp_path / "m.png", spot(value=value)), BRIGHT) == (spot() > 0)).all()
    with pytest.raises(DataError, match=r"undocumented values \(127\)"):
        read_mask(picture(tmp_path / "m.png", spot(value=127)), BRIGHT)


def test_masks_of_three_equal_channels_and_of_one_bit(tmp_path):
    opaque = np.full_like(spot(), 255)
    for pixels in (np.dstack([spot()] * 3), spot() > 0, np.dstack([spot(), opaque]), np.dstack([*[spot()] * 3, opaque])):
        assert (read_mask(picture(tmp_path / "m.png", pixels)) == (spot() > 0)).all()


@pytest.mark.parametrize(("pixels", "fault"), [
    (spot(value=1), r"undocumented values \(1\); write 0 for normal and 255 for defects, e\.g\. \(mask > 0\)"),
    (spot(value=254), r"undocumented values \(254\)"),
    (spot(value=100), r"undocumented values \(100\)"),
    (spot().astype(np.uint16), "uint16 values"),
    (np.dstack([spot(), spot(), 0 * spot()]), "mask in colours"),
    (np.maximum(spot(), 7), r"undocumented values \(7\); write 0 for normal and 255 for defects, e\.g\. \(mask > 127\)"),
    (np.dstack([0 * spot(), spot()]), "alpha channel.*; store one channel: 0 normal, 255 defect"),
    (np.dstack([spot()] * 4), "alpha channel"),
])
def test_strange_masks(tmp_path, pixels, fault):
    with pytest.raises(DataError, match=fault):
        read_mask(picture(tmp_path / "m.png", pixels))


def test_not_a_number_becomes_an_invalid_point(tmp_path):
    xyz = table()
    xyz[3, 4, 2], xyz[5, 6, 0] = np.nan, np.inf
    got = read_xyz(tiff(tmp_path / "a.tiff", xyz))
    assert got.dtype == np.float32
    assert not got[3, 4].any() and not got[5, 6].any()
    assert np.count_nonzero((got == xyz).all(-1)) == got.shape[0] * got.shape[1] - 2


def test_float64_clouds_are_accepted(tmp_path):
    assert np.allclose(read_xyz(tiff(tmp_path / "a.tiff", table().astype(np.float64))), table())


@pytest.mark.parametrize(("cloud", "fault"), [
    (table()[..., :2], "three channels"),
    (table()[..., 2], "three channels"),
    ((table() * 1000).astype(np.uint16), "uint16 values"),
    (np.full_like(table(), np.nan), "no finite point"),
    (np.zeros_like(table()), "0 valid points"),
])
def test_strange_clouds(tmp_path, cloud, fault):
    with pytest.raises(DataError, match=fault):
        read_xyz(tiff(tmp_path / "a.tiff", cloud))


def test_almost_empty_cloud(tmp_path):
    xyz = np.zeros_like(table())
    xyz.reshape(-1, 3)[: MIN_POINTS - 1] = 1
    with pytest.raises(DataError, match=f"{MIN_POINTS - 1} valid points"):
        read_xyz(tiff(tmp_path / "a.tiff", xyz))
    xyz.reshape(-1, 3)[MIN_POINTS] = 1
    read_xyz(tiff(tmp_path / "a.tiff", xyz))


@pytest.mark.parametrize("share", [0, 0.01, 0.5, 0.99])
def test_truncated_tiff(tmp_path, share):
    path = tiff(tmp_path / "a.tiff", table())
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(DataError, match=r"a\.tiff: is truncated or no TIFF"):
        read_xyz(path)


def test_missing_codec_is_named(tmp_path, monkeypatch):
    def asarray(self):
        raise ValueError("<COMPRESSION.LZW: 5> requires the 'imagecodecs' package")

    monkeypatch.setattr(tifffile.TiffPageSeries, "asarray", asarray)
    with pytest.raises(DataError, match="install imagecodecs"):
        read_xyz(tiff(tmp_path / "a.tiff", table()))


def test_points_on_an_axis_stay_valid():
    xyz = table()
    xyz[:, 10, 0] = 0
    valid = np.ones(xyz.shape[:2], bool)
    valid[0] = False
    marked = mark_invalid(xyz, valid)
    assert ((marked != 0).all(-1) == valid).all()
    assert np.abs(marked - xyz)[valid].max() <= 1e-9
    assert xyz[1, 10, 0] == 0  # the argument is not changed


def test_palette_pictures_are_read_by_colour(tmp_path):
    path = tmp_path / "p.png"
    Image.fromarray(np.dstack([spot()] * 3)).convert("P", palette=Image.Palette.ADAPTIVE, colors=2).save(path)
    assert (read_mask(path) == (spot() > 0)).all()


def test_a_tile_of_absurd_size_is_named(tmp_path):
    path = tmp_path / "a.tiff"
    tifffile.imwrite(path, table(), photometric="rgb", tile=(16, 16))
    with tifffile.TiffFile(path, mode="r+") as file:
        for name in ("TileLength", "TileWidth"):
            file.pages.first.tags[name].overwrite(2**15)
    with pytest.raises(DataError, match=r"a\.tiff: has 32768 x 32768 values, more than"):
        read_xyz(path)


def test_a_description_that_names_another_file_is_not_followed(tmp_path):
    named = [f'<UUID FileName="{name}.tiff">urn:uuid:{name}</UUID>' for name in "ab"]
    planes = "".join(f'<TiffData IFD="0" FirstT="{i}" PlaneCount="1">{uuid}</TiffData>' for i, uuid in enumerate(named))
    ome = ('<?xml version="1.0"?>'
           '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" UUID="urn:uuid:a">'
           '<Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYCZT" Type="float" SizeX="64" SizeY="48" '
           'SizeC="3" SizeZ="1" SizeT="2">'
           f'<Channel ID="Channel:0:0" SamplesPerPixel="3"/>{planes}</Pixels></Image></OME>')
    for name in "ab":
        tifffile.imwrite(tmp_path / f"{name}.tiff", table(), photometric="rgb", description=ome, metadata=None)
    assert tifffile.imread(tmp_path / "a.tiff").shape == (2, 48, 64, 3)
    assert read_xyz(tmp_path / "a.tiff").shape == (48, 64, 3)


def test_postscript_is_given_to_no_program(tmp_path, monkeypatch):
    def run(*_, **__):
        raise AssertionError("a program was started")

    monkeypatch.setattr("PIL.EpsImagePlugin.Ghostscript", run)
    (tmp_path / "a.png").write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 48\n%%EndComments\nshowpage\n")
    with pytest.raises(DataError, match="no picture"):
        read_pixels(tmp_path / "a.png")


def test_a_coordinate_beyond_single_precision_is_no_point(tmp_path):
    xyz = table().astype(np.float64)
    xyz[3, 4, 2] = 1e300
    assert np.argwhere((read_xyz(tiff(tmp_path / "a.tiff", xyz)) == 0).all(-1)).tolist() == [[3, 4]]
