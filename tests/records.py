"""Records that are made without a run."""

from __future__ import annotations

import math

import numpy as np

from mmadlib.experiments.record import Record, environment, write


def make(**changes) -> Record:
    keys = dict(dataset="rendered", data_seed=0, category="keyed", method="cfm", variant="default", features="descriptors",
                shots=4, seed=0)
    changes["provenance"] = {"pinned": "x86-64 AVX2"} | changes.get("provenance", environment())
    metrics = {"all": {"i_auroc": 0.912345, "aupro_30": np.float32(0.5)}, "rgb": {"i_auroc": math.nan}}
    return Record(**(keys | dict(metrics=metrics, settings={"steps": 400}, draw=["000", "007"]) | changes))


def store(base, **changes) -> Record:
    """The same, written below `base`."""
    record = make(**changes)
    write(record, record.folder(base))
    return record
