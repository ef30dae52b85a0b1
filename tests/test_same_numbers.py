"""Code counts as proven only where nothing at all differs, and only where the comparison sees what changed."""

from __future__ import annotations

import copy
import json
import runpy

import pandas as pd
import pytest
from samples import dome, on_a_table

from mmadlib.digest import PACKAGE
from mmadlib.errors import MmadError
from mmadlib.paths import WORKFLOW

SAME = runpy.run_path(str(WORKFLOW / "same_numbers.py"))
PROBE = runpy.run_path(str(WORKFLOW / "probe.py"))
OLD = {"scans": {"a": "1", "b": "2"}, "runs": {"cfm rendered": {"metrics": "[1.0]", "scores": "3"}},
       "identities": {"cfm rendered": "old", "cpir rendered": "kept"}}
TODAY = {"cfm rendered": "new", "cpir rendered": "kept"}


def test_only_identities_that_changed_are_written():
    row, = SAME["rows"](OLD, copy.deepcopy(OLD), TODAY, "abc")
    assert row.pop("evidence").startswith("abc: 2 scans and 1 runs equal, digest ")
    assert row == {"method": "cfm", "dataset": "rendered", "found": "new", "counts_as": "old"}


@pytest.mark.parametrize("edit", [lambda new: new["scans"].update(b="3"), lambda new: new["scans"].pop("a"),
                                  lambda new: new["scans"].update(c="3"), lambda new: new["runs"].clear(),
                                  lambda new: new["runs"]["cfm rendered"].update(metrics="[1.0000000000000002]")])
def test_one_difference_and_nothing_is_vouched_for(edit):
    new = copy.deepcopy(OLD)
    edit(new)
    for pair in ((OLD, new), (new, OLD)):
        with pytest.raises(MmadError, match="1 numbers differ"):
            SAME["rows"](*pair, TODAY, "abc")


def test_nothing_compared_proves_nothing():
    empty = OLD | {"scans": {}}
    with pytest.raises(MmadError, match="nothing was compared"):
        SAME["rows"](empty, empty, TODAY, "abc")


def test_changes_that_a_few_samples_do_not_show_are_refused():
    seen = {"prepare/clustering.py", "data/layout.py", "experiments/breakdown.py", "report/plots.py", "sample.py"}
    assert SAME["unseen"](seen) == []
    beyond = {"methods/cfm/cfm.py", "metrics/aupro.py", "features/cnn.py", "render/scene.py", "data/rendered.py",
              "methods/old.py"}
    assert SAME["unseen"](seen | beyond) == sorted(beyond)
    assert all((PACKAGE / name).is_file() for name in (seen | beyond) - {"methods/old.py"})


def test_every_pixel_and_point_enters_the_digest_of_a_scan():
    grids = [(48, "edge")]
    for sample in (dome(), on_a_table()):
        first = PROBE["scan"](sample, grids)
        assert PROBE["scan"](sample.with_(), grids) == first
        for name in ("rgb", "xyz", "valid", "mask"):
            array = getattr(sample, name).copy()
            array.flat[array.size // 2] = not array.flat[array.size // 2] if array.dtype == bool else array.flat[0] + 1
            assert PROBE["scan"](sample.with_(**{name: array}), grids) != first, name
        assert PROBE["scan"](sample, [(47, "edge")]) != first != PROBE["scan"](sample.with_(label=0), grids)


def test_all_committed_data_and_every_method_are_compared():
    runs = SAME["committed"]()
    asked = SAME["task"](runs)
    assert len(asked["categories"]) == len(runs[["dataset", "category", "data_seed"]].drop_duplicates()) >= 16
    assert set(asked["runs"]) == {" ".join(pair) for pair in asked["identities"]} >= {"cfm rendered", "musc road"}
    assert {tuple(pair) for pair in asked["identities"]} == set(
        pd.MultiIndex.from_frame(runs[["method", "dataset"]].drop_duplicates()))
    json.dumps(asked)
