"""Memory and time of joining parts that lie almost eps apart: all pairs listed, and nearest neighbours as the library does.

    .venv/bin/python -m mmadlib.pinned .venv/bin/python benchmarks/clustering.py [SIZE ...]

Two flat parts on a scan of SIZE x SIZE pixels and 80 mm, 4.5 mm (one object), 6.5 mm (two, still in reach) or 8.5 mm apart;
each in a process of its own, whose peak of resident memory counts. Ratios: listing / nearest.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import time

import numpy as np
from scipy.spatial import cKDTree

from mmadlib.prepare import clustering

WIDTH, SIZES, GAPS, EPS, POINTS = 0.08, (200, 400, 800), (0.0045, 0.0065, 0.0085), 0.006, 30


def listed(core, cell_of, part, apart, eps):
    """Bridges between parts from all pairs of facing points within eps: the idea that was replaced."""
    facing = np.flatnonzero(np.isin(cell_of, apart))
    return part[cell_of[facing[cKDTree(core[facing]).query_pairs(eps, output_type="ndarray").T]]]


def scene(size: int, gap: float) -> np.ndarray:
    """Points of two parts, (N, 3) metres."""
    x, y = np.meshgrid(*[(np.arange(size) + 0.5 - size / 2) * WIDTH / size] * 2)
    on = (np.abs(x) > gap / 2) & (np.abs(x) < 0.36 * WIDTH) & (np.abs(y) < 0.36 * WIDTH)
    return np.stack([x[on], y[on], np.full(on.sum(), 0.38)], -1)


def alone(idea: str, size: int, gap: float) -> None:
    """Print clusters, seconds and MiB above those before, of one clustering in this process."""
    if idea == "listing":
        clustering._bridges = listed
    points = scene(size, gap)
    before, started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
    labels = clustering.dbscan(points, EPS, POINTS)
    seconds = time.perf_counter() - started
    print(labels.max() + 1, seconds, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)


def main(sizes: list[int]) -> None:
    """One line a scene."""
    for size in sizes:
        for gap in GAPS:
            found = {}
            for idea in ("nearest", "listing"):
                done = subprocess.run([sys.executable, __file__, idea, str(size), str(gap)], capture_output=True, text=True)
                found[idea] = [float(word) for word in done.stdout.split()] or [np.nan] * 3
            (parts, seconds, mib), (_, s, m) = found["nearest"], found["listing"]
            print(f"{size} px, {1000 * gap:.1f} mm apart: {parts:.0f} cluster(s), nearest {seconds:.2f} s and {mib:.0f} MiB, "
                  f"listing {s:.2f} s and {m:.0f} MiB: x {s / seconds:.1f} in time, x {m / mib:.1f} in memory", flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] in (["nearest"], ["listing"]):
        alone(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]))
    else:
        main([int(size) for size in sys.argv[1:]] or list(SIZES))
