"""Own parts in a notebook: the table of verdicts, the threshold to move, what was measured."""

import numpy as np
import pandas as pd
import pytest

from mmadlib.errors import DataError
from mmadlib.inspection.verdicts import BAD, GOOD, NOT_COMPARABLE, Region, Thresholds, Verdict
from mmadlib.report import own_parts

AT = Thresholds(0.5, 0.4, 0.05, 1 / 11, 10, 19, "Above the largest held-out good score.")


def verdict(part, said, score, **more):
    return Verdict(part, said, score, None if said == NOT_COMPARABLE else 0.1, np.zeros((2, 2), np.float32),
                   np.ones((2, 2), bool), **more)


VERDICTS = [verdict("a", GOOD, 0.3), verdict("b", BAD, 0.9, speaks="shape", regions=(
    Region((0, 0, 1, 1), 0.9, (0, 0), 1, 3.0), Region((1, 1, 2, 2), 0.8, (1, 1), 2, 12.4))),
    verdict("c", BAD, 0.2, reason="a hole", holed=True), verdict("d", NOT_COMPARABLE, float("nan"), reason="is black")]


def test_the_table_has_what_needs_a_look_first():
    table = own_parts.table(VERDICTS)
    assert table.index.tolist() == ["d", "b", "a", "c"]
    assert table.loc["b", ["score", "regions", "largest, mm2", "shown by"]].tolist() == ["0.9", 2, "12", "shape"]
    assert table.loc["d", ["p", "why"]].tolist() == ["", "is black"]


def test_the_slider_counts_what_lies_above_it():
    fig = own_parts.slider(VERDICTS, AT)
    (slider,) = fig.layout.sliders
    at, steps = slider.active, slider.steps
    assert steps[at].label == "0.5" and fig.layout.title.text == "2 bad, 1 good (as calibrated)"
    assert list(fig.data[0].y) == [0.2, 0.3, 0.9] and list(fig.data[1].y) == [0.5, 0.5]
    assert sum("as calibrated" in step.args[1]["title.text"] for step in steps) == 1
    assert steps[0].args[1]["title.text"].startswith("3 bad, 0 good (moved by hand")
    # the part with a hole is bad however high the threshold is
    assert steps[-1].args[1]["title.text"].startswith("1 bad, 2 good")
    assert steps[-1].args[0]["marker.color"][0] == [own_parts.COLOURS[BAD], *[own_parts.COLOURS[GOOD]] * 2]
    with pytest.raises(DataError, match="none of them can be compared"):
        own_parts.slider(VERDICTS[3:], AT)


def test_false_alarms_are_means_over_categories(tmp_path):
    rows = [{"category": c, "draw": d, "parts": 10, "promised": 1 / 11, "false_alarms": n, "of": 50}
            for d in (0, 1) for c, n in zip("abcde", (0, 1, 2, 3, 4), strict=True)]
    pd.DataFrame(rows).to_csv(tmp_path / "false_alarms_cpir.csv", index=False)
    pd.DataFrame(rows[:1]).to_csv(tmp_path / "false_alarms_nearest.csv", index=False)
    table = own_parts.false_alarms(tmp_path)
    assert table.columns.tolist() == ["5", "10", "20", "40"]
    assert table["10"].tolist() == ["0.091", "0.040 [0.001, 0.079]", "0.000*"]
    assert table.loc["CPIR", "5"] == "not run"


def test_sizes(tmp_path):
    row = {"method": "cpir", "category": "keyed", "size": 224, "part_s": 0.43, "defects": 20, "found": 19,
           "false_alarms": 0, "of_good": 8, "smallest_mm2": 12.3, "smallest_there_mm2": 8.4}
    pd.DataFrame([row]).to_csv(tmp_path / "sizes.csv", index=False)
    table = own_parts.sizes(tmp_path / "sizes.csv")
    assert table.loc[("keyed", 224)].tolist() == [0.43, "19 of 20", "0 of 8", "12 (there: 8)"]
    with pytest.raises(DataError, match=r"run benchmarks/own_sizes.py"):
        own_parts.sizes(tmp_path / "none.csv")
