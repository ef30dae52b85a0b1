"""Contact sheets: every part, what was kept of it, what should be looked at."""

import numpy as np
import pytest
from inspection_fakes import part
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.image import imread
from PIL import Image

from mmadlib.errors import DataError
from mmadlib.inspection import sheet
from mmadlib.inspection.colours import BADGE, OUTLINE
from mmadlib.inspection.sheet import SIDE, contact_sheet, page, save_sheet, tile


@pytest.fixture
def strip():
    sample, verdict = part()
    xyz = sample.xyz.copy()
    xyz[28:34, 28:34] = 0
    return np.asarray(tile(sample.with_(xyz=xyz, valid=None), verdict.foreground))


def test_what_was_kept_is_in_colour_and_the_rest_grey(strip):
    kept = strip[:, 2 * (SIDE + 4):].astype(int)
    grey = np.ptp(kept, -1) == 0
    assert grey[:15, :15].all() and not grey[SIDE // 3:SIDE // 2, SIDE // 3:SIDE // 2].all()


def test_a_hole_of_the_part_is_marked(strip):
    marked = (np.abs(strip[:, 2 * (SIDE + 4):].astype(int) - OUTLINE).max(-1) < 40)
    assert marked[SIDE // 2 - 2:SIDE // 2 + 2, SIDE // 2 - 2:SIDE // 2 + 2].all() and marked.mean() < 0.05


def test_parts_with_a_note_are_framed(strip):
    image = Image.fromarray(strip)
    plain, noted = (np.asarray(page([image] * 2, ["a", "b"], ["", note])) for note in ("", "a hole"))
    frame = lambda pixels: (pixels == BADGE["bad"]).all(-1).sum()  # noqa: E731
    assert frame(plain) == 0 and frame(noted) > 2 * (3 * SIDE + SIDE)
    assert noted.shape[0] > plain.shape[0] and noted.shape[1] == plain.shape[1]


def test_the_figure_has_the_pixels_of_the_page():
    sample, verdict = part()
    figure = contact_sheet([sample] * 5, [verdict.foreground] * 5, list("abcde"), [""] * 5)
    expected = np.asarray(page([tile(sample, verdict.foreground)] * 5, list("abcde"), [""] * 5))
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    shown = np.asarray(canvas.buffer_rgba())[..., :3]
    assert shown.shape == expected.shape and np.abs(shown.astype(int) - expected).mean() < 1


def test_many_parts_take_several_pages(tmp_path, monkeypatch):
    monkeypatch.setattr(sheet, "PAGE", 4)
    sample, verdict = part()
    paths = save_sheet(tmp_path / "sheet.png", [sample] * 9, [verdict.foreground] * 9, ["部"] * 9, ["long note " * 60] * 9)
    assert [p.name for p in paths] == ["sheet.png", "sheet-2.png", "sheet-3.png"] == sorted(
        (p.name for p in tmp_path.iterdir()), key=lambda n: (len(n), n))
    first, last = (imread(paths[i]).shape for i in (0, 2))
    assert last[0] < first[0]


def test_a_part_that_cannot_be_read_is_shown_empty():
    class Broken(list):
        def __getitem__(self, i):
            raise DataError("a.png: is truncated; copy it again")

    figure = contact_sheet(Broken([0]), [np.zeros((1, 1), bool)], ["a"], ["it cannot be read"])
    assert figure.get_size_inches()[0] > 3
    assert sheet.shown(Broken([0]), 0, (7, 9)).size == (7, 9)
