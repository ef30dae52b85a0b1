"""What is given as parts: a folder, what `load` gives, or samples; with a name for each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, overload

import numpy as np

from mmadlib.data import Samples
from mmadlib.data.parts import parts
from mmadlib.errors import DataError, SettingsError, explain
from mmadlib.paths import here, shown
from mmadlib.progress import bar
from mmadlib.sample import Sample

Given = str | Path | Samples | Sequence[Sample]


@dataclass(frozen=True, eq=False)
class Scans:
    """samples  read when taken;   names  one a part, no two alike;   paths  their pictures, None for samples in memory"""

    samples: Sequence[Sample]
    names: list[str]
    paths: list[Path | None]
    labels: list[int]

    def __len__(self) -> int:
        return len(self.names)


def scans(given: Given, reading: Mapping[str, Any], what: str = "parts") -> Scans:
    """Parts by name; nothing is read from samples that lie in files.

    given    a folder that holds rgb/ and xyz/ (or depth/), read as `reading` says; Samples; or a sequence of Sample
    reading  options of mmadlib.data.parts, for a folder
    Raises DataError where there is no part, SettingsError for what is none of these.
    """
    if isinstance(given, str | Path):
        found: Sequence[Sample] = parts(here(given), **reading)
    else:
        found = given
    if isinstance(found, Samples):
        paths: list[Path | None] = [entry.rgb for entry in found.entries]
        labels = [entry.label for entry in found.entries]
    elif isinstance(found, Sequence) and all(isinstance(sample, Sample) for sample in found):
        paths, labels = [sample.path for sample in found], [sample.label for sample in found]
    else:
        raise SettingsError(f"{what}: a folder, what load() gives or a list of Sample is needed, not {type(found).__name__}")
    if not paths:
        where = shown(here(given)) if isinstance(given, str | Path) else what
        raise DataError(explain(where, "holds no part", "give a folder with a picture in rgb/ and a cloud in xyz/ for each"))
    return Scans(found, names_of(paths), paths, labels)


class OneByOne(Sequence[Sample]):
    """Samples that are read when taken, a slice of them too. places: which ones, default all."""

    def __init__(self, samples: Sequence[Sample], places: Sequence[int] | None = None) -> None:
        self.samples, self.places = samples, range(len(samples)) if places is None else places

    def __len__(self) -> int:
        return len(self.places)

    @overload
    def __getitem__(self, i: int) -> Sample: ...

    @overload
    def __getitem__(self, i: slice) -> Sequence[Sample]: ...

    def __getitem__(self, i: int | slice) -> Sample | Sequence[Sample]:
        return OneByOne(self, range(len(self))[i]) if isinstance(i, slice) else self.one(self.places[i])

    def one(self, place: int) -> Sample:
        """The sample at one of the places."""
        return self.samples[place]


class Readable(OneByOne):
    """Samples to be shown: in place of one that cannot be read, a black one of a single pixel."""

    def __init__(self, samples: Sequence[Sample], unread: Container[int]) -> None:
        super().__init__(samples)
        self.unread = unread

    def one(self, place: int) -> Sample:
        if place in self.unread:
            return Sample(np.zeros((1, 1, 3), np.uint8), np.zeros((1, 1, 3), np.float32))
        return self.samples[place]


class InTurn(OneByOne):
    """Samples one after the other, under a progress bar whenever all of them are gone through."""

    def __init__(self, samples: Sequence[Sample], label: str, progress: bool) -> None:
        super().__init__(samples)
        self.label, self.progress = label, progress

    def __iter__(self) -> Iterator[Sample]:
        return (self.samples[i] for i in bar(range(len(self)), self.label, self.progress))


def names_of(paths: Sequence[Path | None]) -> list[str]:
    """The file name of each picture without suffix; where two are alike, the folder above rgb/ comes before it, and a number
    after it where that is not enough.

    >>> names_of([Path("good/rgb/000.png"), Path("dent/rgb/000.png"), Path("good/rgb/001.png"), None])
    ['good_000', 'dent_000', '001', 'part_3']
    """
    names = [path.stem if path else f"part_{i}" for i, path in enumerate(paths)]
    often = Counter(name.casefold() for name in names)
    names = [f"{path.parent.parent.name}_{name}" if path and often[name.casefold()] > 1 else name
             for path, name in zip(paths, names, strict=True)]
    seen: set[str] = set()
    for i, name in enumerate(names):
        tried, number = name, 1
        while tried.casefold() in seen:
            number += 1
            tried = f"{name}_{number}"
        seen.add(tried.casefold())
        names[i] = tried
    return names


def good_only(found: Scans) -> Scans:
    """The same. Raises DataError where one is known to be defective: good parts are learned from, nothing else."""
    for name, label in zip(found.names, found.labels, strict=True):
        if label == 1:
            raise DataError(explain(name, "is labelled as defective, and only good parts may be learned from",
                                    "leave it out, or correct its folder"))
    return found
