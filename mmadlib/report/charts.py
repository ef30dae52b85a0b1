"""Charts of result tables. They take tidy tables (column `name` = a row's printed name) and `looks` {name: Row.look}.

A method keeps its colour, dashes and marker in every figure; nearest-neighbour rows are grey.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike
from scipy.optimize import isotonic_regression

from mmadlib.checks import one_of
from mmadlib.names import plotted
from mmadlib.report.draws import interval
from mmadlib.report.plots import DEPTH

Looks = Mapping[str, Mapping[str, Any]]
FEWEST = 3  # draws below which no band is drawn: an interval from two values spans the whole axis
CHANCE = "#999999"


def _band(kind: str) -> Callable[[pd.Series], tuple[float, float]]:
    """Mean ± standard deviation (sd) or the 95 % interval of the mean (ci), cut to fractions; none below FEWEST draws."""
    one_of("band", kind, ("ci", "sd"))

    def ends(values: pd.Series) -> tuple[float, float]:
        if len(values) < FEWEST:
            return float("nan"), float("nan")
        low, high = (values.mean() - values.std(), values.mean() + values.std()) if kind == "sd" else interval(values)
        return max(low, 0.0), min(high, 1.0)

    return ends


def present(data: pd.DataFrame, looks: Looks) -> list[str]:
    """The names that occur in `data`, in the order of `looks`."""
    return [n for n in looks if n in set(data["name"])]


def _place(data: pd.DataFrame, shots: Sequence[str]) -> pd.Series:
    """Position on the axis; evenly spaced, for 5, 10, 50 and all have no common scale."""
    return data["shots"].map({k: i for i, k in enumerate(shots)})


def _lines(ax: Axes, data: pd.DataFrame, shots: Sequence[str], looks: Looks, band: str, bare: Container[str] = ()) -> None:
    for ends, names in ((_band(band), [n for n in present(data, looks) if n not in bare]),
                        (None, [n for n in present(data, looks) if n in bare])):
        if not names:
            continue
        some = data[data["name"].isin(names)]
        sns.lineplot(
            some.assign(place=_place(some, shots)), x="place", y="value", hue="name", style="name", hue_order=names,
            style_order=names, palette={n: looks[n]["color"] for n in names}, dashes={n: looks[n]["dashes"] for n in names},
            markers={n: looks[n]["marker"] for n in names}, errorbar=ends, err_kws={"alpha": 0.13, "linewidth": 0},
            markersize=5, markeredgewidth=0, linewidth=1.6, legend=False, ax=ax)
    ax.set(xticks=range(len(shots)), xticklabels=shots, xlim=(-0.2, len(shots) - 0.8), xlabel="normal training samples")


def _keys(names: Sequence[str], looks: Looks) -> list:
    return [plt.Line2D([], [], color=looks[n]["color"], marker=looks[n]["marker"], markersize=5, markeredgewidth=0,
                       dashes=looks[n]["dashes"] or (None, None), label=plotted(n)) for n in names]


def spread(wanted: ArrayLike, gap: float) -> np.ndarray:
    """Heights as near as may be to the wanted ones, in their order, at least `gap` apart: labels that do not overlap."""
    wanted = np.asarray(wanted, float)
    order = np.argsort(wanted, kind="stable")
    steps = np.arange(len(wanted)) * gap
    placed = np.empty(len(wanted))
    # least squares under an order
    placed[order] = isotonic_regression(wanted[order] - steps).x + steps if len(wanted) else []
    return placed


def curve(data: pd.DataFrame, shots: Sequence[str], looks: Looks, ylabel: str, band: str = "ci") -> Figure:
    """One panel, the name of each line at its right end.

    data   columns name, shots, value, one row per draw (few_shot.planned, complete draws);   shots  the order of the axis
    band   sd: mean ± standard deviation over draws | ci: 95 % interval of the mean; none below FEWEST draws
    """
    fig, ax = plt.subplots(figsize=(7.6, 4.2))
    _lines(ax, data, shots, looks, band)
    ax.set(ylabel=ylabel)
    if data.empty:
        return fig
    means = data.assign(place=_place(data, shots)).groupby(["name", "place"])["value"].mean().reset_index()
    ends = means.groupby("name").last()
    low, high = ax.get_ylim()
    heights = spread(ends["value"], 0.045 * (high - low))
    for name, place, value, y in zip(ends.index, ends["place"], ends["value"], heights, strict=True):
        arrow = {"arrowstyle": "-", "color": looks[name]["color"], "linewidth": 0.5, "shrinkA": 0, "shrinkB": 4}
        ax.annotate(plotted(name), (place, value), (len(shots) - 0.85, y), color=looks[name]["color"], va="center",
                    fontsize=9, annotation_clip=False, arrowprops=arrow)
    return fig


def curves(data: pd.DataFrame, shots: Sequence[str], panels: Mapping[str, str], looks: Looks, ylabel: str,
           band: str = "ci", by: str = "subset", columns: int = 3, share: bool = True, bare: Container[str] = ()) -> Figure:
    """Small multiples of `curve`: a panel for each value {value: title} of the column `by`, one legend in the last place.

    share   one scale for all panels: for values that mean the same;   bare  names that are drawn without a band
    """
    rows = -(-(len(panels) + 1) // columns)
    fig, axes = plt.subplots(rows, columns, figsize=(3.3 * columns, 2.7 * rows), squeeze=False, sharey=share)
    for ax, (value, title) in zip(axes.flat, panels.items(), strict=False):
        _lines(ax, data[data[by] == value], shots, looks, band, bare)
        ax.set(title=plotted(title), ylabel=ylabel)
    for ax in axes.flat[len(panels):]:
        ax.set_axis_off()
    axes.flat[len(panels)].legend(handles=_keys(present(data, looks), looks), loc="center left", fontsize=9, handlelength=3)
    return fig


def _beside(subsets: Sequence[str], names: Sequence[str], xlabel: str) -> tuple[Figure, np.ndarray]:
    """A panel per subset, a line per name, fractions along it."""
    size = 2.2 * len(subsets) + 2, 0.3 * len(names) + 1.1
    fig, axes = plt.subplots(1, len(subsets), figsize=size, sharey=True, squeeze=False)
    for ax, subset in zip(axes.flat, subsets, strict=True):
        ax.set(title=plotted(subset), xlim=(0, 1.03), xlabel=xlabel)
    axes[0, 0].set(yticks=range(len(names)), yticklabels=[plotted(name) for name in names], ylim=(len(names) - 0.5, -0.5))
    return fig, axes


def dots(data: pd.DataFrame, subsets: Sequence[str], looks: Looks, xlabel: str, chance: float | None = None) -> Figure:
    """Who finds what: a panel per subset, a line per name, a dot per category, the bar at their mean.

    data   columns name, subset, category, value;   chance  draws a grey line there
    """
    names = present(data, looks)
    fig, axes = _beside(subsets, names, xlabel)
    for ax, subset in zip(axes.flat, subsets, strict=True):
        for y, name in enumerate(names):
            values = data.loc[(data["subset"] == subset) & (data["name"] == name), "value"].dropna()
            ax.scatter(values, [y] * len(values), color=looks[name]["color"], marker=looks[name]["marker"], s=18, alpha=0.8,
                       linewidths=0)
            ax.plot([values.mean()] * 2, [y - 0.3, y + 0.3], color=looks[name]["color"], lw=2.5)
        if chance is not None:
            ax.axvline(chance, color=CHANCE, lw=1, zorder=0)
    return fig


def pairs(table: pd.DataFrame, subsets: Sequence[str], looks: Looks, labels: tuple[str, str], xlabel: str) -> Figure:
    """Two values of each name joined by a line, a panel per subset.

    table  index name, columns (value, subset) with the two `labels` as values
    """
    names = [n for n in looks if n in table.index]
    fig, axes = _beside(subsets, names, xlabel)
    for ax, subset in zip(axes.flat, subsets, strict=True):
        for y, name in enumerate(names):
            ends = [table.at[name, (label, subset)] for label in labels]
            ax.plot(ends, [y, y], color="#cccccc", lw=2, zorder=0)
            for value, label, colour in zip(ends, labels, ("#777777", "#D55E00"), strict=True):
                ax.scatter(value, y, color=colour, s=26, label=plotted(label) if y == 0 else None)
    fig.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper right", ncols=2, fontsize=9)
    return fig


def heat(tables: Mapping[str, pd.DataFrame], label: str, columns: int = 3) -> Figure:
    """One small table of fractions in colour per name, light is good; a cell without a value shows a dash."""
    rows = -(-len(tables) // columns)
    fig, axes = plt.subplots(rows, columns, figsize=(3.4 * columns, 2.5 * rows), squeeze=False, sharex=True, sharey=True)
    for ax, (name, table) in zip(axes.flat, tables.items(), strict=False):
        image = ax.imshow(table, cmap=DEPTH, vmin=0.3, vmax=1, aspect="auto")
        ax.set(xticks=range(table.shape[1]), xticklabels=[plotted(column) for column in table.columns], title=plotted(name))
        ax.set(yticks=range(len(table)), yticklabels=[plotted(line) for line in table.index])
        for (i, j), value in np.ndenumerate(table.to_numpy(float)):
            ax.text(j, i, "–" if np.isnan(value) else f"{value:.2f}", ha="center", va="center", fontsize=8,
                    color="w" if value < 0.65 else "k")
    for ax in axes.flat[len(tables):]:
        ax.set_axis_off()
    fig.colorbar(image, ax=axes, label=label, shrink=0.8)
    return fig
