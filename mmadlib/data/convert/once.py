"""What converters share: the source is never written to, the result is whole or absent, and a finished one is known again."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from mmadlib.atomic import left_over, temporary_name
from mmadlib.errors import DataError, explain
from mmadlib.untrusted import read_mapping

Counts = dict[str, int]


def convert_once(src: Path, dst: Path, manifest: dict, counted: str, write: Callable[[Path], Counts]) -> Counts:
    """Call `write` on an empty folder that becomes `dst` when it returns; its counts are the result.

    `write` leaves a manifest.json there: `manifest` and the counts under the name `counted`. A finished dst with the same
    manifest is left as it is; what a run that was killed left beside it is deleted. Raises DataError when dst lies in src,
    holds something else or cannot be written.
    """
    if dst == src or src in dst.parents:
        raise DataError(explain(dst, "lies inside the source", "choose a folder elsewhere; the source is never written to"))
    if dst.exists() and (not dst.is_dir() or any(dst.iterdir())):
        return _finished(dst, manifest, counted)
    work = temporary_name(dst)
    try:
        for left in left_over(dst):
            shutil.rmtree(left, ignore_errors=True)
        work.mkdir(parents=True)
        counts = write(work)
        work.replace(dst)
    except OSError as err:
        raise DataError(explain(dst, f"cannot be written ({err.strerror})", "check permissions and free space")) from None
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return counts


def _finished(dst: Path, manifest: dict, counted: str) -> Counts:
    """The counts of an earlier conversion that is the same; anything else in dst raises DataError."""
    try:
        old = read_mapping(dst / "manifest.json")
        counts = old.pop(counted)
    except (DataError, KeyError):
        old, counts = None, {}
    if old != manifest:
        raise DataError(explain(dst, "holds something else already", "give a new folder, or delete this one first"))
    return counts
