"""Digests of files: read once, known again by size, times and place, and never believed when those changed."""

from __future__ import annotations

import os

import pytest

from mmadlib.data import contents as module
from mmadlib.data.contents import Contents
from mmadlib.errors import DataError


@pytest.fixture
def file(tmp_path):
    """A file that was not touched for a while."""
    path = tmp_path / "a.bin"
    path.write_bytes(b"one")
    return path


@pytest.fixture(autouse=True)
def settled(monkeypatch):
    """Every file counts as old enough."""
    monkeypatch.setattr(module, "SETTLED", -1.0)


@pytest.fixture
def reads(monkeypatch):
    """The files that were read."""
    found, original = [], module.hashlib.file_digest
    monkeypatch.setattr(module.hashlib, "file_digest", lambda file, kind: (found.append(file.name), original(file, kind))[1])
    return found


def test_a_file_is_read_once_also_by_the_next_process(file, tmp_path, reads):
    first = Contents(tmp_path / "tables")
    digest = first.digest(file)
    assert first.digest(file) == digest and len(reads) == 1
    first.keep()
    assert Contents(tmp_path / "tables").digest(file) == digest and len(reads) == 1


@pytest.mark.parametrize("change", ["content", "same size", "moved in", "restored time"])
def test_a_changed_file_is_read_again(file, tmp_path, change):
    contents = Contents(tmp_path / "tables")
    before, stamp = contents.digest(file), file.stat().st_mtime_ns
    other = tmp_path / "b.bin"
    other.write_bytes(b"longer" if change == "content" else b"two")
    if change == "moved in":
        os.utime(other, ns=(stamp, stamp))
        other.replace(file)
    else:
        file.write_bytes(other.read_bytes())
        os.utime(file, ns=(stamp, stamp if change == "restored time" else stamp + 10))
    assert contents.digest(file) != before


def test_a_file_written_just_now_is_not_trusted_by_its_time(file, tmp_path, reads, monkeypatch):
    monkeypatch.setattr(module, "SETTLED", 3600.0)
    contents = Contents(tmp_path / "tables")
    contents.digest(file), contents.digest(file)
    assert len(reads) == 2


@pytest.mark.parametrize("text", ["", "[1]", "{\"a.bin\": 3}", "[" * 100_000, "{\"a.bin\": [[1, 2, 3, 4], \"x\"]}"])
def test_a_damaged_table_is_read_anew(file, tmp_path, text):
    contents = Contents(tmp_path / "tables")
    digest = contents.digest(file)
    contents.keep()
    table, = (tmp_path / "tables").iterdir()
    table.write_text(text)
    assert Contents(tmp_path / "tables").digest(file) == digest


def test_a_folder_that_cannot_be_written_costs_nothing_but_time(file, tmp_path):
    (tmp_path / "tables").write_text("in the way")
    contents = Contents(tmp_path / "tables")
    digest = contents.digest(file)
    contents.keep()
    assert contents.digest(file) == digest and (tmp_path / "tables").read_text() == "in the way"


def test_what_is_no_file_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    for name, fault in (("pipe.png", "no regular file"), ("missing.png", "does not exist"), ("", "no regular file")):
        with pytest.raises(DataError, match=fault):
            Contents(tmp_path / "tables").digest(tmp_path / name if name else tmp_path)


def test_names_of_any_bytes_are_remembered(tmp_path, reads):
    folder = tmp_path / os.fsdecode(b"pi\xe8ce")
    folder.mkdir()
    path = folder / os.fsdecode(b"\xff.png")
    path.write_bytes(b"one")
    first = Contents(tmp_path / "tables")
    digest = first.digest(path)
    first.keep()
    assert Contents(tmp_path / "tables").digest(path) == digest and len(reads) == 1


def test_an_altered_table_is_not_believed(file, tmp_path, reads):
    first = Contents(tmp_path / "tables")
    digest = first.digest(file)
    first.keep()
    (table,) = (tmp_path / "tables").iterdir()
    table.write_text(table.read_text().replace(digest, "0" * 32))
    assert Contents(tmp_path / "tables").digest(file) == digest and len(reads) == 2
