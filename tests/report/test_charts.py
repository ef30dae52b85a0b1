"""Charts draw what the table says: every name once, in its own colour, bands over draws, labels that do not overlap."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from measured import plan, table

from mmadlib.errors import UnknownName
from mmadlib.report import charts, few_shot
from mmadlib.report.draws import interval

SHOTS = ("1", "2", "4")
LOOKS = {r.name: r.look for r in plan().rows}

pytestmark = pytest.mark.usefixtures("house_style")


@pytest.fixture
def draws():
    found = few_shot.whole(few_shot.planned(table(), plan()))
    return found[found["metric"] == "i_auroc"]


def line_of(ax, name):
    lines = [ln for ln in ax.lines if ln.get_color() == LOOKS[name]["color"]]
    assert len(lines) == 1
    return lines[0]


@pytest.mark.parametrize("band", ["ci", "sd"])
def test_a_curve_is_the_mean_over_draws_with_its_band(draws, band):
    chosen = draws[draws["subset"] == "all"]
    fig = charts.curve(chosen, SHOTS, LOOKS, "image AUROC", band)
    ax = fig.axes[0]
    assert line_of(ax, "CFM").get_ydata() == pytest.approx([0.75 + 0.04 + 0.001 * k for k in (1, 2, 4)])
    assert [t.get_text() for t in ax.get_xticklabels()] == list(SHOTS)
    assert sorted(t.get_text() for t in ax.texts) == sorted(LOOKS)
    values = chosen.loc[(chosen["name"] == "CFM") & (chosen["shots"] == "1"), "value"]
    ends = interval(values) if band == "ci" else (values.mean() - values.std(), values.mean() + values.std())
    colour = mpl.colors.to_rgb(LOOKS["CFM"]["color"])
    edge = next(c for c in ax.collections if tuple(c.get_facecolor()[0][:3]) == colour).get_paths()[0].vertices
    assert sorted(set(edge[edge[:, 0] == 0, 1].round(6)))[::len(ends) - 1] == pytest.approx(ends, abs=1e-6)


def test_a_band_stays_among_fractions(draws):
    wild = draws[draws["subset"] == "all"].assign(value=lambda t: t["data_seed"].map({1: 0.0, 2: 1.0, 3: 0.9}))
    ax = charts.curve(wild, SHOTS, LOOKS, "y").axes[0]
    ends = np.concatenate([c.get_paths()[0].vertices[:, 1] for c in ax.collections])
    assert (ends.min(), ends.max()) == (0, 1)
    with pytest.raises(UnknownName, match="band"):
        charts.curve(wild, SHOTS, LOOKS, "y", band="se")


def test_the_order_of_shots_is_that_of_the_axis(draws):
    chosen = draws[draws["subset"] == "all"]
    back = charts.curve(chosen, SHOTS[::-1], LOOKS, "y")
    assert line_of(back.axes[0], "CFM").get_ydata()[0] == pytest.approx(0.794)


def test_panels_share_one_legend_and_one_scale(draws):
    fig = charts.curves(draws, SHOTS, {"all": "all defects", "rgb": "rgb"}, LOOKS, "image AUROC")
    assert [ax.get_title() for ax in fig.axes] == ["all defects", "rgb", ""]
    assert fig.axes[0].get_ylim() == fig.axes[1].get_ylim()
    assert [t.get_text() for t in fig.axes[2].get_legend().get_texts()] == list(LOOKS)


def test_bare_names_have_a_line_and_no_band(draws):
    def bands(bare):
        ax = charts.curves(draws, SHOTS, {"all": "all"}, LOOKS, "y", bare=bare).axes[0]
        assert len(ax.lines) == len(LOOKS)
        return {mpl.colors.to_hex(c.get_facecolor()[0][:3]).upper() for c in ax.collections}

    assert bands(()) - bands(("CFM",)) == {LOOKS["CFM"]["color"].upper()}


def test_nothing_run_draws_empty_axes(draws):
    assert charts.curve(draws.iloc[:0], SHOTS, LOOKS, "y").axes[0].lines[:] == []
    assert len(charts.curves(draws.iloc[:0], SHOTS, {"all": "all"}, LOOKS, "y").axes) == 3


@pytest.mark.parametrize("seeds", [(1,), (1, 3)])
def test_too_few_draws_have_points_and_no_band(draws, seeds):
    ax = charts.curve(draws[(draws["subset"] == "all") & draws["data_seed"].isin(seeds)], SHOTS, LOOKS, "y").axes[0]
    bands = np.concatenate([c.get_paths()[0].vertices[:, 1] for c in ax.collections if c.get_paths()] or [np.array([np.nan])])
    assert np.isnan(bands).all() or not ax.collections
    assert len(ax.lines) == 3


@pytest.mark.parametrize("wanted", [[0.5, 0.5, 0.5], [0.1, 0.9], [0.3, 0.32, 0.9, 0.31], [], [0.7]])
def test_labels_keep_order_distance_and_middle(wanted):
    placed = charts.spread(wanted, 0.1)
    assert (np.diff(np.sort(placed)) >= 0.1 - 1e-12).all()
    assert np.array_equal(np.argsort(placed, kind="stable"), np.argsort(wanted, kind="stable"))
    assert placed.sum() == pytest.approx(sum(wanted))


def test_dots_bar_at_the_mean_and_missing_subsets_stay_empty():
    data = pd.DataFrame([["CFM", "rgb", c, v] for c, v in (("a", 0.5), ("b", 0.7))],
                        columns=["name", "subset", "category", "value"])
    fig = charts.dots(data, ["rgb", "relation"], LOOKS, "image AUROC", chance=0.5)
    left, right = fig.axes
    assert left.collections[0].get_offsets()[:, 0].tolist() == [0.5, 0.7]
    assert left.lines[0].get_xdata() == pytest.approx([0.6, 0.6]) and list(left.lines[1].get_xdata()) == [0.5, 0.5]
    assert len(right.collections[0].get_offsets()) == 0
    assert [t.get_text() for t in left.get_yticklabels()] == ["CFM"]


def test_pairs_join_two_values_under_one_legend():
    columns = pd.MultiIndex.from_product([["all pixels", "the part alone"], ["rgb"]])
    fig = charts.pairs(pd.DataFrame([[0.9, 0.6]], index=["CFM"], columns=columns), ["rgb"], LOOKS,
                       ("all pixels", "the part alone"), "AUPRO@30")
    assert fig.axes[0].lines[0].get_xdata() == pytest.approx([0.9, 0.6])
    assert [t.get_text() for t in fig.legends[0].get_texts()] == ["all pixels", "the part alone"]


def test_heat_writes_every_cell():
    tables = {n: pd.DataFrame([[0.91, np.nan]], index=["keyed"], columns=["rgb", "xyz"]) for n in ("CFM", "CPIR")}
    fig = charts.heat(tables, "image AUROC")
    assert [ax.get_title() for ax in fig.axes[:2]] == ["CFM", "CPIR"]
    assert [t.get_text() for t in fig.axes[0].texts] == ["0.91", "–"]


@pytest.mark.parametrize("name", ["$x", "a$b$c", "$\\frac{$", "\\alpha"])
def test_names_stand_as_they_are(name):
    looks = {name: LOOKS["CFM"]}
    data = pd.DataFrame({"name": name, "shots": ["1", "2"], "value": [0.5, 0.6], "subset": name, "category": name})
    beside = pd.DataFrame([[0.5, 0.6]], index=[name], columns=pd.MultiIndex.from_product([[name, "other"], [name]]))
    figures = [charts.curve(data, ("1", "2"), looks, "y"), charts.curves(data, ("1", "2"), {name: name}, looks, "y"),
               charts.dots(data, [name], looks, "x"), charts.pairs(beside, [name], looks, (name, "other"), "x"),
               charts.heat({name: pd.DataFrame([[0.5]], index=[name], columns=[name])}, "y", 1)]
    for fig in figures:
        fig.canvas.draw()
        mpl.pyplot.close(fig)
