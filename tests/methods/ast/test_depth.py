"""AST's depth: what the official code made of a recorded scan, and what a scan of known shape must give."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from recorded import RECORDED, assert_whole

from mmadlib.errors import SettingsError
from mmadlib.methods.ast.depth import background, centimetres, fill_holes, levelled, packed, soft_weight, standing_out


@pytest.fixture(scope="module")
def d() -> dict[str, np.ndarray]:
    return dict(np.load(RECORDED / "ast.npz"))


def tilted(height: float = 0.0, size: int = 40) -> tuple[np.ndarray, np.ndarray]:
    """Depth of a tilted table with a box on it, and where the box is."""
    row, column = np.mgrid[:size, :size]
    box = (row > 12) & (row < 25) & (column > 15) & (column < 30)
    return (0.5 + 1e-3 * row + 5e-4 * column - height * box).astype(np.float32), box


def test_levelled_depth_keeps_what_stands_out_of_a_tilted_plane():
    z, box = tilted(0.01)
    on, z[3, 4] = np.ones_like(box), 0
    flat = levelled(z, on)
    assert z[~box].std() > 4 * flat[~box & (z != 0)].std() and flat[3, 4] == 0
    assert flat[~box].max() - flat[box].mean() == pytest.approx(0.01, rel=0.3)
    assert flat[z != 0].mean() == pytest.approx(z[z != 0].mean(), abs=1e-6)
    plane, _ = tilted()
    np.testing.assert_allclose(levelled(plane, on), plane.mean(), atol=1e-6)


def test_levelled_depth_changes_nothing_off_the_foreground_nor_without_a_plane():
    z, box = tilted(0.01)
    assert np.array_equal(levelled(z, box)[~box], z[~box])
    line = np.zeros_like(box)
    line[5] = True
    assert np.array_equal(levelled(z, line), z) and np.array_equal(levelled(z, np.zeros_like(box)), z)


@pytest.mark.parametrize("passes", [1, 2, 3])
def test_holes_are_filled_as_officially(d, passes):
    assert_whole(fill_holes(d["in.z"], passes), d[f"code.fill{passes}"], 1e-5)


def test_border_rows_are_filled_where_asked():
    z = np.full((6, 7), 0.5, np.float32)
    z[0, 3] = z[4, 0] = z[-1, -1] = z[2, 2] = 0
    official = fill_holes(z, 1)
    assert official[0, 3] == official[4, 0] == 0 and official[2, 2] == official[-1, -1] == pytest.approx(0.5)
    np.testing.assert_allclose(fill_holes(z, 1, border=True), 0.5, atol=1e-7)
    assert not fill_holes(np.zeros((4, 4), np.float32)).any()


def test_foreground_and_centimetres_are_the_official_ones(d):
    z = fill_holes(d["in.z"])
    on = standing_out(z)
    assert np.array_equal(np.packbits(on), d["out.foreground"])
    np.testing.assert_allclose(background(z)[[0, -1, 0, -1], [0, 0, -1, -1]], d["out.corners"], atol=1e-6)
    assert_whole(centimetres(z, on), d["code.depth_cm"], 2e-5)


def test_packed_depth_and_weight_are_the_official_ones(d):
    z = fill_holes(d["in.z"])
    on = torch.from_numpy(standing_out(z))
    channels = packed(torch.from_numpy(centimetres(z, on.numpy())), (6, 6), 4)
    assert_whole(F.pixel_shuffle(channels[None], 4)[0], d["code.depth_resized"], 2e-5)
    np.testing.assert_allclose(soft_weight(on, (6, 6), 4, 8), d["out.fg_down"][0, 0], atol=1e-6)
    recorded = torch.from_numpy(d["in.depth_in"])
    assert torch.equal(F.pixel_shuffle(packed(recorded[0, 0], (6, 6), 4)[None], 4), recorded[:1]), "no resize, only packed"


@pytest.mark.parametrize(("height", "stands_out"), [(0.010, True), (0.005, False)])
def test_a_box_stands_out_from_seven_millimetres_on(height, stands_out):
    z, box = tilted(height)
    assert np.array_equal(standing_out(z), box if stands_out else np.zeros_like(box))


def test_an_offset_of_the_whole_scan_changes_nothing():
    z, box = tilted(0.01)
    for moved in (z, z + np.float32(0.1)):
        assert np.array_equal(standing_out(moved), box)
        np.testing.assert_allclose(centimetres(moved, box), centimetres(z, box), atol=1e-4)
    one, other = centimetres(z, box)[14, 17], centimetres(z, box)[24, 17]
    assert other - one == pytest.approx(1.0, abs=1e-4), "ten millimetres are one centimetre"


def test_pixels_without_depth_and_off_the_object_are_at_its_mean():
    z, box = tilted(0.01)
    z[14, 17] = 0
    depth = centimetres(z, box)
    assert depth[14, 17] == 0 and not depth[~box].any() and abs(depth[box].mean()) < 0.01
    assert not centimetres(np.zeros_like(z), box).any()


def test_a_scan_without_background_has_no_corners():
    z, box = tilted(0.01)
    with pytest.raises(SettingsError, match=r"corners of the cloud have no depth.*foreground='features'"):
        standing_out(np.where(box, z, 0))


def test_the_weight_reaches_as_far_as_the_dilation():
    on = torch.zeros(24, 24, dtype=torch.bool)
    on[12, 12] = True
    assert soft_weight(on, (24, 24), 1, 1).nonzero().tolist() == [[12, 12]]
    rows = soft_weight(on, (24, 24), 1, 8).nonzero()[:, 0]
    assert (rows.min(), rows.max()) == (8, 15), "set where any of i - 3 .. i + 4 is"
    assert soft_weight(on, (12, 12), 2, 1)[6, 6] == 0.25, "a quarter of the cell"
