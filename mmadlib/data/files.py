"""Entry and Samples: a dataset as a list of file names, read one sample at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import overload

from mmadlib.sample import Sample


@dataclass(frozen=True)
class Entry:
    """Where one sample lies and what is known of it without opening a file.

    A sample that shares its files with others has extra["row"], its place there, and paths <file>/<row>. One whose files are
    made on first use has extra["recipe"], a text that says all that decides them.
    """

    rgb: Path
    xyz: Path
    gt: Path | None = None  # None: normal by definition, the mask is all False
    category: str = ""
    split: str = ""
    defect: str = "good"
    modality: str = ""  # empty: "none" for good, "unknown" for a defect
    dataset: str = ""
    extra: dict = field(default_factory=dict)

    @property
    def label(self) -> int:
        return int(self.defect != "good")

    @property
    def files(self) -> dict[str, Path | None]:
        """The files that the sample is read from, by what they are; None for a mask that there is not."""
        named = {"rgb": self.rgb, "xyz": self.xyz, "gt": self.gt}
        named |= {name: value for name, value in sorted(self.extra.items()) if isinstance(value, Path)}
        return {name: file.parent if file and "row" in self.extra else file for name, file in named.items()}


class Samples(Sequence[Sample]):
    """A list of samples that holds names only; `samples[i]` reads the files, as stored, every time.

    >>> Samples([], read=None)[:0].entries
    []
    """

    def __init__(self, entries: Sequence[Entry], read: Callable[[Entry], Sample]) -> None:
        self.entries, self.read = list(entries), read

    def __len__(self) -> int:
        return len(self.entries)

    @overload
    def __getitem__(self, i: int) -> Sample: ...

    @overload
    def __getitem__(self, i: slice) -> Samples: ...

    def __getitem__(self, i: int | slice) -> Sample | Samples:
        if isinstance(i, slice):
            return Samples(self.entries[i], self.read)
        return self.read(self.entries[i])

    def __iter__(self) -> Iterator[Sample]:
        return (self.read(entry) for entry in self.entries)

    def __repr__(self) -> str:
        kinds = sorted({e.defect for e in self.entries})
        return f"Samples({len(self)}: {', '.join(kinds)})"

    def take(self, indices: Sequence[int]) -> Samples:
        """The samples at these positions, in this order."""
        return Samples([self.entries[i] for i in indices], self.read)

    def where(self, **conditions: str) -> Samples:
        """The samples whose entry has these values, e.g. where(defect="stain")."""
        keep = [e for e in self.entries if all(getattr(e, k) == v for k, v in conditions.items())]
        return Samples(keep, self.read)
