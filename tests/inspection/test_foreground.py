"""Where the part is: a table is found and removed, holes of a part stay part, a fixture has one foreground."""

import numpy as np
import pytest
from scenes import part, parts

from mmadlib.errors import DataError, SettingsError
from mmadlib.inspection.foreground import Rule, check_isolate, decide, gap_of, look, on_table

ON = Rule(isolate=True, bare=True)


def test_a_table_is_seen_and_removed():
    sample = part(0)
    found = look(sample, ON)
    assert found.table and 0.2 < found.outline.mean() < 0.35 and found.sample.isolated
    assert (found.sample.xyz[~found.outline] == 0).all() and not found.sample.valid[~found.outline].any()
    assert (found.sample.xyz[found.outline] == sample.xyz[found.outline]).all()


def test_points_at_the_height_of_the_table_within_the_part_are_put_back():
    found = look(part(0, pit=True), ON)
    assert found.outline[32, 36] and found.sample.valid[32, 36] and found.gap == 0


def test_missing_points_within_the_part_are_counted():
    found = look(part(0, hole=True), ON)
    gap, place = gap_of(found.outline, found.sample.valid)
    assert found.gap == gap == place.sum() > 50 and place[32, 36] and not found.sample.valid[32, 36]


@pytest.mark.parametrize(("samples", "isolate", "removed"), [(parts(3), "auto", True), (parts(3, table=False), "auto", False),
                                                             (parts(3), False, False), (parts(3, table=False), True, True)])
def test_most_good_parts_decide_for_all(samples, isolate, removed):
    rule = decide(samples, isolate)
    assert rule.isolate is removed and rule.fixed is None
    assert all(look(s, rule).sample.isolated == rule.bare for s in samples)


def test_a_flat_part_that_fills_the_picture_is_no_table():
    flat = part(0)
    xyz = flat.xyz.copy()
    xyz[..., 2] = 0.5 + 0.0002 * np.random.default_rng(0).normal(size=(64, 64))
    flat = flat.with_(xyz=xyz)
    assert on_table(flat) is None
    rule = decide([flat, flat])
    assert not rule.isolate and look(flat, rule).outline.all()


def test_a_fixture_has_one_foreground():
    rule = decide(parts(4), fixture=True)
    assert rule.fixed is not None and 0.2 < rule.fixed.mean() < 0.35
    found = look(part(9, pit=True), rule)
    assert (found.outline == rule.fixed).all()
    with pytest.raises(DataError, match="48 x 48"):
        look(part(0, 48), rule)
    with pytest.raises(DataError, match="several sizes"):
        decide([part(0), part(1, 48)], fixture=True)


def test_nothing_where_the_part_should_be_is_an_error():
    gone = part(0)
    with pytest.raises(DataError, match="no point"):
        look(gone.with_(xyz=np.zeros_like(gone.xyz), valid=None), Rule(False, False))


@pytest.mark.parametrize("isolate", ["yes", 1, None, ""])
def test_isolate_is_auto_or_a_truth(isolate):
    with pytest.raises(SettingsError, match="isolate"):
        check_isolate(isolate)
