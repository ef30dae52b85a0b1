"""An inspector's file: the same verdicts from it, the same bytes of it; refused with the reason when it is not as it was."""

import json
import shutil
import zipfile

import pytest
from scenes import part, parts

from mmadlib.errors import OutputError, WeightsError
from mmadlib.inspection import Inspector
from mmadlib.inspection.saving import ABOUT, _checksum

QUICK = {"method": "nearest", "features": "descriptors", "options": {"size": 64}}


@pytest.fixture(scope="module")
def inspector():
    return Inspector(**QUICK, fixture=True).fit(parts(3), progress=False)


@pytest.fixture(scope="module")
def saved(inspector, tmp_path_factory):
    return inspector.save(tmp_path_factory.mktemp("model") / "part.mmad")


def rewritten(saved, to, change, how=zipfile.ZIP_STORED):
    """The file with its members changed: change(name, data) -> data, None to leave it out."""
    with zipfile.ZipFile(saved) as old, zipfile.ZipFile(to, "w", how) as new:
        for info in old.infolist():
            if (data := change(info.filename, old.read(info))) is not None:
                new.writestr(info.filename, data)
    return to


def test_the_same_verdicts_come_from_the_file(inspector, saved):
    loaded, new = Inspector.load(saved), [part(50, dent=True), part(51)]
    before, after = (i.predict(new, progress=False) for i in (inspector, loaded))
    assert [(v.score, v.p_value, v.verdict, v.regions) for v in before] == [(v.score, v.p_value, v.verdict, v.regions)
                                                                            for v in after]
    assert all(a.map.tobytes() == b.map.tobytes() and (a.foreground == b.foreground).all()
               for a, b in zip(before, after, strict=True))
    assert loaded.thresholds == inspector.thresholds and loaded.known.ranges == inspector.known.ranges


def test_the_same_model_gives_the_same_bytes(saved, tmp_path):
    assert Inspector.load(saved).save(tmp_path / "again.mmad").read_bytes() == saved.read_bytes()
    fitted_again = Inspector(**QUICK, fixture=True).fit(parts(3), progress=False)
    assert fitted_again.save(tmp_path / "anew.mmad").read_bytes() == saved.read_bytes()


@pytest.mark.parametrize("keep", [0, 10, 0.5, -1])
def test_a_file_cut_short_is_refused(saved, tmp_path, keep):
    data = saved.read_bytes()
    short = tmp_path / "short.mmad"
    short.write_bytes(data[:int(keep * len(data)) if isinstance(keep, float) else keep])
    with pytest.raises(WeightsError, match="damaged, cut short or no inspector"):
        Inspector.load(short)


def test_any_byte_that_was_changed_is_noticed(saved, tmp_path):
    data = bytearray(saved.read_bytes())
    for place in range(60, len(data), len(data) // 25):
        changed = data.copy()
        changed[place] ^= 1
        (tmp_path / "changed.mmad").write_bytes(changed)
        with pytest.raises(WeightsError):
            Inspector.load(tmp_path / "changed.mmad")


def test_a_threshold_that_was_changed_is_noticed(saved, tmp_path):
    def lower(name, data):
        return data.replace(b'"asked": 0.05', b'"asked": 0.04') if name == ABOUT else data

    with pytest.raises(WeightsError, match="was altered"):
        Inspector.load(rewritten(saved, tmp_path / "a.mmad", lower))


@pytest.mark.parametrize(("name", "value"), [("method", "pickle"), ("ranges", {"height": 3}), ("held", {}), ("format", 2),
                                             ("rule", {"isolate": True, "bare": True, "fixed": [9, 9, "AA=="]}),
                                             ("keywords", {"method": "nearest", "speed": 1}),
                                             ("keywords", {"isolate": 7}), ("members", {})])
def test_nonsense_with_a_right_checksum_is_refused_too(saved, tmp_path, name, value):
    def odd(member, data):
        if member != ABOUT:
            return data
        about = json.loads(data) | {name: value}
        del about["checksum"]
        return json.dumps(about | {"checksum": _checksum(about)})

    with pytest.raises(WeightsError):
        Inspector.load(rewritten(saved, tmp_path / "odd.mmad", odd))


def test_what_is_no_inspector_is_refused(saved, tmp_path):
    (tmp_path / "text.mmad").write_text("a model")
    shutil.copy(saved, tmp_path / "part.zip")
    with zipfile.ZipFile(tmp_path / "part.zip", "a") as archive:
        archive.writestr("more.pkl", b"cos\nsystem\n")
    compressed = rewritten(saved, tmp_path / "c.mmad", lambda name, data: data, zipfile.ZIP_DEFLATED)
    lacking = rewritten(saved, tmp_path / "l.mmad", lambda name, data: None if name == ABOUT else data)
    for path, said in ((tmp_path / "text.mmad", "damaged"), (tmp_path / "part.zip", "not an inspector's"),
                       (compressed, "compressed"), (lacking, "not an inspector's"), (tmp_path / "none.mmad", "not there"),
                       (tmp_path, "cannot be read")):
        with pytest.raises(WeightsError, match=said):
            Inspector.load(path)


def test_a_place_that_cannot_be_written_is_an_error(inspector, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"):
        inspector.save(tmp_path / "file" / "part.mmad")
