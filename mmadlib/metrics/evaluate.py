"""All metrics of a test set by the names of the published tables.

i_auroc, p_auroc, aupro_30 ... aupro_01 (99 thresholds, as CFM, CMDR-IAD and CFR publish), aupro_*_exact (all thresholds) and
aupro_30_fg (exact, false-positive rate over the object only: on all pixels, a detector that is blind but silent on the
background reads above chance). On request average precision and the largest F1: i_ap, i_f1_max, p_ap, p_f1_max. Notebook 02
derives all but these.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import partial

from numpy.typing import ArrayLike

from mmadlib.checks import one_of
from mmadlib.errors import MetricUndefined
from mmadlib.metrics.aupro import Pixels, aupro
from mmadlib.metrics.auroc import image_auroc
from mmadlib.metrics.precision import average_precision, f1_max, image_ap, image_f1_max

LIMITS = {"30": 0.3, "10": 0.1, "05": 0.05, "01": 0.01}  # name in the tables -> FPR limit
PUBLISHED_THRESHOLDS = 99
BY_IMAGE = {"i_auroc": image_auroc, "i_ap": image_ap, "i_f1_max": image_f1_max}
BY_PIXEL = {"p_ap": average_precision, "p_f1_max": f1_max}
EXTRA = ("i_ap", "i_f1_max", "p_ap", "p_f1_max")  # on request


def evaluate_maps(maps: Collection, masks: Collection, image_scores: ArrayLike, labels: ArrayLike,
                  foreground: Collection | None = None, pixel_maps: Collection | None = None,
                  reasons: dict[str, str] | None = None, extra: Collection[str] = ()) -> dict[str, float]:
    """All metrics of one test set by name: i_auroc, p_auroc, aupro_30 ... aupro_01, the same with _exact, aupro_30_fg.

    foreground: without it there is no aupro_30_fg. pixel_maps: other maps for p_auroc, p_ap and p_f1_max (CFM normalises maps
    per metric). extra: further metrics, of EXTRA. A metric without a value on this set is NaN; why is written into `reasons`
    {name: text} when a dict is given. Maps, masks, scores and labels may be arrays, tensors or lists of those. Raises
    UnknownName for another metric, SettingsError for shapes or labels that do not fit.
    """
    extra = (extra,) if isinstance(extra, str) else tuple(extra)
    for name in extra:
        one_of("metric on request", name, EXTRA)
    result: dict[str, float] = {}

    def put(values: Callable[[], dict[str, float]], *names: str) -> None:
        try:
            result.update(values())
        except MetricUndefined as fault:
            result.update(dict.fromkeys(names, float("nan")))
            if reasons is not None:
                reasons.update(dict.fromkeys(names, str(fault)))

    def by_image(name: str) -> dict[str, float]:
        return {name: BY_IMAGE[name](image_scores, labels)}

    def by_pixel(pixels: Pixels) -> dict[str, float]:
        asked = {name: BY_PIXEL[name](pixels.normal, pixels.defect) for name in extra if name in BY_PIXEL}
        return {"p_auroc": pixels.auroc()} | asked

    def overlaps() -> dict[str, float]:
        pixels = Pixels.collect(maps, masks)
        own = by_pixel(pixels) if pixel_maps is None else {}
        return own | {name: pixels.published(limit, PUBLISHED_THRESHOLDS) for name, limit in published.items()} | {
            f"{name}_exact": pixels.exact(limit) for name, limit in published.items()}

    published = {f"aupro_{name}": limit for name, limit in LIMITS.items()}
    pixelwise = ["p_auroc", *(name for name in extra if name in BY_PIXEL)]
    for name in ("i_auroc", *(name for name in extra if name in BY_IMAGE)):
        put(partial(by_image, name), name)
    if pixel_maps is not None:
        put(lambda: by_pixel(Pixels.collect(pixel_maps, masks)), *pixelwise)
    put(overlaps, *(pixelwise if pixel_maps is None else []), *published, *(f"{name}_exact" for name in published))
    if foreground is not None:
        put(lambda: {"aupro_30_fg": aupro(maps, masks, 0.3, foreground=foreground)}, "aupro_30_fg")
    return result
