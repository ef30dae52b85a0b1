"""A report appears whole, replaces an older one, and never touches what somebody else put there."""

import os

import pytest

from mmadlib.errors import OutputError
from mmadlib.inspection import Inspector
from mmadlib.inspection import replacing as module
from mmadlib.inspection.replacing import MANIFEST, replaceable, replacing


def write(folder, text="one"):
    with replacing(folder) as making:
        (making / "maps").mkdir()
        (making / "maps" / "a.tiff").write_text(text)
        (making / "report.html").write_text(text)


def names(folder):
    return sorted(p.name for p in folder.iterdir())


def test_a_folder_is_made_and_replaced(tmp_path):
    write(tmp_path / "new" / "report")
    write(tmp_path / "new" / "report", "two")
    assert names(tmp_path / "new") == ["report"] and (tmp_path / "new/report/maps/a.tiff").read_text() == "two"
    assert names(tmp_path / "new" / "report") == [MANIFEST, "maps", "report.html"]


@pytest.mark.parametrize("place", ["mine.txt", "maps/b.tiff", ".hidden"])
def test_files_of_others_are_refused_and_kept(tmp_path, place):
    write(tmp_path / "report")
    (tmp_path / "report" / place).write_text("mine")
    with pytest.raises(OutputError, match=rf"{place}, which is no part of a report; name a new"):
        write(tmp_path / "report", "two")
    assert (tmp_path / "report" / place).read_text() == "mine" and (tmp_path / "report/report.html").read_text() == "one"
    assert names(tmp_path) == ["report"]


def test_what_comes_while_it_is_written_is_kept(tmp_path):
    with pytest.raises(OutputError, match="late"), replacing(tmp_path / "report"):
        (tmp_path / "report").mkdir()
        (tmp_path / "report" / "late").write_text("mine")
    assert names(tmp_path / "report") == ["late"] and names(tmp_path) == ["report"]


def test_a_folder_that_cannot_be_replaced_is_refused_before_any_work(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(OutputError, match=r"holds mine.txt"):
        Inspector().predict(tmp_path / "none", out=tmp_path)


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "report").write_text("mine")
    with pytest.raises(OutputError, match="is a file; name a folder"):
        replaceable(tmp_path / "report")


def test_what_looking_leaves_behind_does_not_count(tmp_path):
    write(tmp_path / "report")
    (tmp_path / "report" / ".DS_Store").write_text("")
    assert replaceable(tmp_path / "report") == tmp_path / "report"


def test_an_interrupted_write_leaves_the_old_report_and_nothing_else(tmp_path):
    write(tmp_path / "report")
    with pytest.raises(KeyboardInterrupt), replacing(tmp_path / "report") as making:
        (making / "report.html").write_text("two")
        raise KeyboardInterrupt
    assert (tmp_path / "report/report.html").read_text() == "one" and names(tmp_path) == ["report"]


def test_the_old_report_comes_back_when_the_new_one_cannot_be_put_there(tmp_path, monkeypatch):
    write(tmp_path / "report")
    rename = module.Path.rename

    def fails(self, target):
        if target.name == "report" and (self / "report.html").read_text() == "two":
            raise OSError(28, "No space left on device")
        return rename(self, target)

    monkeypatch.setattr(module.Path, "rename", fails)
    with pytest.raises(OutputError, match="No space left"):
        write(tmp_path / "report", "two")
    assert (tmp_path / "report/report.html").read_text() == "one" and names(tmp_path) == ["report"]


def test_what_a_killed_process_left_is_cleared_and_what_a_living_one_makes_is_not(tmp_path):
    dead, alive = (tmp_path / f".report.{module._host()}-{pid}-0123abcd" for pid in (2**22 + 1, os.getpid()))
    dead.mkdir()
    alive.mkdir()
    write(tmp_path / "report")
    assert names(tmp_path) == [alive.name, "report"]


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"report: cannot be written \(.+\); free some space, or name a folder"):
        write(tmp_path / "file" / "report")
