"""Write a file whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4


@contextmanager
def atomic(path: str | Path) -> Iterator[Path]:
    """Yield a temporary name in the same folder; rename it to `path` on success, delete it on any failure.

    Readers never see half a file, and of two processes that write at once, on one machine or several that share the folder,
    the later one wins whole. The suffix is kept, since several libraries choose the format by it.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}-{uuid4().hex[:8]}{path.suffix}")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
