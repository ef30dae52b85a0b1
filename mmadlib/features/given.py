"""What front ends are given of a sample: without its background, in its own size and on the working grid."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float32

from mmadlib.errors import DataError, explain
from mmadlib.features.options import Options
from mmadlib.prepare.grid import Grid, to_grid
from mmadlib.prepare.isolate import isolate_object, on_a_table
from mmadlib.sample import Sample

FEWEST = 16  # valid points of a sample, its background removed, below which it has no 3D to speak of
LEAST = 1e-4, 1e-6  # width of a cloud relative to its length, length relative to its distance: float32 keeps 6e-8
LOOK = "check the cloud, or leave the sample out"


class Given(NamedTuple):
    """A sample in its own size without table and clutter, and the same on the working grid."""

    sample: Sample
    grid: Grid


def given(sample: Sample, options: Options, flat: bool) -> Given:
    """What front ends are given of a sample; flat: its cloud is not looked at, and may have any shape.

    Raises DataError for a cloud without a surface, PreprocessError where the background cannot be removed.
    """
    before, where = sample, sample.path or "sample"
    if _on_table(sample, options.isolate):
        sample = isolate_object(sample)
    if options.rgb_masked:  # what was removed elsewhere cannot be told from what never returned
        coloured = sample.valid if sample is before else sample.valid | ~before.valid
        sample = sample.with_(rgb=sample.rgb * coloured[..., None])
    grid = to_grid(sample, options.size, options.pad)
    points, left = sample.valid.sum(), grid.valid.sum()
    if points < FEWEST or left < 2:  # one point has no spread to normalise by
        fault = f"has only {points} valid points, {left} of them on a grid of {options.size} px"
        raise DataError(explain(where, fault, LOOK))
    if not flat and (fault := degenerate(grid.xyz[grid.valid])):
        raise DataError(explain(where, fault, LOOK))
    return Given(sample, grid)


def _on_table(sample: Sample, wanted: bool | None) -> bool:
    """Whether table and clutter have to be removed from the cloud first."""
    return on_a_table(sample) if wanted is None else wanted and not sample.isolated and sample.missing != "xyz"


def degenerate(points: Float32[np.ndarray, "N 3"]) -> str:
    """What is wrong with the shape of a cloud, N > 0; empty for one that spans a surface."""
    centre = points.mean(0, dtype=np.float64)
    _, width, length = np.sqrt(np.linalg.eigvalsh(np.cov(points.T.astype(np.float64), bias=True)).clip(0))
    if length <= LEAST[1] * np.linalg.norm(centre):
        return f"has its {len(points)} points all at one place"
    return f"has its {len(points)} points all on one line" if width <= LEAST[0] * length else ""
