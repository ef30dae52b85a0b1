"""Execute notebooks in place at their defaults and store them the way git wants them: python workflow/store.py NB...

Outputs and execution counts stay (nbval compares them, readers see them); timestamps, widget states, kernel display names
and other metadata go, so that a second call on the same machine changes no byte but those of changed outputs.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, DeadKernelError
from nbformat import NotebookNode

from mmadlib.atomic import atomic
from mmadlib.experiments.notebook import QUIET
from mmadlib.pinned import pin

METADATA = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"}}


def strip(nb: NotebookNode) -> NotebookNode:
    """Keep tags, outputs and counts; drop all other metadata and join pieces of one output stream. In place."""
    nb.metadata = nbformat.from_dict(METADATA)
    for number, cell in enumerate(nb.cells):
        tags = cell.metadata.get("tags")
        cell.metadata = nbformat.from_dict({"tags": list(tags)} if tags else {})
        cell.id = f"cell-{number:02d}"  # random ids would change with every rebuild
        if "outputs" in cell:  # of a progress bar that vanished, a line of blanks stays
            cell.outputs = [o for o in cell.outputs if o.output_type != "stream" or o.text.strip()]
        for output in cell.get("outputs", []):
            if "metadata" in output:
                output.metadata = NotebookNode()
    return nb


def store(path: Path, timeout: int = 600) -> float:
    """Execute one notebook from its own folder, as nbval does, and write it back whole; returns seconds.

    The file is left as it was when a cell fails (CellExecutionError).
    """
    start = time.perf_counter()
    nb = nbformat.read(path, as_version=4)
    client = NotebookClient(nb, kernel_name="python3", timeout=timeout, record_timing=False, coalesce_streams=True,
                            extra_arguments=QUIET,
                            resources={"metadata": {"path": str(path.parent)}})
    client.execute()
    with atomic(path) as temporary:
        nbformat.write(strip(nb), temporary)
    return time.perf_counter() - start


def main(paths: list[str]) -> int:
    """Store each notebook; exit code 1 when one of them fails."""
    failed = 0
    pin()  # kernels inherit it
    os.environ.pop("MPLBACKEND", None)  # kernels inherit it, and would draw nothing into the notebooks
    for path in map(Path, paths):
        print(f"{path} ...", end=" ", flush=True)
        try:
            print(f"{store(path):.0f} s, {path.stat().st_size / 1000:.0f} kB", flush=True)
        except (CellExecutionError, DeadKernelError) as err:
            failed += 1
            print(f"failed, left as it was\n{err}", flush=True)
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
