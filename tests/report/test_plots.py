import json

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from mmadlib.report import plots

pytestmark = pytest.mark.usefixtures("house_style")


@pytest.fixture
def tilted():
    """A plane tilted about x, 2 mm pitch, with one 5 mm bump and one invalid pixel."""
    y, x = np.mgrid[:40, :50] * 0.002 + 0.001
    xyz = np.stack([x, y, 0.5 + 0.3 * y], -1).astype(np.float32)
    xyz[20, 25, 2] -= 0.005
    xyz[3, 4] = 0
    return xyz


def test_relief_removes_the_tilt_and_points_up(tilted):
    relief = plots.height_image(tilted)
    assert np.isnan(relief[3, 4]) and np.isnan(relief).sum() == 1
    assert np.nanargmax(relief) == 20 * 50 + 25
    assert np.nanmax(relief) == pytest.approx(5 / np.hypot(1, 0.3), rel=0.02)
    assert np.nanstd(np.delete(relief.ravel(), 20 * 50 + 25)) < 0.05


def test_relief_of_an_empty_cloud_is_all_nan():
    assert np.isnan(plots.height_image(np.zeros((4, 5, 3), np.float32))).all()


def test_saved_figures_have_the_same_bytes(tmp_path):
    for suffix in ("png", "pdf", "svg"):
        written = []
        for name in "ab":
            fig, ax = plt.subplots()
            ax.plot([1, 2])
            written.append(plots.save(fig, tmp_path / f"{name}.{suffix}").read_bytes())
        assert written[0] == written[1]


def test_rows_show_maps_on_one_scale(tilted):
    mask = np.zeros((40, 50), bool)
    mask[10:14, 10:14] = True
    row = {"rgb": np.zeros((40, 50, 3), np.uint8), "xyz": tilted, "mask": mask, "title": "a"}
    fig = plots.show_samples([row | {"map": np.ones((40, 50))}, row | {"map": np.full((40, 50), 3.0)}])
    images = [fig.axes[i].images[0] for i in (2, 5)]
    assert [im.get_clim() for im in images] == [(0, 3), (0, 3)]
    assert len(plots.show_samples([row]).axes) == 3  # picture, relief, its colour bar


def test_strip_has_one_line_per_group():
    fig = plots.score_strip([1, 2, 3], ["good", "stain", "good"])
    assert [t.get_text() for t in fig.axes[0].get_yticklabels()] == ["stain", "good"]
    assert [len(c.get_offsets()) for c in fig.axes[0].collections] == [1, 2]


def test_names_in_tables_are_no_formulas():
    plots.style()
    assert "tex2jax_ignore" in pd.DataFrame({"$part$": [1]}).to_html(notebook=True)


def test_clouds_are_thinned_and_carry_no_javascript(tilted):
    values = np.random.default_rng(0).random((40, 50))
    fig = plots.cloud3d(tilted, values, limit=100)
    assert len(fig.data[0].x) == 100
    assert "<script" not in json.dumps(fig.to_plotly_json(), default=str)
    assert len(plots.thin(tilted)) == 40 * 50 - 1
    assert len(plots.thin(np.zeros((3, 3, 3)))) == 0
    assert plots.cloud_picture(tilted, values).axes[1].get_ylabel() == "score"


def test_interactive_shows_one_mimetype(tilted, monkeypatch):
    shown = []
    monkeypatch.setattr("plotly.io._renderers.ipython_display.display", lambda bundle, raw: shown.append(bundle))
    plots.interactive(plots.cloud3d(tilted, np.ones((40, 50)), limit=10))
    assert list(shown[0]) == ["application/vnd.plotly.v1+json"]


def test_box_is_a_square_window_inside_the_image():
    region = np.zeros((40, 60), bool)
    region[2:6, 50:58] = True
    rows, columns = plots.box(region, margin=3)
    assert rows.stop - rows.start == columns.stop - columns.start == 14
    assert rows.start == 0 and columns.stop == 60
    assert region[rows, columns].sum() == region.sum()
    assert region[plots.box(np.zeros((4, 5), bool))].shape == (40, 60)
    region[:] = True
    assert region[plots.box(region)].shape == (40, 60)


def test_rows_are_cropped_to_their_object(tilted):
    region = np.zeros((40, 50), bool)
    region[10:20, 10:20] = True
    row = {"rgb": np.zeros((40, 50, 3), np.uint8), "xyz": tilted, "mask": region, "object": region}
    relief = plots.show_samples([row]).axes[1].images[0].get_array()
    assert relief.shape == (22, 22) and (~np.ma.getmaskarray(relief)).sum() == 100


@pytest.mark.parametrize("name", ["$x", "a$b$c", "$\\frac{$", "\\alpha", "pi\udce8ce"])
def test_names_in_figures_stand_as_they_are(name):
    figures = [plots.show_samples([{"rgb": np.zeros((8, 8, 3), np.uint8), "xyz": np.zeros((8, 8, 3), np.float32),
                                    "mask": np.zeros((8, 8), bool), "title": name}]),
               plots.score_strip([1, 2], [name, name])]
    for fig in figures:
        fig.canvas.draw()
        plt.close(fig)
