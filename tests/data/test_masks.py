"""Masks as annotation tools write them."""

import numpy as np
import pytest
from layouts import picture
from PIL import Image
from stored_scans import SIZE, defect, scan

from mmadlib.data.masks import read_own_mask
from mmadlib.data.reading import Reading
from mmadlib.errors import DataError

DEFECT = defect()
GREY = DEFECT.astype(np.uint8) * 255
VALID = scan().any(-1)


def read(path, **reading):
    return read_own_mask(path, VALID, Reading(**reading))


@pytest.mark.parametrize("quality", [30, 75, 95])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_jpeg_is_cut_at_half_its_range(tmp_path, quality, mode):
    Image.fromarray(GREY).convert(mode).save(tmp_path / "m.jpg", quality=quality)
    with Image.open(tmp_path / "m.jpg") as image:
        levels = np.array(image.convert("L"))
    assert len(np.unique(levels)) > 2 and (read(tmp_path / "m.jpg") == (levels > 127)).all()
    assert np.count_nonzero(read(tmp_path / "m.jpg") ^ DEFECT) <= 6


@pytest.mark.parametrize("name", ["m.bmp", "m.tif", "m.webp", "m.png"])
def test_other_kinds(tmp_path, name):
    Image.fromarray(GREY).save(tmp_path / name, **({"lossless": True} if "w" in name else {}))
    assert (read(tmp_path / name) == DEFECT).all()


def test_alpha(tmp_path):
    full = np.full(SIZE, 255, np.uint8)
    for pixels in (np.dstack([GREY, full]), np.dstack([GREY] * 3 + [full]), np.dstack([full, GREY]), np.dstack([GREY, GREY])):
        assert (read(picture(tmp_path / "m.png", pixels)) == DEFECT).all()
    with pytest.raises(DataError, match="drawn in its alpha channel"):
        read(picture(tmp_path / "m.png", np.dstack([0 * full, GREY])))
    with pytest.raises(DataError, match=r"undocumented values \(90\)"):
        read(picture(tmp_path / "m.png", np.dstack([full, np.where(DEFECT, 90, 0).astype(np.uint8)])))


@pytest.mark.parametrize("palette", [[0, 0, 0, 255, 255, 255], [0, 0, 0, 128, 0, 0], [255, 255, 255, 0, 0, 0]])
def test_a_palette_is_read_by_its_colours(tmp_path, palette):
    black = palette[:3] == [0, 0, 0]
    image = Image.fromarray((DEFECT if black else ~DEFECT).astype(np.uint8)).convert("P")
    image.putpalette(palette)
    image.save(tmp_path / "m.png")
    assert (read(tmp_path / "m.png") == DEFECT).all()


@pytest.mark.parametrize(("pixels", "fault"), [
    (GREY // 255, r"undocumented values \(1\); write 0 for normal and 255 for defects, e\.g\. \(mask > 0\)"),
    (np.where(DEFECT, 200, 0).astype(np.uint8), r"undocumented values \(200\); .*\(mask > 127\)"),
    (np.dstack([GREY, 0 * GREY, 0 * GREY]), "mask in colours"), (GREY.astype(np.uint16) * 257, "mask of uint16 values"),
])
def test_what_is_not_documented_is_not_guessed(tmp_path, pixels, fault):
    with pytest.raises(DataError, match=fault):
        read(picture(tmp_path / "m.png", pixels))


def test_a_dark_jpeg(tmp_path):
    Image.fromarray(GREY // 4).save(tmp_path / "m.jpg")
    with pytest.raises(DataError, match="compressed mask whose brightest value is"):
        read(tmp_path / "m.jpg")


@pytest.mark.parametrize("on_part", [False, True])
def test_a_mask_of_what_is_good_is_not_accepted_in_silence(tmp_path, on_part):
    inverted = ~DEFECT & VALID if on_part else ~DEFECT
    path = picture(tmp_path / "m.png", inverted.astype(np.uint8) * 255)
    share = r"\d+ of \d+ pixels of the (frame|part) \(9\d\.\d %\)"
    with pytest.raises(DataError, match=f'{share} and may be inverted; .*masks="black" .*masks="white"'):
        read(path)
    assert (read(path, masks="white") == inverted).all()
    assert (read(path, masks="black") == ~inverted).all()


def test_a_large_defect_that_ends_within_the_part_is_none_of_what_is_good(tmp_path):
    large = np.zeros(SIZE, bool)
    large[:, :32] = True  # 57 % of the frame, 66 % of the part
    assert (read(picture(tmp_path / "m.png", large.astype(np.uint8) * 255)) == large).all()


def test_another_size_and_no_defect_lost(tmp_path):
    large = np.zeros((3 * SIZE[0], 3 * SIZE[1]), np.uint8)
    large[61, 80] = 255  # one pixel of nine
    path = picture(tmp_path / "m.png", large)
    with pytest.raises(DataError, match=r"sizes differ, mask \(120, 168\) and cloud \(40, 56\); .*resample=True"):
        read(path)
    assert np.argwhere(read(path, resample=True)).tolist() == [[20, 26]]
