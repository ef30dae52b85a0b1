"""Write a file whole or not at all, and one writer at a time."""

from __future__ import annotations

import getpass
import hashlib
import os
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from uuid import uuid4

from filelock import FileLock, Timeout

from mmadlib.errors import OutputError, explain
from mmadlib.paths import shown

WAIT = 120.0  # seconds that a writer waits for another one
_ONE = r"(\d+)-[0-9a-f]{8}(\.\w+)?"  # process and number of a temporary file, and its suffix


@contextmanager
def atomic(path: str | Path) -> Iterator[Path]:
    """Yield a temporary name in the same folder; rename it to `path` on success, delete it on any failure.

    Readers never see half a file, and of two processes that write at once, on one machine or several that share the folder,
    the later one wins whole. The suffix is kept, since several libraries choose the format by it. What processes that were
    killed left in the folder is deleted.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    _clear(path.parent.resolve())
    temporary = temporary_name(path)
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def temporary_name(path: Path) -> Path:
    """A name in the same folder, hidden and of this process alone; for files with the suffix of `path`."""
    return path.with_name(f".{path.stem[:40]}.{_host()}-{os.getpid()}-{uuid4().hex[:8]}{path.suffix}")


def left_over(path: Path) -> list[Path]:
    """What processes of this machine that are gone left beside `path` under a `temporary_name` of it."""
    name = re.compile(rf"{re.escape(f'.{path.stem[:40]}')}\.{_host()}-{_ONE}")
    found = ((name.fullmatch(p.name), p) for p in (path.parent.iterdir() if path.parent.is_dir() else ()))
    return [p for match, p in found if match and not alive(int(match[1]))]


def is_temporary(path: Path) -> bool:
    """Whether a file has a name as `atomic` gives, on any machine: it is being written, or was left by what was killed."""
    return re.fullmatch(rf"\..*\.[0-9a-f]{{6}}-{_ONE}", path.name) is not None


@cache
def _host() -> str:
    return hashlib.blake2b(socket.gethostname().encode(), digest_size=3).hexdigest()


@cache
def _clear(folder: Path) -> None:
    """Delete temporary files of processes that are gone, of this machine; a folder is looked through once per process."""
    for left in folder.iterdir():
        found = re.fullmatch(rf"\..*\.{_host()}-{_ONE}", left.name)
        if found and not alive(int(found[1])):
            with suppress(OSError):
                left.unlink()


def alive(pid: int) -> bool:
    """Whether a process of this machine still runs."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True  # it runs, and is somebody else's
    return True


@contextmanager
def alone(folder: Path, wait: float = WAIT) -> Iterator[None]:
    """Hold the lock of a folder, made if need be; the lock of a process that was killed is free.

    Raises OutputError when another process holds it for longer than `wait` seconds, or the folder cannot be written.
    """
    owner, lock = folder / ".owner", FileLock(folder / ".lock", timeout=wait)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout:
        who = owner.read_text(encoding="utf-8", errors="replace") if owner.is_file() else "another process"
        raise OutputError(explain(shown(folder), f"is being written by {who}, for more than {wait:.0f} s",
                                  "wait until it is done, or stop it, and call again")) from None
    except OSError as err:
        raise unwritable(folder, err) from None
    try:
        with suppress(OSError, KeyError):  # the second: a user without a name
            owner.write_text(f"process {os.getpid()} of {getpass.getuser()} on {socket.gethostname()}", encoding="utf-8")
        yield
    finally:
        with suppress(OSError):
            owner.unlink(missing_ok=True)
        lock.release()


def unwritable(path: Path, err: OSError) -> OutputError:
    """The error for a place of the workspace that cannot be written."""
    return OutputError(explain(shown(path), f"cannot be written ({err.strerror or err})",
                               "free some space, or name a workspace that you may write to by MMADLIB_HOME"))
