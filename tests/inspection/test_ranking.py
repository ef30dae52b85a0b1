"""No good part: a batch is ranked and cut at its largest gap, without a promise."""

import numpy as np
import pytest
from scenes import in_files, part, parts

from mmadlib.errors import DataError, SettingsError
from mmadlib.inspection import Inspector
from mmadlib.inspection.ranking import gap_cut
from mmadlib.inspection.verdicts import BAD, NOT_COMPARABLE

QUICK = {"features": "descriptors", "options": {"size": 64}, "settings": {"grid": 16}}


@pytest.fixture(scope="module")
def ranking():
    inspector = Inspector("musc_v2", **QUICK)
    return inspector, inspector.predict([*parts(6), part(50, dent=True), part(51, stain=True)], progress=False)


def test_the_odd_ones_rank_first_and_the_gap_cuts(ranking):
    _, verdicts = ranking
    assert set(np.argsort([-v.score for v in verdicts])[:2]) == {6, 7}
    assert [v.verdict == BAD for v in verdicts] == [v.score > ranking[0].thresholds.image for v in verdicts]
    assert verdicts[6].verdict == BAD and verdicts[6].regions


def test_a_ranking_promises_nothing(ranking):
    inspector, verdicts = ranking
    assert all(v.p_value is None for v in verdicts)
    assert inspector.thresholds.promised is None and "ranking" in inspector.thresholds.how
    assert inspector.ranks and "gap" in verdicts[6].reason


def test_it_neither_fits_nor_saves(ranking, tmp_path):
    with pytest.raises(SettingsError, match="without fit"):
        Inspector("musc", **QUICK).fit(parts(3))
    with pytest.raises(SettingsError, match="no model to save"):
        ranking[0].save(tmp_path / "a.mmad")


def test_a_part_that_cannot_be_read_is_left_out(tmp_path):
    found = Inspector("musc", **QUICK).predict(in_files([*parts(4), None], tmp_path), progress=False)
    assert found[4].verdict == NOT_COMPARABLE and "truncated" in found[4].reason
    with pytest.raises(DataError, match="no part can be read"):
        Inspector("musc", **QUICK).predict(in_files([None] * 3, tmp_path), progress=False)


def test_the_cut_is_the_widest_gap_of_the_upper_half():
    assert gap_cut(np.array([0.0, 5.0, 5.1, 5.2, 5.3, 6.0, 6.1])) == pytest.approx(5.65)  # the one at 0 is wider, but below
    assert gap_cut(np.array([1.0, 1.0, 1.0])) == 1.0
