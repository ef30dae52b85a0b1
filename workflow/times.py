"""Write workflow/times.csv, how long notebooks and rendering took here: `python workflow/times.py` after `make reproduce`.

From nothing, on a quiet machine: what was noted beside other work is too long. The speed of the machine is measured with it.
"""

from __future__ import annotations

import sys

import pandas as pd

from mmadlib.atomic import atomic
from mmadlib.experiments.forecast import PROBE, TIMES, cores, probe
from mmadlib.paths import RUNS, shown


def main() -> int:
    """Collect what the scheduler noted below runs/times/."""
    noted = {path.stem: float(pd.read_csv(path, sep="\t")["s"].iloc[0]) for path in sorted((RUNS / "times").glob("*.tsv"))}
    noted |= {job: seconds * cores() for job, seconds in noted.items() if job.startswith("render_")}  # it takes all of them
    if not noted:
        print("no job was timed yet: make reproduce", file=sys.stderr)
        return 2
    rows = [(PROBE, round(probe(5), 3)), *((job, round(seconds)) for job, seconds in noted.items())]
    table = pd.DataFrame(rows, columns=["job", "seconds"])
    with atomic(TIMES) as path:
        table.to_csv(path, index=False, lineterminator="\n")
    print(f"{shown(TIMES)}: {len(noted)} jobs, {sum(noted.values()) / 60:.0f} minutes on one core")
    return 0


if __name__ == "__main__":
    sys.exit(main())
