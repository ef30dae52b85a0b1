"""Strict papermill runner: a notebook with checked parameters, in a kernel of this environment, never over a stored one."""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mmadlib.errors import MmadError, SettingsError, explain
from mmadlib.experiments.params import check, collect_parameters, declared_types
from mmadlib.experiments.texts import checked
from mmadlib.names import printable
from mmadlib.paths import NOTEBOOKS, ROOT, real, shown

QUIET = ["--IPKernelApp.log_level=50"]  # a kernel on this machine warns about unencrypted TCP at every start


class NotebookError(MmadError):
    """A cell of the notebook failed, or its kernel died."""

    exit_code = 1  # of the command line: something was run


def run_notebook(nb: str | Path, out: str | Path, params: Mapping[str, Any] | None = None) -> Path:
    """Execute `nb` with `params` in a python3 kernel of this environment, started in the workspace.

    The executed notebook is written to `out` and stays there when a cell fails. Raises SettingsError before anything is
    run or written (missing file, no parameters cell, unknown name, wrong type, settings that do not exist, `out` inside
    notebooks/ or not writable) and NotebookError when a cell fails.
    """
    nb, out = real(nb), real(out)
    values = checked(nb, check(params or {}, declared_types(nb), nb))
    if out.suffix != ".ipynb" or out == nb or out.is_relative_to(NOTEBOOKS):
        raise SettingsError(explain(shown(out), "is no place for an executed notebook",
                                    "give an .ipynb path outside notebooks/, e.g. under runs/"))
    import papermill
    from jupyter_client.kernelspec import NoSuchKernel
    from nbclient.exceptions import DeadKernelError

    logging.getLogger("papermill").setLevel(logging.ERROR)  # or it reports every message that only a browser can answer
    _writable(out)
    try:
        with _surroundings():
            papermill.execute_notebook(str(nb), str(out), values, kernel_name="python3", cwd=str(ROOT),
                                       progress_bar=sys.stderr.isatty(), extra_arguments=QUIET)
    except papermill.PapermillExecutionError as err:
        raise NotebookError(f"{shown(nb)}: cell {err.exec_count} failed with {err.ename}: {err.evalue}\n"
                            f"the executed notebook is kept: {shown(out)}") from None
    except NoSuchKernel:
        out.unlink(missing_ok=True)
        raise SettingsError("there is no kernel python3 to run a notebook in; pip install ipykernel") from None
    except DeadKernelError as err:
        raise NotebookError(f"{shown(nb)}: the kernel died (out of memory?): {err}\nkept: {shown(out)}") from None
    return out


@contextmanager
def _surroundings() -> Iterator[None]:
    """The variables that a kernel starts with; those of this process are put back."""
    given = {"JUPYTER_PREFER_ENV_PATH": "1",  # not a kernel that the user registered as "python3" for another environment
             "MMADLIB_HOME": str(ROOT)}  # the kernel's workspace is this one
    before = {name: os.environ.get(name) for name in given}
    os.environ.update(given)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _writable(out: Path) -> None:
    """Raise SettingsError unless `out` can be written: now, not after an hour of training."""
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.open("ab").close()
    except OSError as err:
        raise SettingsError(explain(shown(out), f"cannot be written ({err.strerror})", "give another path")) from None


def command(notebook: Path, out: Path, files: Sequence[Path] = (), pairs: Sequence[str] = ()) -> int:
    """`mmadlib run`: parameters from YAML files, then from `key=value` texts. Raises as `run_notebook`."""
    start = time.perf_counter()
    params = collect_parameters(real(notebook), files, pairs)
    given = " ".join(f"{k}={v}" for k, v in params.items())
    print(printable(f"run {notebook} -> {out}  {given}"), flush=True)
    run_notebook(notebook, out, params)
    print(f"done {shown(notebook)} in {time.perf_counter() - start:.0f} s", flush=True)
    return 0
