"""Pixel metrics: AUROC over pixels, and the area under the per-region overlap curve (AUPRO), exact and as published.

PRO(t) is the mean, over the connected regions of the ground truth, of the share of a region's pixels with score > t. AUPRO is
its integral over the false-positive rate (FPR) from 0 to a limit L, divided by L (Bergmann et al., IJCV 2021).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property
from numbers import Real

import numpy as np
from jaxtyping import Bool, Float64, Shaped
from scipy.integrate import trapezoid
from scipy.ndimage import label

from mmadlib.checks import whole
from mmadlib.errors import MetricUndefined, SettingsError
from mmadlib.metrics.arrays import as_images, as_masks

EIGHT = np.ones((3, 3), dtype=int)  # pixels that touch by a corner are one region


@dataclass(frozen=True, eq=False)
class Pixels:
    """The pixels of a test set, ready for every metric at every limit after one sort.

    normal   scores of all defect-free pixels, ascending
    defect   scores of all defect pixels, in the same unit
    weight   1 / (regions * size of the pixel's region), so that PRO is a plain sum; sums to 1
    """

    normal: Shaped[np.ndarray, " n"]
    defect: Shaped[np.ndarray, " m"]
    weight: Float64[np.ndarray, " m"]

    @classmethod
    def collect(cls, maps: Collection, masks: Collection, foreground: Collection | None = None) -> Pixels:
        """From maps and masks (H, W each); only normal pixels inside `foreground` count as possible false positives.

        Raises MetricUndefined when a map holds NaN, no mask holds a defect or no defect-free pixel is left.
        """
        maps = as_images(maps, "maps")
        masks = as_masks(masks, "masks", maps)
        allowed = [~m for m in masks]
        if foreground is not None:
            allowed = [a & f for a, f in zip(allowed, as_masks(foreground, "foreground", maps), strict=True)]
        if any(np.isnan(m).any() for m in maps):
            raise MetricUndefined("an anomaly map holds NaN: ranks, and so every pixel metric, are undefined")
        if not any(m.any() for m in masks):
            raise MetricUndefined("no mask holds a defect: pixel metrics need at least one defect pixel")
        normal = np.concatenate([m[a] for m, a in zip(maps, allowed, strict=True)])
        if normal.size == 0:
            raise MetricUndefined("no defect-free pixel is left: the false-positive rate is undefined")
        defect = np.concatenate([m[k] for m, k in zip(maps, masks, strict=True)])
        return cls(np.sort(normal), defect, _region_weights(masks))

    @cached_property
    def false_positives(self) -> tuple[Float64[np.ndarray, " m"], Float64[np.ndarray, " m"]]:
        """g, h: shares of normal pixels with score > v and >= v, for the score v of every defect pixel."""
        order = np.argsort(self.defect)  # searching in order stays in the processor's cache
        defect, n = self.defect[order], len(self.normal)
        g, h = np.empty((2, len(order)))
        g[order] = 1 - np.searchsorted(self.normal, defect, "right") / n
        h[order] = 1 - np.searchsorted(self.normal, defect, "left") / n
        return g, h

    def auroc(self) -> float:
        """Pixel AUROC: P(defect pixel scores higher than normal pixel), a tie counting one half."""
        g, h = self.false_positives
        return float(1 - (g.mean() + h.mean()) / 2)

    def exact(self, limit: float) -> float:
        """AUPRO through all distinct thresholds, in closed form.

        A region pixel of score v joins the overlap while the FPR goes from g to h, linearly: the trapezoid runs through
        ties. Its part of the area is (1/L) * integral over t from 0 to L of clip((t - g) / (h - g), 0, 1).
        """
        g, h = self.false_positives
        rising = np.clip(limit - g, 0, h - g)  # how much of the slope lies below the limit
        slope = np.divide(rising**2, 2 * (h - g), out=np.zeros_like(g), where=h > g)
        return float(self.weight @ (slope + np.maximum(limit - h, 0)) / limit)

    def curve(self, thresholds: int) -> tuple[Float64[np.ndarray, " {thresholds}+1"], Float64[np.ndarray, " {thresholds}+1"]]:
        """FPR and PRO, ascending, at thresholds of equal rank distance, as published.

        FPR is read off the rank, not recounted, so ties shift it. Source: eliahuhorwitz/3D-ADS utils/au_pro_util.py.
        """
        n = len(self.normal)
        ranks = np.linspace(0, n - 1, thresholds, dtype=int)
        passed = np.searchsorted(self.normal[ranks], self.defect, "left")  # thresholds below each defect pixel
        reached = np.bincount(passed, self.weight, thresholds + 1)
        pro = reached[::-1].cumsum()[::-1][1:]
        return np.r_[(1 - (ranks + 1) / n)[::-1], 1.0], np.r_[pro[::-1], 1.0]

    def published(self, limit: float, thresholds: int = 99) -> float:
        """AUPRO on `thresholds` points (99: CFM, CMDR-IAD, CFR; 100: BTF, M3DM, Shape-Guided), PRO linear in between."""
        fpr, pro = self.curve(thresholds)
        below = fpr < limit
        x, y = np.r_[fpr[below], limit], np.r_[pro[below], np.interp(limit, fpr, pro)]
        return float(trapezoid(y, x) / limit)


def _region_weights(masks: list[Bool[np.ndarray, "_ _"]]) -> Float64[np.ndarray, " m"]:
    """1 / (regions * region size) of every defect pixel, image after image; regions never reach across images."""
    shares, regions = [], 0
    for mask in masks:
        if mask.any():
            labels, count = label(mask, structure=EIGHT)
            shares.append(1 / np.bincount(labels.ravel())[labels[mask]])
            regions += count
    return np.concatenate(shares) / regions


def pixel_auroc(maps: Collection, masks: Collection) -> float:
    """AUROC over all pixels of all images, background included (as published; a lenient number).

    maps: (n, H, W) array or tensor, or a list of (H, W) of any sizes, higher is more anomalous; masks alike, > 0 is defect.
    Raises MetricUndefined on NaN, or when defect or defect-free pixels are missing.
    """
    return Pixels.collect(maps, masks).auroc()


def aupro(maps: Collection, masks: Collection, limit: float = 0.3, thresholds: int | None = None,
          foreground: Collection | None = None) -> float:
    """Area under the per-region overlap curve up to FPR `limit`, divided by it.

    maps, masks: as `pixel_auroc`. thresholds: None is exact; 99 or 100 thresholds of equal rank distance as published.
    foreground: as masks; only defect-free pixels inside it count in the FPR. Regions are 8-connected, never across images.
    Raises MetricUndefined as `pixel_auroc`, SettingsError on an impossible limit or number of thresholds.
    """
    if not isinstance(limit, Real) or not 0 < limit <= 1:
        raise SettingsError(f"limit={limit!r}: the false-positive rate ends in (0, 1]")
    if thresholds is not None:
        thresholds = whole("thresholds", thresholds, 2)  # None is the exact curve
    pixels = Pixels.collect(maps, masks, foreground)
    return pixels.exact(limit) if thresholds is None else pixels.published(limit, thresholds)
