"""From scores to numbers: all metrics of a test set, by modality, by defect, and against twins."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from mmadlib.data import Entry, Samples
from mmadlib.features import Features, Truth
from mmadlib.methods import Method, Scores
from mmadlib.methods.scoring import IMAGE_NORMS, normalise
from mmadlib.metrics import bootstrap_auroc, evaluate_maps, image_auroc

SUBSETS = ("rgb", "xyz", "both", "relation")  # modality that shows the defect; "all" comes first


def metrics_of(scores: Sequence[Scores], truths: Sequence[Truth], foregrounds: Sequence[np.ndarray],
               image_norm: str = "none", reasons: dict[str, str] | None = None,
               extra: Collection[str] = ()) -> dict[str, float]:
    """All metrics of a set of test samples, plus a 95 % bootstrap interval of the image AUROC.

    image_norm rescales each map per metric first (scoring.IMAGE_NORMS), e.g. "cfm" as CFM, CMDR-IAD and CFR do. Metrics
    without a value on this set, e.g. AUROC without defects, are NaN; why is written into `reasons` {metric: text}.
    extra: metrics beyond the default ones, see metrics.evaluate_maps. Samples that nobody has labelled (label -1) count
    neither as normal nor as anomalous, and their pixels not as free of defects: they are left out.
    """
    told = [i for i, t in enumerate(truths) if t.label >= 0]
    if not told:
        return _without_labels(len(truths), reasons, extra)
    scores, truths, foregrounds = [scores[i] for i in told], [truths[i] for i in told], [foregrounds[i] for i in told]
    maps = [s.map for s in scores]
    pixel_maps = maps
    if kinds := IMAGE_NORMS[image_norm]:
        maps, pixel_maps = ([normalise(m, kind) for m in maps] for kind in kinds[:2])
    labels, images = [t.label for t in truths], [s.image for s in scores]
    result = evaluate_maps(maps, [t.mask for t in truths], images, labels, foregrounds, pixel_maps, reasons, extra)
    if 0 < sum(labels) < len(labels):
        result["i_auroc_low"], result["i_auroc_high"] = bootstrap_auroc(images, labels)
    return result


def _without_labels(count: int, reasons: dict[str, str] | None, extra: Collection[str]) -> dict[str, float]:
    """The metrics of a set without one labelled sample: none has a value."""
    names = list(evaluate_maps([np.zeros((1, 1))], [np.zeros((1, 1))], [0.0], [0], [np.ones((1, 1))], extra=extra))
    if reasons is not None:
        reasons.update(dict.fromkeys(names, f"none of {count} test samples is labelled: scores are all there is to have"))
    return dict.fromkeys(names, float("nan"))


def breakdown(scores: Sequence[Scores], truths: Sequence[Truth], foregrounds: Sequence[np.ndarray], image_norm: str = "none",
              by: str = "modality", undefined: dict[str, dict[str, str]] | None = None,
              known: dict[tuple[int, ...], tuple[dict, dict]] | None = None,
              extra: Collection[str] = ()) -> dict[str, dict[str, float]]:
    """Metrics over the defects of each kind against the same normal samples: {kind: {metric: value}}.

    by: "modality" ("all" for every defect, then rgb, xyz, both, relation; what is not labelled counts in "all" only) or
    "defect", where a kind may have any name, also "all". Samples without a label are in none.
    undefined: filled with {kind: {metric: why it has no value}}. known: shared between calls on the same scores for the same
    metrics, so that a defect that is the only one of its modality is measured once. extra: see `metrics_of`.
    """
    kinds = [None if t.label < 0 else "good" if t.label == 0 else getattr(t, by) for t in truths]
    names = SUBSETS if by == "modality" else sorted({kind for kind in kinds if kind is not None} - {"good"})
    labelled = [i for i, kind in enumerate(kinds) if kind is not None] or list(range(len(kinds)))
    chosen = {"all": labelled} if by == "modality" else {}
    chosen |= {name: [i for i, k in enumerate(kinds) if k in ("good", name)] for name in names if name in kinds}
    known = {} if known is None else known
    result = {}
    for kind, index in chosen.items():
        if tuple(index) not in known:
            reasons: dict[str, str] = {}
            found = metrics_of([scores[i] for i in index], [truths[i] for i in index], [foregrounds[i] for i in index],
                               image_norm, reasons, extra)
            known[tuple(index)] = found, reasons
        values, reasons = known[tuple(index)]
        result[kind] = dict(values)
        if reasons and undefined is not None:
            undefined[kind] = dict(reasons)
    return result


def small_defects(truths: Sequence[Truth]) -> str:
    """What to say of defects that are lost on the grid of the features; empty where there are none."""
    lost = [t for t in truths if t.vanished]
    if not lost:
        return ""
    size = max(max(t.mask.shape) for t in lost)
    return (f"{sum(t.vanished for t in lost)} defects in the masks of {len(lost)} test samples fall between the pixels of "
            f"the grid of {size} px and count as if they were not there; a larger size=, or mask_rule=\"any\" where the "
            "reader offers it, keeps them")


def name_of(entry: Entry) -> str:
    """split/defect/number, the name of a sample in scores.csv and in twin_of."""
    return f"{entry.split}/{entry.defect}/{entry.rgb.stem}"


def twins_of(test: Samples, twins: Samples) -> Samples:
    """The twins whose partner with the defect is among `test`."""
    names = {name_of(e) for e in test.entries}
    return twins.take([i for i, e in enumerate(twins.entries) if e.extra["twin_of"] in names])


def twin_auroc(model: Method, twins: Samples, features: Sequence[Features], test: Samples,
               scores: Sequence[Scores]) -> dict[str, float]:
    """Image AUROC of rgb-only and xyz-only defects against the same parts without the defect: {modality: value}.

    twins, features   the parts without the defect;   test, scores   all test samples

    A method blind to a modality must read 0.5 here; against other good parts it may not, by luck of the draw.
    """
    scored = {name_of(e): (e.modality, s.image) for e, s in zip(test.entries, scores, strict=True)}
    pairs: dict[str, list[tuple[float, float]]] = {}
    for entry, seen in zip(twins.entries, features, strict=True):
        modality, bad = scored[entry.extra["twin_of"]]
        pairs.setdefault(modality, []).append((model.score(seen).image, bad))
    return {modality: image_auroc(np.transpose(both).ravel(), np.repeat([0, 1], len(both)))
            for modality, both in pairs.items()}
