"""The feature cache: one file per sample, found again only by the same content and the same settings.

Only what cannot be recomputed is stored (see mmadlib.features.entry); fixed operators are composed again on loading.
"""

from __future__ import annotations

import os
import warnings
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import overload

from mmadlib import paths
from mmadlib.atomic import atomic
from mmadlib.data.contents import CONTENTS, content_key
from mmadlib.data.files import Entry, Samples
from mmadlib.digest import digest_of
from mmadlib.errors import CacheError, explain
from mmadlib.features.entry import Corrupt, decode, encode, sample_key
from mmadlib.features.extractor import Extractor
from mmadlib.features.field import Features
from mmadlib.features.tokens import Tokens, Truth, compose
from mmadlib.progress import bar
from mmadlib.sample import Sample

TRIES = 3  # readings of a sample whose files change meanwhile
BATCH = 4  # samples that are read, and given to the front ends, at once
READERS = ("data/*.py", "sample.py")  # the code that makes a sample of its files


def write_entry(path: Path, data: bytes) -> None:
    """Write one entry whole or not at all. Raises CacheError when the disk is full or the folder cannot be written."""
    try:
        with atomic(path) as temporary:
            temporary.write_bytes(data)
    except OSError as err:
        remedy = "free some space, or give another cache folder, or cache=None to go without"
        raise CacheError(explain(paths.shown(path.parent), f"cannot be written ({err.strerror or err})", remedy)) from None


class FeatureSet(Sequence[Features]):
    """Features of a list of samples, composed when asked for; the last `keep` are held in memory.

    With a cache folder, what is missing or damaged there is computed from the sample and written; without one, tokens stay
    in memory. `truth(i)` gives the ground truth, which is no part of Features.
    """

    def __init__(self, samples: Sequence[Sample], extractor: Extractor, cache: str | Path | None, keep: int = 64) -> None:
        self.samples, self.extractor, self.keep = samples, extractor, keep
        names = "+".join(extractor.names.values())
        self.folder = None if cache is None else paths.here(cache) / f"{names}-{extractor.key[:12]}"
        self._files: dict[int, Path] = {}
        self._tokens: dict[int, Tokens] = {}
        self._recent: OrderedDict[int, Features] = OrderedDict()
        self._truths: dict[int, Truth] = {}

    def __len__(self) -> int:
        return len(self.samples)

    @overload
    def __getitem__(self, i: int) -> Features: ...

    @overload
    def __getitem__(self, i: slice) -> list[Features]: ...

    def __getitem__(self, i: int | slice) -> Features | list[Features]:
        if isinstance(i, slice):
            return [self[j] for j in range(*i.indices(len(self)))]
        i = range(len(self))[i]
        if i not in self._recent:
            self._recent[i] = compose(self.tokens(i))
            if len(self._recent) > self.keep:
                self._recent.popitem(last=False)
        self._recent.move_to_end(i)
        return self._recent[i]

    def truth(self, i: int) -> Truth:
        """Ground truth of sample i on the grid of its features."""
        i = range(len(self))[i]
        if i not in self._truths:
            self.tokens(i)
        return self._truths[i]

    def ensure(self, indices: Sequence[int]) -> None:
        """Have the tokens of some samples in the cache, or in memory without one; what is missing is computed at once."""
        missing = [i for i in indices if not self._there(i)]
        for i, tokens in self._computed(missing).items():
            if self.folder is None:
                self._tokens[i] = tokens
            else:
                write_entry(self.file(i), encode(tokens, self._key(i)))
            self._keep_truth(i, tokens)

    def _there(self, i: int) -> bool:
        """Whether the tokens of sample i need not be computed, be they good or not. Raises CacheError for what is no file."""
        if self.folder is None:
            return i in self._tokens
        if os.path.isdir(self.file(i)):
            self._cached(i)
        return os.path.isfile(self.file(i))

    def file(self, i: int) -> Path:
        """The cache entry of sample i."""
        assert self.folder is not None, "no cache folder was given"
        if i not in self._files:
            entry = self._entry(i)
            content = f"{content_key(entry)}-{digest_of(*READERS)[:8]}" if entry else sample_key(self.samples[i])
            self._files[i] = self.folder / f"{content}.safetensors"
        return self._files[i]

    def compute(self, indices: Sequence[int], what: str, progress: bool = True) -> None:
        """`ensure`, BATCH samples at a time, under a progress bar that says `what`."""
        for k in bar(range(len(indices)), what, progress):
            if k % BATCH == 0:
                self.ensure(indices[k:k + BATCH])

    def tokens(self, i: int) -> Tokens:
        """Tokens of sample i, from memory, from the cache, or computed and kept."""
        if self.folder is None:
            if i not in self._tokens:
                self._tokens[i] = self.extractor.tokens(self.samples[i])
            tokens = self._tokens[i]
        else:
            tokens = self._cached(i)
        self._keep_truth(i, tokens)
        return tokens

    def _keep_truth(self, i: int, tokens: Tokens) -> None:
        if i not in self._truths:
            entry = self._entry(i)
            path = entry.rgb if entry else self.samples[i].path
            self._truths[i] = replace(tokens.truth, path=path)

    def _key(self, i: int) -> str:
        return f"{self.extractor.key} {self.file(i).stem}"

    def _cached(self, i: int) -> Tokens:
        path, key = self.file(i), self._key(i)
        try:
            return decode(path.read_bytes(), key)
        except FileNotFoundError:
            pass
        except Corrupt as fault:
            warnings.warn(f"cache entry {paths.shown(path)}: {fault}; it is computed again", stacklevel=2)
        except OSError as err:
            raise CacheError(explain(paths.shown(path), f"cannot be read ({err.strerror or err})",
                                     "correct its permissions or delete it")) from None
        data = encode(self._computed([i])[i], self._key(i))
        write_entry(self.file(i), data)
        return decode(data, self._key(i))  # as stored, so that the first run and the next ones see the same numbers

    def _computed(self, indices: Sequence[int]) -> dict[int, Tokens]:
        """Tokens made anew; once more of a sample whose files were replaced between their digest and their reading."""
        found = dict(zip(indices, self.extractor.tokens_of([self.samples[i] for i in indices]), strict=True))
        for i in indices if self.folder is not None else ():
            for _ in range(TRIES):
                path = self._files.pop(i)
                if self.file(i) == path:
                    break
                found[i] = self.extractor.tokens(self.samples[i])
        return found

    def _entry(self, i: int) -> Entry | None:
        """The entry of a sample that has files of its own; None otherwise."""
        entry = self.samples.entries[i] if isinstance(self.samples, Samples) else None
        return entry if entry and "row" not in entry.extra else None


def extract_all(samples: Sequence[Sample], extractor: Extractor, cache: str | Path | None = None, progress: bool = True,
                keep: int = 64) -> FeatureSet:
    """Features of all samples, computed now where they are not in the `cache` folder yet.

    An interrupted run goes on where it stopped. Entries are found by the content of the sample's files, the preprocessing,
    the extractor's settings and the hash of its weights; a stale one cannot be found. Several processes may fill one folder.
    Raises CacheError, and whatever the extractor raises.
    """
    features = FeatureSet(samples, extractor, cache, keep)
    features.compute(range(len(features)), f"features: {'+'.join(extractor.names.values())}", progress)
    CONTENTS.keep()
    return features
