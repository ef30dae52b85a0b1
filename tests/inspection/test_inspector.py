"""Inspector: good parts in, verdicts out; the same ones from a file; clear errors for what cannot be done."""

import warnings

import numpy as np
import pytest
from scenes import in_files, part, parts

from mmadlib.errors import DataError, SettingsError, TrainingError, UnknownName
from mmadlib.inspection import Inspector
from mmadlib.inspection.scans import Readable
from mmadlib.inspection.verdicts import BAD, GOOD, NOT_COMPARABLE

QUICK = {"method": "nearest", "features": "descriptors", "options": {"size": 64}}


@pytest.fixture(scope="module")
def inspector():
    return Inspector(**QUICK).fit(parts(8), progress=False)


@pytest.fixture(scope="module")
def verdicts(inspector):
    odd = [part(100, dent=True), part(101, pit=True), part(102, hole=True), part(103, stain=True)]
    return inspector.predict([*odd, *parts(6, 200)], progress=False)


def test_faults_are_found_and_good_parts_pass(verdicts):
    assert [v.verdict for v in verdicts[:4]] == [BAD] * 4
    assert sum(v.verdict == GOOD for v in verdicts[4:]) >= 5  # one in nine may be called bad


def test_a_verdict_says_where(verdicts):
    dent = verdicts[0]
    (top, left, bottom, right), at = dent.regions[0].box, dent.regions[0].peak_at
    assert top <= 32 < bottom and left <= 36 < right
    assert top <= at[0] < bottom and left <= at[1] < right
    assert dent.regions[0].peak == dent.map[at] == np.nanmax(dent.map)
    assert dent.map.shape == dent.foreground.shape == (64, 64) and dent.map.dtype == np.float32
    assert np.isnan(dent.map[~dent.foreground]).all() and np.isfinite(dent.map[dent.foreground]).all()
    assert dent.regions[0].area_mm2 == pytest.approx(dent.regions[0].pixels, rel=0.5)  # a millimetre a pixel


def test_a_dent_down_to_the_table_is_part_and_not_background(verdicts):
    assert verdicts[1].foreground[32, 36]
    assert verdicts[1].regions[0].box[0] <= 32 < verdicts[1].regions[0].box[2]


def test_only_a_hole_is_bad_whatever_the_score(verdicts):
    assert [v.holed for v in verdicts[:4]] == [False, False, True, False]


def test_points_that_are_missing_are_evidence(verdicts):
    hole = verdicts[2]
    assert hole.foreground[32, 36] and hole.holed and "without points" in hole.reason
    assert hole.regions[0].speaks == "shape"
    assert any("hole" in text for text in hole.warnings)


def test_the_p_value_is_at_least_one_in_n_plus_one(inspector, verdicts):
    assert all(1 / 9 <= v.p_value <= 1 for v in verdicts)
    t = inspector.thresholds
    assert (t.parts, t.promised, t.needed) == (8, 1 / 9, 19)
    assert all((v.score > t.image) == (v.p_value == 1 / 9) for v in verdicts)


def test_the_threshold_is_not_that_of_the_training_scores(inspector):
    """A bank knows its own parts by heart: their scores are far below those of good parts that it has not seen."""
    own = [v.score for v in inspector.predict(parts(8), progress=False)]
    assert max(own) < inspector.thresholds.image


def test_the_same_parts_give_the_same_verdicts_bit_for_bit(verdicts):
    again = Inspector(**QUICK).fit(parts(8), progress=False).predict([part(100, dent=True)], progress=False)[0]
    assert again.score == verdicts[0].score and again.p_value == verdicts[0].p_value
    assert again.map.tobytes() == verdicts[0].map.tobytes() and again.regions == verdicts[0].regions


def test_a_file_that_cannot_be_read_stops_no_other(inspector, tmp_path):
    found = inspector.predict(in_files([part(100, dent=True), None, part(200)], tmp_path), progress=False)
    assert [v.part for v in found] == ["000", "001", "002"]
    assert found[1].verdict == NOT_COMPARABLE and "truncated" in found[1].reason and np.isnan(found[1].score)
    assert found[1].p_value is None
    assert found[0].verdict == BAD and found[2].path == tmp_path / "rgb" / "002.png"


def test_no_part_that_can_be_read_is_an_error(inspector, tmp_path):
    with pytest.raises(DataError, match="none of the 2 parts can be read"):
        inspector.predict(in_files([None, None], tmp_path), progress=False)


def test_no_part_at_all_is_an_error(inspector):
    with pytest.raises(DataError, match="holds no part"):
        inspector.predict([], progress=False)
    with pytest.raises(DataError, match="holds no part"):
        Inspector(**QUICK).fit([], progress=False)


def test_one_good_part_needs_others_for_its_threshold():
    with pytest.raises(TrainingError, match="one good part"):
        Inspector(**QUICK).fit(parts(1), progress=False)
    further = Inspector(**QUICK).fit(parts(1), parts(4, 50), progress=False)
    assert further.thresholds.parts == 4 and "proven" in further.thresholds.how


def test_a_good_part_that_cannot_be_read_stops_the_fit(tmp_path):
    with pytest.raises(DataError, match="truncated"):
        Inspector(**QUICK).fit(in_files([part(0), None, part(2)], tmp_path), progress=False)


def test_what_is_known_to_be_bad_is_not_learned():
    with pytest.raises(DataError, match="only good parts"):
        Inspector(**QUICK).fit([part(0), part(1, dent=True, label=1, defect="dent")], progress=False)


def test_calibration_parts_of_another_kind_are_refused():
    odd = part(60)
    with pytest.raises(DataError, match="calibration part part_1"):
        Inspector(**QUICK).fit(parts(3), [part(50), odd.with_(xyz=odd.xyz * 1000)], progress=False)


def test_a_fold_of_several_parts_does_too():
    assert Inspector(**QUICK, folds=3).fit(parts(6), progress=False).thresholds.parts == 6
    with pytest.raises(SettingsError, match="folds=9"):
        Inspector(**QUICK, folds=9).fit(parts(4), progress=False)


def test_the_table_is_warned_of_when_isolation_is_off():
    off = Inspector(**QUICK, isolate=False)
    with pytest.warns(UserWarning, match="isolation is off"):
        off.fit(parts(3), progress=False)
    assert any("isolation is off" in text for text in off.predict(parts(1, 9), progress=False)[0].warnings)


def test_parts_without_a_table_need_no_isolation():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        bare = Inspector(**QUICK).fit(parts(5, table=False), progress=False)
    assert not bare.known.rule.isolate
    assert bare.predict([part(9, table=False, dent=True)], progress=False)[0].verdict == BAD


def test_a_fixture_fixes_the_foreground():
    fixed = Inspector(**QUICK, fixture=True).fit(parts(4), progress=False)
    one, other = fixed.predict([part(50), part(51, pit=True)], progress=False)
    assert np.array_equal(one.foreground, other.foreground) and one.foreground[32, 36]
    assert other.verdict == BAD


def test_a_foreground_much_smaller_is_warned_of(inspector):
    small = part(300)
    v, u = np.mgrid[:64, :64] - 31.5
    away = np.hypot(u, v) > 15
    flat = small.xyz.copy()
    flat[away, 2] = 0.5
    assert any("foreground is small" in t for t in inspector.predict([small.with_(xyz=flat)], progress=False)[0].warnings)


@pytest.mark.parametrize(("wrong", "error"), [({"method": "cpri"}, UnknownName), ({"isolate": "yes"}, SettingsError),
                                              ({"false_alarms": 5}, SettingsError), ({"seed": -1}, SettingsError),
                                              ({"options": {"isolate": True}}, SettingsError),
                                              ({"device": "abacus"}, SettingsError),
                                              ({"settings": {"bank": "none"}}, SettingsError)])
def test_wrong_settings_fail_before_any_work(wrong, error):
    with pytest.raises(error):
        Inspector(**QUICK | wrong)


def test_nothing_is_judged_before_fit(tmp_path):
    fresh = Inspector(**QUICK)
    for call in (lambda: fresh.predict(parts(1)), lambda: fresh.thresholds, fresh.look,
                 lambda: fresh.save(tmp_path / "a.mmad")):
        with pytest.raises(TrainingError):
            call()
    assert not list(tmp_path.iterdir())


def test_parts_that_were_learned_from_set_no_threshold():
    good = parts(4)
    with pytest.raises(DataError, match=r"is one of the good parts.*\(1 are\)"):
        Inspector(**QUICK).fit(good, calibration=[*parts(2, 300), good[1]], progress=False)


def test_a_slice_of_scans_reads_only_what_is_taken():
    class Files(list):
        def __getitem__(self, i):
            read.append(i)
            return super().__getitem__(i)

    read, samples = [], Files(parts(4))
    some = Readable(samples, {2})[1:]
    assert len(some) == 3 and read == []
    assert some[1].size == (1, 1) and read == []
    assert some[-1] is list.__getitem__(samples, 3) and read == [3]
