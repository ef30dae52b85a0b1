"""Style and pictures. Everything here takes arrays; colours are safe for colour-blind readers and for print.

Sequential data use perceptually uniform maps (cividis for depth, inferno for scores); categories use the palette of
Okabe and Ito (2008).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NotRequired, TypedDict

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import plotly.graph_objects as go
from jaxtyping import Bool, Float, Float32, UInt8
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.rcsetup import cycler
from numpy.typing import ArrayLike

from mmadlib.atomic import atomic
from mmadlib.names import plotted

DEPTH, SCORE = "cividis", "inferno"
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#F0E442")
TRUTH = "#56B4E9"  # outline of the ground truth, readable on pictures and on inferno
MAX_POINTS = 5000  # interactive clouds stay light enough for a stored notebook


def style() -> None:
    """Set the house style; called once at the top of a notebook."""
    pd.set_option("display.html.use_mathjax", False)  # a name with two $ is no formula
    mpl.rcParams.update({
        "figure.dpi": 72, "savefig.dpi": 120, "figure.constrained_layout.use": True, "font.size": 10,
        "axes.spines.top": False, "axes.spines.right": False, "axes.titlesize": 10, "image.cmap": SCORE,
        "image.interpolation": "nearest", "axes.prop_cycle": cycler(color=PALETTE), "legend.frameon": False,
        "svg.hashsalt": "mmadlib",
    })


def save(fig: Figure, path: str | Path) -> Path:
    """Write a figure with the same bytes every time: no dates, no versions; atomic."""
    path = Path(path)
    metadata = {".png": {"Software": None}, ".pdf": {"CreationDate": None}, ".svg": {"Date": None}}[path.suffix]
    with atomic(path) as temporary:
        fig.savefig(temporary, metadata=metadata)
    return path


def height_image(xyz: np.ndarray) -> np.ndarray:
    """What a reader sees as relief, (H, W) in mm: distance from the plane fitted to the valid points; NaN where invalid.

    Plain z of a tilted scene shows the tilt and nothing else.
    """
    valid = (xyz != 0).all(-1)
    image = np.full(valid.shape, np.nan)
    if valid.sum() < 3:
        return image
    points = xyz[valid].astype(np.float64)
    centre = points.mean(0)
    normal = np.linalg.svd(points[:: max(1, len(points) // 4000)] - centre, full_matrices=False)[2][2]
    image[valid] = (points - centre) @ (normal if normal[2] < 0 else -normal) * 1000  # towards the camera is up
    return image


def _bare(ax: Axes, title: str = "") -> None:
    ax.set(xticks=[], yticks=[], title=title)
    for spine in ax.spines.values():
        spine.set_visible(False)


def outline(ax: Axes, mask: np.ndarray, colour: str = TRUTH) -> None:
    """Draw the border of a ground-truth mask (H, W)."""
    if mask.any():
        ax.contour(mask, levels=[0.5], colors=[colour], linewidths=1.2)


def box(region: np.ndarray, margin: int = 6) -> tuple[slice, slice]:
    """The smallest square window around a region (H, W) bool, with a margin in pixels; the whole image when it is empty."""
    if not region.any():
        return np.s_[:, :]
    (top, bottom), (left, right) = ((i.min() - margin, i.max() + margin + 1) for i in np.nonzero(region))
    side = max(bottom - top, right - left)
    start = [min(max((a + b - side) // 2, 0), max(n - side, 0)) for (a, b), n in
             zip(((top, bottom), (left, right)), region.shape, strict=True)]
    return np.s_[start[0]:start[0] + side, start[1]:start[1] + side]


class Shown(TypedDict):
    """A sample as `show_samples` takes it: mask is the ground truth, the row is cropped to object."""

    rgb: UInt8[np.ndarray, "H W 3"]
    xyz: Float32[np.ndarray, "H W 3"]
    mask: Bool[np.ndarray, "H W"]
    map: NotRequired[Float[np.ndarray, "H W"]]
    object: NotRequired[Bool[np.ndarray, "H W"]]
    title: NotRequired[str]


def show_samples(rows: Sequence[Shown]) -> Figure:
    """One row per sample: picture, relief, and, when given, the anomaly map; the ground truth outlined in each.

    All maps share one colour scale, so a bright map means a bright map of another row.
    """
    columns = 3 if any("map" in row for row in rows) else 2
    fig, axes = plt.subplots(len(rows), columns, figsize=(1.85 * columns + 0.5, 1.7 * len(rows) + 0.2), squeeze=False)
    top = max((float(np.max(row["map"])) for row in rows if "map" in row), default=1.0)
    for i, (line, row) in enumerate(zip(axes, rows, strict=True)):
        window = box(row["object"]) if "object" in row else np.s_[:, :]
        relief = height_image(np.where(row["object"][..., None], row["xyz"], 0) if "object" in row else row["xyz"])
        line[0].imshow(row["rgb"][window])
        fig.colorbar(line[1].imshow(relief[window], cmap=DEPTH), ax=line[1], shrink=0.75, label="relief, mm")
        if "map" in row:
            heat = line[2].imshow(row["map"][window], cmap=SCORE, vmin=0, vmax=top)
            fig.colorbar(heat, ax=line[2], shrink=0.75, label="score")
        for ax, name in zip(line, ("picture", "3D scan", "anomaly map"), strict=False):
            outline(ax, row["mask"][window])
            _bare(ax, name if i == 0 else "")
        line[0].set_ylabel(plotted(row.get("title", "")))
    return fig


def score_strip(scores: ArrayLike, groups: ArrayLike, order: Sequence[str] | None = None) -> Figure:
    """Image scores of every test sample, one horizontal strip per group: where they overlap, detection fails."""
    scores, groups = np.asarray(scores, float), np.asarray(groups)
    order = list(order or dict.fromkeys(groups))
    fig, ax = plt.subplots(figsize=(6, 0.38 * len(order) + 0.9))
    for y, group in enumerate(reversed(order)):
        values = np.sort(scores[groups == group])
        jitter = (np.arange(len(values)) % 5 - 2) * 0.07  # overlapping dots stay countable
        ax.scatter(values, y + jitter, s=16, alpha=0.75, linewidths=0, color="#777777" if group == "good" else PALETTE[1])
    ax.set(yticks=range(len(order)), yticklabels=[plotted(group) for group in reversed(order)], xlabel="image anomaly score")
    return fig


def thin(xyz: np.ndarray, limit: int = MAX_POINTS) -> np.ndarray:
    """int64 flat indices of at most `limit` valid points, evenly spread over the pixel grid."""
    valid = np.flatnonzero((xyz != 0).all(-1))
    return valid[np.linspace(0, len(valid) - 1, min(limit, len(valid))).astype(int)] if len(valid) else valid


def cloud3d(xyz: np.ndarray, values: np.ndarray, label: str = "score", limit: int = MAX_POINTS) -> go.Figure:
    """Interactive point cloud (H, W, 3) in mm coloured by values (H, W); turn it with the mouse."""
    keep = thin(xyz, limit)
    x, y, z = (xyz.reshape(-1, 3)[keep].T * 1000).round(1).astype(np.float32)
    marker = {"size": 2.2, "color": np.asarray(values, np.float32).ravel()[keep].round(3), "colorscale": "Inferno",
              "colorbar": {"title": {"text": label}, "thickness": 12}}
    fig = go.Figure(go.Scatter3d(x=x, y=-y, z=-z, mode="markers", marker=marker,
                                 hovertemplate=f"{label} %{{marker.color}}<extra></extra>"))
    axis = {"showbackground": False, "title": {"text": ""}, "showticklabels": False}
    fig.update_layout(template="none", width=560, height=420, margin={"l": 0, "r": 0, "t": 0, "b": 0},
                      scene={"aspectmode": "data", "xaxis": axis, "yaxis": axis, "zaxis": axis,
                             "camera": {"eye": {"x": 0.2, "y": -1.2, "z": 1.3}}})
    return fig


def cloud_picture(xyz: np.ndarray, values: np.ndarray, label: str = "score") -> Figure:
    """The still picture beside `cloud3d`, for print and for readers without JavaScript."""
    keep = thin(xyz)
    x, y, z = xyz.reshape(-1, 3)[keep].T * 1000
    fig = plt.figure(figsize=(5.2, 3.6))
    ax = fig.add_subplot(projection="3d")
    dots = ax.scatter(x, -y, -z, c=np.asarray(values, float).ravel()[keep], cmap=SCORE, s=3, linewidths=0)
    ax.set_box_aspect((np.ptp(x), np.ptp(y), np.ptp(z)), zoom=1.35)
    ax.view_init(elev=50, azim=-80)
    ax.set_axis_off()
    fig.colorbar(dots, ax=ax, shrink=0.6, label=label)
    return fig


def interactive(fig: go.Figure) -> None:
    """Show a plotly figure by its mimetype alone: no JavaScript is stored in the notebook."""
    fig.show(renderer="plotly_mimetype")
