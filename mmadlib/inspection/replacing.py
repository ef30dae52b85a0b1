"""Put a folder in place whole or not at all, and never over files of somebody else."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from mmadlib.atomic import alive
from mmadlib.errors import OutputError, explain
from mmadlib.paths import shown

MANIFEST = ".mmadlib-report"  # names every file of a folder that was written here
BY_THE_SYSTEM = frozenset({".DS_Store", "Thumbs.db", "desktop.ini"})  # put there by those who only look


def replaceable(folder: str | Path) -> Path:
    """The resolved folder, if it may be written: it does not exist, is empty, or holds an earlier report and nothing else.

    Cheap: ask before a long computation. Raises OutputError that names a file that would be lost.
    """
    folder = Path(folder).expanduser().resolve()
    if folder.exists() and not folder.is_dir():
        raise OutputError(explain(shown(folder), "is a file", "name a folder for the report"))
    try:
        others = sorted(_files(folder) - _ours(folder)) if folder.is_dir() else []
    except OSError as err:
        raise _unwritable(folder, err) from None
    if others:
        raise OutputError(explain(shown(folder), f"holds {others[0]}{' and more' if others[1:] else ''}, which is no part of "
                                  "a report", "name a new or an empty folder, or move that away"))
    return folder


@contextmanager
def replacing(folder: str | Path) -> Iterator[Path]:
    """Yield an empty hidden folder beside `folder`; it takes its place when all went well, and is deleted if not.

    An earlier report stands until then; what processes that were killed left beside it is deleted. Raises OutputError as
    `replaceable` does, or where the place cannot be written.
    """
    folder = replaceable(folder)
    making, old = (folder.with_name(f".{folder.name[:40]}.{_host()}-{os.getpid()}-{uuid4().hex[:8]}") for _ in range(2))
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        _clear(folder)
        making.mkdir()
        try:
            yield making
            (making / MANIFEST).write_text("".join(f"{name}\n" for name in sorted(_files(making))), encoding="utf-8")
            replaceable(folder)  # again: minutes may have passed
            if folder.exists():
                folder.rename(old)
            try:
                making.rename(folder)
            except OSError:
                if old.exists():
                    old.rename(folder)
                raise
        finally:
            shutil.rmtree(making, ignore_errors=True)
            shutil.rmtree(old, ignore_errors=True)
    except OSError as err:
        raise _unwritable(folder, err) from None


def _files(folder: Path) -> set[str]:
    """Every file below, by its path from the folder; an empty folder that is none of ours counts, too."""
    found = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_symlink() or not p.is_dir()}
    return {name for name in found if name.rpartition("/")[2] not in BY_THE_SYSTEM}


def _ours(folder: Path) -> set[str]:
    manifest = folder / MANIFEST
    return {MANIFEST, *manifest.read_text(encoding="utf-8").splitlines()} if manifest.is_file() else set()


def _unwritable(folder: Path, err: OSError) -> OutputError:
    return OutputError(explain(shown(folder), f"cannot be written ({err.strerror or err})",
                               "free some space, or name a folder that you may write to"))


def _host() -> str:
    return hashlib.blake2b(socket.gethostname().encode(), digest_size=3).hexdigest()


def _clear(folder: Path) -> None:
    for left in folder.parent.iterdir():
        found = re.fullmatch(rf"{re.escape(f'.{folder.name[:40]}.{_host()}')}-(\d+)-[0-9a-f]{{8}}", left.name)
        if found and not alive(int(found[1])):
            shutil.rmtree(left, ignore_errors=True)
