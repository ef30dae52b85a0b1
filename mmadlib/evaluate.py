"""fit -> score -> metrics -> one record: the same path for every dataset, feature and method."""

from __future__ import annotations

import resource
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from mmadlib import paths
from mmadlib.atomic import atomic
from mmadlib.data import Entry, Samples, load
from mmadlib.errors import unknown
from mmadlib.features import Extractor, FeatureSet, Truth, extract_all, family
from mmadlib.loading import to_grid
from mmadlib.methods import METHODS, Method, Scores
from mmadlib.metrics import bootstrap_auroc, evaluate_maps, image_auroc
from mmadlib.progress import bar
from mmadlib.record import Record, write
from mmadlib.scoring import normalise

SUBSETS = ("rgb", "xyz", "both", "relation")  # modality that shows the defect; "all" comes first


@dataclass(frozen=True, eq=False)
class Outcome:
    """One finished run with everything a notebook may want to look at; position i is the i-th test sample."""

    record: Record
    method: Method
    test: Samples
    features: FeatureSet
    scores: list[Scores]
    truths: list[Truth]
    folder: Path

    def row(self, i: int) -> dict:
        """Sample i on the grid of its map, as plots.show_samples takes it: rgb, xyz, mask, object, map and title."""
        grid, seen = to_grid(self.test[i], self.features[i].size[0]), self.features[i]
        return {"rgb": grid.rgb, "xyz": seen.cloud, "mask": grid.mask, "object": seen.foreground, "map": self.scores[i].map,
                "title": self.truths[i].defect}


def limit_test(test: Samples, limit: int | None) -> Samples:
    """At most `limit` test samples, taken from every kind in turn so that none is missing; None keeps all."""
    if limit is None or limit >= len(test):
        return test
    kinds: dict[str, list[int]] = {}
    for i, entry in enumerate(test.entries):
        kinds.setdefault(entry.defect, []).append(i)
    # normal samples get as many places as all defects together, or the AUROC would hang on one or two of them
    normal = kinds.pop("good", [])[: limit - limit // 2 if kinds else limit]
    turns = [members[turn] for turn in range(max(map(len, kinds.values()), default=0))
             for members in kinds.values() if turn < len(members)]
    return test.take(sorted([*normal, *turns[: limit - len(normal)]]))


def score_all(method: Method, features: Sequence, progress: bool = True) -> list[Scores]:
    """Score every sample of a sequence."""
    return [method.score(features[i]) for i in bar(range(len(features)), f"{method.name}: score", progress)]


def metrics_of(scores: Sequence[Scores], truths: Sequence[Truth], foregrounds: Sequence[np.ndarray],
               image_norm: str = "none") -> dict[str, float]:
    """All metrics of a set of test samples, plus a 95 % bootstrap interval of the image AUROC.

    image_norm="cfm" rescales each map per metric first, as CFM, CMDR-IAD and CFR do (scoring.normalise). Metrics without
    a value on this set, e.g. AUROC without defects, are NaN.
    """
    maps = [s.map for s in scores]
    pixel_maps = maps
    if image_norm == "cfm":
        maps, pixel_maps = ([normalise(m, kind) for m in maps] for kind in ("aupro", "p_auroc"))
    labels, images = np.array([t.label for t in truths]), np.array([s.image for s in scores])
    result = evaluate_maps(maps, [t.mask for t in truths], images, labels, foreground=foregrounds, pixel_maps=pixel_maps)
    if 0 < labels.sum() < len(labels):
        result["i_auroc_low"], result["i_auroc_high"] = bootstrap_auroc(images, labels)
    return result


def breakdown(scores: Sequence[Scores], truths: Sequence[Truth], foregrounds: Sequence[np.ndarray],
              image_norm: str = "none") -> dict[str, dict[str, float]]:
    """Metrics over all defects and over those of each modality against the same normal samples: {subset: {metric: value}}."""
    kinds = [t.modality for t in truths]
    chosen = {"all": list(range(len(truths)))}
    chosen |= {m: [i for i, k in enumerate(kinds) if k in ("none", m)] for m in SUBSETS if m in kinds}
    return {subset: metrics_of(*([seq[i] for i in index] for seq in (scores, truths, foregrounds)), image_norm)
            for subset, index in chosen.items()}


def run(dataset: str = "rendered", category: str = "keyed", method: str = "cfm", *, data_seed: int = 0,
        variant: str = "default", features: str = "descriptors", shots: int | None = 4, seed: int = 0,
        settings: dict | None = None, options: dict | None = None, root: str | Path | None = None,
        test_limit: int | None = None, twins: bool = False, device: str = "cpu", base: str | Path = paths.RUNS,
        cache: str | Path | None = paths.CACHE, progress: bool = True) -> Outcome:
    """Draw the shots, extract, fit, score the test split, write the run folder; see `run_experiment` for the arguments."""
    started = time.perf_counter()
    if method not in METHODS:
        raise unknown("method", method, METHODS)
    model = METHODS[method](seed=seed, device=device, **(settings or {}))  # bad settings fail before any work
    extractor = Extractor(*family(features), device=device, **(options or {}))
    train = load(dataset, category, "train", root=root, shots=shots, seed=seed, data_seed=data_seed)
    test = limit_test(load(dataset, category, "test", root=root, data_seed=data_seed), test_limit)
    model.fit(extract_all(train, extractor, cache, progress), progress)
    tested = extract_all(test, extractor, cache, progress)
    scores, truths = score_all(model, tested, progress), [tested.truth(i) for i in range(len(tested))]
    image_norm = getattr(model.settings, "image_norm", "none")
    metrics = breakdown(scores, truths, [tested[i].foreground for i in range(len(tested))], image_norm)
    if twins:
        paired = twins_of(test, load(dataset, category, "twins", root=root, data_seed=data_seed))
        for subset, value in twin_auroc(model, extract_all(paired, extractor, cache, progress), test, scores).items():
            metrics[subset]["i_auroc_twins"] = value
    record = Record(
        dataset=dataset, data_seed=data_seed, category=category, method=method, variant=variant, features=features,
        shots=shots, seed=seed, metrics=metrics, settings=asdict(model.settings) | {"features": extractor.settings},
        draw=[e.rgb.stem for e in train.entries], device=str(model.device), wall_s=time.perf_counter() - started,
        peak_mb=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, n_test=len(test))
    folder = record.folder(base)
    write_scores(folder, test, truths, scores)
    write(record, folder)  # last: a run folder with metrics.json is complete
    return Outcome(record, model, test, tested, scores, truths, folder)


def run_experiment(dataset: str = "rendered", category: str = "keyed", method: str = "cfm", **keywords) -> Record:
    """One experiment from names to numbers; writes runs/<keys>/ and returns its Record.

    dataset, category, root   see mmadlib.data.load;   data_seed  which draw of the rendered data
    method, settings          METHODS name and its settings;   variant  a label for these settings in tables
    features, options         family name (descriptors | paper | random, or "rgb+xyz" names) and Extractor options
    shots, seed               normal training samples (None: all); the seed fixes the draw and the training
    test_limit                at most so many test samples, all kinds present (smoke runs)
    twins                     also measure image AUROC of single-modality defects against their twins (rendered)
    base, cache               where runs and feature tokens go;   device  cpu | cuda

    Raises UnknownName, SettingsError, DataError, TrainingError before anything is written.
    """
    return run(dataset, category, method, **keywords).record


def name_of(entry: Entry) -> str:
    """split/defect/number, the name of a sample in scores.csv and in twin_of."""
    return f"{entry.split}/{entry.defect}/{entry.rgb.stem}"


def twins_of(test: Samples, twins: Samples) -> Samples:
    """The twins whose partner with the defect is among `test`."""
    names = {name_of(e) for e in test.entries}
    return twins.take([i for i, e in enumerate(twins.entries) if e.extra["twin_of"] in names])


def twin_auroc(model: Method, twins: FeatureSet, test: Samples, scores: Sequence[Scores]) -> dict[str, float]:
    """Image AUROC of rgb-only and xyz-only defects against the same parts without the defect: {modality: value}.

    A method blind to a modality must read 0.5 here; against other good parts it may not, by luck of the draw.
    """
    scored = {name_of(e): (e.modality, s.image) for e, s in zip(test.entries, scores, strict=True)}
    pairs: dict[str, list[tuple[float, float]]] = {}
    for i, entry in enumerate(twins.samples.entries):
        modality, bad = scored[entry.extra["twin_of"]]
        pairs.setdefault(modality, []).append((model.score(twins[i]).image, bad))
    return {modality: image_auroc(np.transpose(both).ravel(), np.repeat([0, 1], len(both)))
            for modality, both in pairs.items()}


def write_scores(folder: Path, test: Samples, truths: Sequence[Truth], scores: Sequence[Scores]) -> None:
    """scores.csv (one row per test sample) and maps.npz (float16) beside the record."""
    folder.mkdir(parents=True, exist_ok=True)
    table = pd.DataFrame({"sample": [name_of(e) for e in test.entries],
                          "label": [t.label for t in truths], "defect": [t.defect for t in truths],
                          "modality": [t.modality for t in truths], "score": [s.image for s in scores]})
    with atomic(folder / "scores.csv") as path:
        table.to_csv(path, index=False)
    with atomic(folder / "maps.npz") as path:
        np.savez_compressed(path, maps=np.stack([s.map for s in scores]).astype(np.float16))
