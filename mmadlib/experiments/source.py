"""Source: the feature sets of one category, made once and shared by every run on it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import overload

from mmadlib import paths
from mmadlib.data import Entry, Samples, load, splits
from mmadlib.data.shots import Shots, chosen
from mmadlib.errors import SettingsError
from mmadlib.experiments.breakdown import twins_of
from mmadlib.features import Extractor, Features, FeatureSet, extract_all, family

KEEP = 160  # composed samples a set holds: all of a rendered split; 0.3 GB of learned features, 2 GB at paper size


class Chosen(Sequence[Features]):
    """Some samples of a FeatureSet, at `places` in this order; `entries` are those of the whole set."""

    def __init__(self, features: FeatureSet, entries: Sequence[Entry], places: Sequence[int]) -> None:
        self.features, self.entries, self.places = features, entries, list(places)

    def __len__(self) -> int:
        return len(self.places)

    @overload
    def __getitem__(self, i: int) -> Features: ...

    @overload
    def __getitem__(self, i: slice) -> Chosen: ...

    def __getitem__(self, i: int | slice) -> Features | Chosen:
        if isinstance(i, slice):
            return Chosen(self.features, self.entries, self.places[i])
        return self.features[self.places[i]]

    @property
    def names(self) -> list[str]:
        """File names of the samples."""
        return [self.entries[i].rgb.stem for i in self.places]


def limit_test(test: Samples, limit: int | None) -> Samples:
    """At most `limit` test samples, half of them normal, the rest from every kind of defect in turn; None keeps all.

    Raises SettingsError below 2, where no image metric exists.
    """
    if limit is not None and (not isinstance(limit, int) or limit < 2):
        raise SettingsError(f"test_limit={limit!r}: at least 2 test samples, or None for all")
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


class Source:
    """Training, test and twin features of one category; arguments as in `evaluate.run_experiment`.

    Making one looks up names and loads backbones; a set is extracted when it is first asked for. Raises UnknownName,
    SettingsError, WeightsError or DataError when made, DataError, PreprocessError or CacheError on extraction.
    """

    def __init__(self, dataset: str, category: str, *, data_seed: int = 0, features: str = "learned",
                 options: dict | None = None, reader: dict | None = None, root: str | Path | None = None,
                 test_limit: int | None = None, device: str = "cpu", cache: str | Path | None = paths.CACHE,
                 progress: bool = True) -> None:
        self.extractor = Extractor(*family(features), device=device, **(options or {}))
        self.take = lambda split: load(dataset, category, split, root=root, data_seed=data_seed, **(reader or {}))
        self.extract = partial(extract_all, extractor=self.extractor, cache=cache, progress=progress, keep=KEEP)
        self.train = self.take("train")
        self.trained = FeatureSet(self.train, self.extractor, cache, KEEP)
        self.samples = limit_test(self.take("test"), test_limit)  # the test samples
        self.progress = progress
        self.has_twins = "twins" in splits(dataset)

    def draw(self, shots: Shots, seed: int, rule: str) -> Chosen:
        """The few-shot draw, or one's own by names, not extracted yet. Raises SettingsError (shots, seed, rule)."""
        return Chosen(self.trained, self.train.entries, chosen([e.rgb for e in self.train.entries], shots, seed, rule))

    def prepare(self, chosen: Chosen) -> Chosen:
        """The same, extracted."""
        self.trained.compute(chosen.places, "features: training", self.progress)
        return chosen

    @cached_property
    def test(self) -> FeatureSet:
        return self.extract(self.samples)

    @cached_property
    def twins(self) -> tuple[Samples, FeatureSet] | None:
        """Twins of the test samples that have one, and their features; None where the dataset has no twins."""
        if not self.has_twins:
            return None
        twins = twins_of(self.samples, self.take("twins"))
        return twins, self.extract(twins)
