import pytest

from mmadlib.atomic import atomic


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
