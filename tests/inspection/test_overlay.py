"""Overlay: the same colours for all parts, the threshold on the bar, regions outlined where they are."""

from dataclasses import replace

import numpy as np
import pytest
from inspection_fakes import HOSTILE, THRESHOLDS, part, parts

from mmadlib.inspection.colours import OUTLINE, heat, palette, scale_of
from mmadlib.inspection.lettering import drawable, fitted, font
from mmadlib.inspection.outlines import region_pixels, rings, window
from mmadlib.inspection.overlay import BAR, GAP, HEAD, PANEL, overlay
from mmadlib.inspection.verdicts import Region
from mmadlib.inspection.views import LARGEST, view


def drawn(name="plate", score=2.5, **changes):
    sample, verdict = part(name, score)
    verdict = replace(verdict, **changes)
    scale = scale_of(parts()[1], THRESHOLDS)
    return np.asarray(overlay(view(sample, verdict, scale), verdict, scale, 7)), scale


@pytest.mark.parametrize(("top", "place"), [(1.0, 2 / 3), (1.6, 0.5), (50.0, 1 / 3)])
def test_the_threshold_lies_in_the_middle_third_of_the_scale(top, place):
    verdict = part(score=2.5)[1]
    values = np.where(np.isnan(verdict.map), np.nan, 0.0).astype(np.float32)
    values[31, 22] = top
    scale = scale_of([replace(verdict, map=values)], THRESHOLDS)
    assert scale.place(THRESHOLDS.pixel) == pytest.approx(place, abs=0.01) and scale.low == 0


def test_a_scale_exists_without_threshold_and_without_maps():
    none = replace(THRESHOLDS, pixel=float("nan"))
    assert scale_of(parts()[1], none).high == 2.5
    assert scale_of(parts()[1][3:], none).low < scale_of(parts()[1][3:], none).high


def test_heat_has_the_palette_inside_and_the_picture_outside():
    values = np.array([[np.nan, 0.2, 2.5]], np.float32)
    image = heat(values, scale_of(parts()[1], THRESHOLDS), np.full((1, 3, 3), 100, np.uint8))
    assert len(set(image[0, 0])) == 1 and image[0, 0, 0] > 180
    np.testing.assert_array_equal(image[0, 2], palette()[255])


def test_every_panel_is_outlined_and_the_bar_is_marked():
    image, scale = drawn()
    line = (image == OUTLINE).all(-1)
    panels = [line[HEAD:HEAD + PANEL, GAP + i * (PANEL + GAP):GAP + i * (PANEL + GAP) + PANEL] for i in range(3)]
    assert all(shown.sum() > 20 for shown in panels) and (panels[0] == panels[1]).all() and (panels[0] == panels[2]).all()
    rows = np.flatnonzero(line[:, -BAR:].any(1))
    share = (HEAD + PANEL - 13 - rows.mean()) / (PANEL - 25)
    assert share == pytest.approx(float(scale.place(scale.threshold)), abs=0.01)
    assert not (drawn(score=0.4)[0][HEAD:HEAD + PANEL, :-BAR - GAP] == OUTLINE).all(-1).any()


@pytest.mark.parametrize("name", [HOSTILE, "部品", "x" * 400, "", "$x^2$\n\u202e"])
def test_any_name_fits(name):
    assert drawn(name, reason="why " * 100, warnings=("w " * 200,))[0].shape == drawn()[0].shape


def test_a_name_without_letters_in_the_font_is_told_by_its_number():
    assert not np.array_equal(drawn("部品")[0], drawn("")[0])
    np.testing.assert_array_equal(drawn("部品")[0], drawn("#7")[0])
    assert drawable("Träger 7", 3) == "Träger 7" and drawable("部品_01", 3) == "#3 _01" and drawable("部a") == "a"


def test_text_is_cut_in_its_middle_and_no_more_than_needed():
    length = font(13).getlength
    cut = fitted("abcdefghij" * 20, 200, length)
    assert cut.startswith("abcd") and cut.endswith("ghij") and "…" in cut and 185 < length(cut) <= 200
    assert fitted("short", 200, length) == "short"


def test_an_outline_is_around_the_pixels_above_the_threshold_that_touch_the_peak():
    verdict = part(score=2.5)[1]
    found = region_pixels(verdict, verdict.regions[0], THRESHOLDS.pixel)
    expected = np.zeros_like(found)
    expected[30:33, 20:25] = True
    np.testing.assert_array_equal(found, expected)
    [ring] = rings(found)
    assert ring.min(0) == pytest.approx((20, 30)) and ring.max(0) == pytest.approx((25, 33))
    other = verdict.map.copy()
    other[32, 20:24] = other[31, 24] = 0  # (32, 24) now touches by no more than a corner, which counts
    assert region_pixels(replace(verdict, map=other), verdict.regions[0], THRESHOLDS.pixel).sum() == 10


def test_a_region_without_a_threshold_is_its_box():
    verdict = part(score=2.5)[1]
    assert region_pixels(verdict, verdict.regions[0], float("nan")).sum() == 15
    assert rings(np.zeros((4, 4), bool)) == []


def test_the_window_holds_the_part_and_every_region():
    verdict = part(score=2.5)[1]
    top, left, bottom, right = window(verdict)
    assert verdict.foreground[top:bottom, left:right].sum() == verdict.foreground.sum() and bottom - top < 64
    corner = replace(verdict, regions=(Region((0, 0, 2, 2), 1.0, (0, 0), 4),))
    assert window(corner)[:2] == (0, 0)
    assert window(replace(verdict, foreground=np.zeros_like(verdict.foreground), regions=())) == (0, 0, 64, 64)


def test_a_large_scan_is_reduced_and_its_smallest_peak_stays():
    sample, verdict = part(size=1300)
    values = np.where(sample.valid, 0.2, np.nan).astype(np.float32)
    top, left, *_ = window(verdict)
    for row, column in ((600, 600), (701, 601), (800, 701), (901, 800)):  # odd and even
        values[top + row - 200, left + column - 200] = 2.5
    seen = view(sample, replace(verdict, map=values), scale_of(parts()[1], THRESHOLDS))
    assert seen.step == 2 and max(seen.picture.shape) <= LARGEST and seen.picture.shape == seen.relief.shape == seen.heat.shape
    place = np.argwhere((seen.heat == palette()[255]).all(-1))
    assert place.tolist() == [[200, 200], [250, 200], [300, 250], [350, 300]]
