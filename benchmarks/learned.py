"""Seconds a sample of the learned features beside descriptors: python benchmarks/learned.py [--samples N]

Both sides of rendered parts on the working grid of 224 px, pictures enlarged to 448 px before they enter the network, on one
thread. Seconds are CPU time of this process, so that other work on the machine counts little; the variants take turns and
medians are printed, as ratios to descriptors too. The last lines say what the network alone needs for a picture, one at a time
and several at once. Aim: 0.25 s a sample on a quiet core.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
import torch

from mmadlib.data import load
from mmadlib.features import FAMILIES, Extractor
from mmadlib.features.cnn import Cnn
from mmadlib.features.tokens import compose

VARIANTS = {  # title -> names of a family, options
    "descriptors": ("descriptors", {}),
    "learned": ("learned", {}),
    "learned, normals of the grid": ("learned", {"normals": "grid"}),
    "learned, levels 8+16": ("learned", {"levels": "8+16"}),
    "learned, not enlarged": ("learned", {"enlarge": 1.0}),
}
AT_ONCE = 4


def by_turns(runs: dict[str, Callable], repeats: int) -> dict[str, float]:
    """Median CPU seconds of each; a first round, in which caches are filled, does not count."""
    times: dict[str, list[float]] = {title: [] for title in runs}
    for _ in range(repeats + 1):
        for title, run in runs.items():
            start = time.process_time()
            run()
            times[title].append(time.process_time() - start)
    return {title: float(np.median(some[1:])) for title, some in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description="CPU seconds a sample of learned features beside descriptors.")
    parser.add_argument("--samples", type=int, default=8, help="samples, each extracted once by every variant")
    count = parser.parse_args().samples
    torch.set_num_threads(1)
    samples = [sample for _, sample in zip(range(count), load("rendered", "keyed", "train"), strict=False)]
    print(f"torch {torch.__version__}, one thread; {len(samples)} rendered parts of {samples[0].size} px")
    turns = {title: iter(samples * 2) for title in VARIANTS}
    made = {title: Extractor(*FAMILIES[name], **options) for title, (name, options) in VARIANTS.items()}
    seconds = by_turns({title: lambda title=title: compose(made[title].tokens(next(turns[title]))) for title in VARIANTS},
                       len(samples))
    for title, value in seconds.items():
        print(f"{title:<30}{value:7.3f} s a sample, {value / seconds['descriptors']:5.2f} of descriptors")
    network, picture = Cnn(), np.random.default_rng(0).integers(0, 256, (224, 224, 3), dtype=np.uint8)
    alone = by_turns({str(n): lambda n=n: network._encode([picture] * n) for n in (1, AT_ONCE)}, len(samples))
    for n, value in alone.items():
        print(f"network alone, {n} at once{'':<7}{value / int(n):7.3f} s a picture")


if __name__ == "__main__":
    main()
