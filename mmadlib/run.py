"""Strict papermill runner: `python -m mmadlib.run NOTEBOOK OUT [-f params.yaml] [-p key=value ...]`.

papermill only warns of a misspelt parameter and exits 0; without a `parameters` cell it runs the defaults and says
nothing. Here both are errors, and so are wrong types and writing over the stored notebooks.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from mmadlib.errors import MmadError, SettingsError, explain, unknown
from mmadlib.paths import NOTEBOOKS, ROOT, shown

QUIET = ["--IPKernelApp.log_level=50"]  # a kernel on this machine warns about unencrypted TCP at every start
TYPES = {"int": int, "float": float, "str": str, "bool": bool}


class NotebookError(MmadError):
    """A cell of the notebook failed, or its kernel died."""


def declared_types(nb: Path) -> dict[str, str]:
    """Parameter name -> type name, from the notebook's typed `parameters` cell.

    Raises SettingsError when the file or the cell is missing, or when a parameter has no type out of TYPES.
    """
    import papermill  # here: it takes a second to import, and `--help` should not

    if not nb.is_file():
        raise SettingsError(explain(shown(nb), "no such notebook", "give the path of an .ipynb file"))
    try:
        types = {name: p["inferred_type_name"] for name, p in papermill.inspect_notebook(str(nb)).items()}
    except Exception:  # nbformat raises whatever the content makes it stumble over
        raise SettingsError(explain(shown(nb), "is not a notebook", "give the path of an .ipynb file")) from None
    if not types:
        raise SettingsError(explain(shown(nb), "has no cell tagged 'parameters' with typed values", "tag one"))
    for name, kind in types.items():
        if kind not in TYPES:
            raise SettingsError(explain(shown(nb), f"parameter {name!r} has no type out of {', '.join(TYPES)}",
                                        "write it as 'name: int = 0'"))
    return types


def parse(name: str, text: str, kind: str) -> Any:
    """The value of `-p name=text` as the declared type; text "007" stays text where a str is declared."""
    try:
        return {"true": True, "false": False}[text.lower()] if kind == "bool" else TYPES[kind](text)
    except (KeyError, ValueError):
        raise SettingsError(f"parameter {name}={text}: expected {kind}") from None


def check(params: Mapping[str, Any], types: Mapping[str, str], nb: Path) -> dict[str, Any]:
    """The parameters, with int accepted for float. Raises SettingsError on an unknown name or a wrong type."""
    checked = {}
    for name, value in params.items():
        if name not in types:
            raise unknown(f"parameter of {nb.name}", name, types)
        want = TYPES[types[name]]
        if want is float and type(value) is int:
            value = float(value)
        if type(value) is not want:  # not isinstance: True is an int in Python, never in a parameters cell
            raise SettingsError(f"{nb.name}: parameter {name}={value!r}: expected {types[name]}, got {type(value).__name__}")
        checked[name] = value
    return checked


def run_notebook(nb: str | Path, out: str | Path, params: Mapping[str, Any] | None = None) -> Path:
    """Execute `nb` with `params` in a python3 kernel of this environment, started in the repository root.

    The executed notebook is written to `out` and stays there when a cell fails. Raises SettingsError before anything is
    run or written (missing file, no parameters cell, unknown name, wrong type, `out` inside notebooks/ or not writable) and
    NotebookError when a cell fails.
    """
    nb, out = Path(nb).resolve(), Path(out).resolve()
    checked = check(params or {}, declared_types(nb), nb)
    if out.suffix != ".ipynb" or out == nb or out.is_relative_to(NOTEBOOKS):
        raise SettingsError(explain(shown(out), "is no place for an executed notebook",
                                    "give an .ipynb path outside notebooks/, e.g. under runs/"))
    # a kernel that the user registered as "python3" for another environment must not be taken
    os.environ.setdefault("JUPYTER_PREFER_ENV_PATH", "1")
    import papermill
    from nbclient.exceptions import DeadKernelError

    logging.getLogger("papermill").setLevel(logging.ERROR)  # or it reports every message that only a browser can answer
    _writable(out)
    try:
        papermill.execute_notebook(str(nb), str(out), checked, kernel_name="python3", cwd=str(ROOT),
                                   progress_bar=sys.stderr.isatty(), extra_arguments=QUIET)
    except papermill.PapermillExecutionError as err:
        raise NotebookError(f"{shown(nb)}: cell {err.exec_count} failed with {err.ename}: {err.evalue}\n"
                            f"the executed notebook is kept: {shown(out)}") from None
    except DeadKernelError as err:
        raise NotebookError(f"{shown(nb)}: the kernel died (out of memory?): {err}\nkept: {shown(out)}") from None
    return out


def _writable(out: Path) -> None:
    """Raise SettingsError unless `out` can be written: now, not after an hour of training."""
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.open("ab").close()
    except OSError as err:
        raise SettingsError(explain(shown(out), f"cannot be written ({err.strerror})", "give another path")) from None


def read_yaml(path: Path) -> dict[str, Any]:
    """Parameters from a YAML file: a mapping of names to values."""
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as err:
        raise SettingsError(explain(path, f"cannot be read ({err.strerror})", "give a YAML file of parameters")) from None
    except (yaml.YAMLError, UnicodeDecodeError) as err:
        raise SettingsError(explain(path, f"is not YAML ({str(err).splitlines()[0]})", "mend it")) from None
    if not isinstance(values, dict):
        raise SettingsError(explain(path, "holds no mapping", "write one 'name: value' per line"))
    return values


def collect_parameters(nb: Path, files: Sequence[Path], pairs: Sequence[str]) -> dict[str, Any]:
    """YAML files in order, then `key=value` texts: the later wins."""
    params: dict[str, Any] = {}
    for path in files:
        params |= read_yaml(path)
    types = declared_types(nb)
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals:
            raise SettingsError(f"-p {pair}: expected key=value")
        if name not in types:
            raise unknown(f"parameter of {nb.name}", name, types)
        params[name] = parse(name, text, types[name])
    return params


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code 0, 1 when a cell failed, 2 when nothing was run."""
    parser = argparse.ArgumentParser(prog="python -m mmadlib.run", description="Run a notebook with checked parameters.")
    parser.add_argument("notebook", type=Path)
    parser.add_argument("out", type=Path, help="where the executed notebook goes")
    parser.add_argument("-f", dest="files", metavar="params.yaml", type=Path, action="append", default=[])
    parser.add_argument("-p", dest="pairs", metavar="key=value", nargs="+", action="extend", default=[])
    args = parser.parse_args(argv)
    start = time.perf_counter()
    try:
        params = collect_parameters(args.notebook.resolve(), args.files, args.pairs)
        print(f"run {args.notebook} -> {args.out}  {' '.join(f'{k}={v}' for k, v in params.items())}", flush=True)
        run_notebook(args.notebook, args.out, params)
    except MmadError as err:
        print(f"error: {err}", file=sys.stderr)
        return 1 if isinstance(err, NotebookError) else 2
    print(f"done {args.notebook} in {time.perf_counter() - start:.0f} s", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
