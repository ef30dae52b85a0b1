"""All metrics of a test set by the names of the published tables.

i_auroc, p_auroc, aupro_30 ... aupro_01 (99 thresholds, as CFM, CMDR-IAD and CFR publish), aupro_*_exact (all thresholds) and
aupro_30_fg (exact, false-positive rate over the object only: on all pixels, a detector that is blind but silent on the
background reads above chance). Notebook 02 derives all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

from numpy.typing import ArrayLike

from mmadlib.errors import MetricUndefined
from mmadlib.metrics.aupro import Pixels, aupro, pixel_auroc
from mmadlib.metrics.auroc import image_auroc

LIMITS = {"30": 0.3, "10": 0.1, "05": 0.05, "01": 0.01}  # name in the tables -> FPR limit
PUBLISHED_THRESHOLDS = 99


def evaluate_maps(maps: Collection, masks: Collection, image_scores: ArrayLike, labels: ArrayLike,
                  foreground: Collection | None = None, pixel_maps: Collection | None = None,
                  reasons: dict[str, str] | None = None) -> dict[str, float]:
    """All metrics of one test set by name: i_auroc, p_auroc, aupro_30 ... aupro_01, the same with _exact, aupro_30_fg.

    foreground: without it there is no aupro_30_fg. pixel_maps: other maps for p_auroc (CFM normalises maps per metric).
    A metric without a value on this set is NaN; why is written into `reasons` {name: text} when a dict is given.
    """
    result: dict[str, float] = {}

    def put(values: Callable[[], dict[str, float]], *names: str) -> None:
        try:
            result.update(values())
        except MetricUndefined as fault:
            result.update(dict.fromkeys(names, float("nan")))
            if reasons is not None:
                reasons.update(dict.fromkeys(names, str(fault)))

    def overlaps() -> dict[str, float]:
        pixels = Pixels.collect(maps, masks)
        own = {"p_auroc": pixels.auroc()} if pixel_maps is None else {}
        return own | {name: pixels.published(limit, PUBLISHED_THRESHOLDS) for name, limit in published.items()} | {
            f"{name}_exact": pixels.exact(limit) for name, limit in published.items()}

    published = {f"aupro_{name}": limit for name, limit in LIMITS.items()}
    put(lambda: {"i_auroc": image_auroc(image_scores, labels)}, "i_auroc")
    if pixel_maps is not None:
        put(lambda: {"p_auroc": pixel_auroc(pixel_maps, masks)}, "p_auroc")
    put(overlaps, *(["p_auroc"] if pixel_maps is None else []), *published, *(f"{name}_exact" for name in published))
    if foreground is not None:
        put(lambda: {"aupro_30_fg": aupro(maps, masks, 0.3, foreground=foreground)}, "aupro_30_fg")
    return result
