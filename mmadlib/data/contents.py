"""What a dataset's files hold, as digests: a file is read once and then known again by its size, times and place on the disk.

The digests of each folder lie in a table below data/cache/digests of the workspace; where it cannot be written they are kept
in memory. A file that was changed within SETTLED seconds before it was read is read again: the clock of a file system ticks,
and what happens within one tick cannot be told apart.
"""

from __future__ import annotations

import atexit
import hashlib
import json
import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from mmadlib.atomic import atomic
from mmadlib.data.files import Entry
from mmadlib.data.layout import MANIFESTS
from mmadlib.errors import DataError, explain
from mmadlib.paths import CACHE
from mmadlib.progress import bar
from mmadlib.untrusted import regular

FOLDER = CACHE / "digests"
SETTLED = 2.0
Mark = list[int]  # size, modified, changed, inode


class Contents:
    """Digests of files by path; `keep` writes what is new."""

    def __init__(self, folder: Path = FOLDER) -> None:
        self.folder = folder
        self._tables: dict[Path, dict[str, tuple[Mark, str]]] = {}
        self._new: set[Path] = set()

    def digest(self, path: Path) -> str:
        """32 hex digits of the bytes of a file. Raises DataError when it cannot be read or is no regular file."""
        regular(path)
        try:
            seen, now = path.stat(), time.time()
            mark = [seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns, seen.st_ino]
            table = self._table(path.parent)
            if path.name in table and table[path.name][0] == mark:
                return table[path.name][1]
            with path.open("rb") as file:
                found = hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
        except OSError as err:
            fault = f"cannot be read ({err.strerror or err})"
            raise DataError(explain(path, fault, "check the folder and the file")) from None
        if now - max(seen.st_mtime, seen.st_ctime) > SETTLED:
            table[path.name] = (mark, found)
            self._new.add(path.parent)
        return found

    def _file(self, folder: Path) -> Path:
        return self.folder / f"{hashlib.blake2b(os.fsencode(folder), digest_size=16).hexdigest()}.json"

    def _table(self, folder: Path) -> dict[str, tuple[Mark, str]]:
        """The table of a folder; a missing or damaged one is empty."""
        if folder not in self._tables:
            try:
                stored = json.loads(self._file(folder).read_text(encoding="utf-8"))
                if stored.pop("", "") != _checksum(stored):
                    raise ValueError("altered")
                self._tables[folder] = {str(name): (list(mark), str(found)) for name, (mark, found) in stored.items()}
            except (OSError, ValueError, TypeError, AttributeError, RecursionError):
                self._tables[folder] = {}
        return self._tables[folder]

    def keep(self) -> None:
        """Write the tables that have grown; of two processes that do so at once, one table stays whole."""
        for folder in sorted(self._new):
            try:
                with atomic(self._file(folder)) as path:
                    table = {name: list(found) for name, found in self._tables[folder].items()}
                    path.write_text(json.dumps(table | {"": _checksum(table)}), encoding="utf-8")
            except OSError:
                break  # a read-only or full disk: the digests stay in memory
        self._new.clear()


def _checksum(table: dict[str, Any]) -> str:
    return hashlib.blake2b(json.dumps(table, sort_keys=True).encode(), digest_size=8).hexdigest()


CONTENTS = Contents()
atexit.register(CONTENTS.keep)


def content_key(entry: Entry, contents: Contents = CONTENTS) -> str:
    """Hash of what a sample holds: of the bytes of its files, without decoding them, or of the recipe that makes them.

    What `extra` says of how the files are to be read belongs to the hash, as does the folder by which readers know that the
    background is gone; the position in a list and the code of the readers do not. Raises DataError.
    """
    total = hashlib.blake2b(digest_size=16)
    extra = sorted((name, value) for name, value in entry.extra.items() if name != "index" and not isinstance(value, Path))
    preprocessed = (entry.xyz.parent.parent / MANIFESTS).is_dir()
    there = [name for name, file in entry.files.items() if file]
    total.update(repr((entry.dataset, entry.category, entry.defect, entry.modality, extra, preprocessed, there)).encode())
    for file in entry.files.values() if "recipe" not in entry.extra else ():
        total.update(contents.digest(file).encode() if file else b"no file")
    return total.hexdigest()


def content_keys(entries: Iterable[Entry], progress: bool = False, contents: Contents = CONTENTS) -> list[str]:
    """`content_key` of each entry; what was read is known next time."""
    entries = list(entries)
    try:
        return [content_key(entry, contents) for entry in bar(entries, "digests of files", progress and len(entries) > 0)]
    finally:
        contents.keep()
