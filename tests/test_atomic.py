"""Files are whole, leftovers are cleared, and one writer works at a time."""

import subprocess
import sys

import pytest

from mmadlib import atomic as module
from mmadlib.atomic import alone, atomic
from mmadlib.errors import OutputError


def test_two_writers_with_one_process_id_have_names_of_their_own(tmp_path):
    with atomic(tmp_path / "a.txt") as one, atomic(tmp_path / "a.txt") as other:  # as on two machines
        one.write_text("one")
        other.write_text("other")
    assert one != other and (tmp_path / "a.txt").read_text() == "one"


def test_success_replaces_and_failure_leaves_the_old_file(tmp_path):
    path = tmp_path / "folder" / "a.txt"
    with atomic(path) as temporary:
        temporary.write_text("one")
        assert temporary.suffix == ".txt" and not path.exists()
    with pytest.raises(OSError, match="disk full"), atomic(path) as temporary:
        temporary.write_text("tw")
        raise OSError("disk full")
    assert path.read_text() == "one"
    assert [p.name for p in path.parent.iterdir()] == ["a.txt"]


def test_what_killed_processes_left_is_cleared_once_they_are_gone(tmp_path):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    host = module._host()
    left = tmp_path / f".metrics.{host}-{dead.pid}-0123abcd.json"
    others = [tmp_path / f".metrics.{host}-1-0123abcd.json", tmp_path / f".metrics.abcdef-{dead.pid}-0123abcd.json",
              tmp_path / ".hidden.json"]
    for path in (left, *others):
        path.write_text("half")
    with atomic(tmp_path / "scores.csv") as path:
        path.write_text("whole")
    assert not left.exists() and all(p.exists() for p in others)


HOLD = """
import sys, time
from pathlib import Path
from mmadlib.atomic import alone
with alone(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_one_writer_at_a_time_and_a_killed_one_sets_the_folder_free(tmp_path):
    with subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(OutputError, match=rf"written by process {holder.pid} of .* for more than"), alone(tmp_path, 0.2):
            pass
        holder.kill()
    with alone(tmp_path, 5):
        pass


def test_the_lock_says_nothing_of_what_goes_wrong_under_it(tmp_path):
    with pytest.raises(FileNotFoundError, match="a plan"), alone(tmp_path):
        raise FileNotFoundError("a plan")
    with alone(tmp_path, wait=1.0):
        pass


def test_names_may_be_as_long_as_a_file_system_takes(tmp_path):
    path = tmp_path / ("n" * 251 + ".csv")
    with atomic(path) as temporary:
        temporary.write_text("whole")
    assert path.read_text() == "whole"
