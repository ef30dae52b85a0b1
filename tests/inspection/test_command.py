"""fit and predict on the command line: from folders to a model, a report and an exit code."""

import pytest
from scenes import in_files, part, parts

import mmadlib.inspection.inspector as inspector_file
from mmadlib.__main__ import main
from mmadlib.data import Samples
from mmadlib.inspection.command import plain

QUICK = ["--method", "nearest", "--features", "descriptors", "--size", "64"]


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """good/ and new/ as if they lay on disk, and what they were read with; pictures are drawn elsewhere."""
    seen = {"good": parts(4), "new": [part(100, dent=True), None, part(1)], "fine": parts(2), "lost": [None, None]}
    calls = []

    def scans_of(given, reading, what="parts"):
        if isinstance(given, Samples):
            return genuine(given, {}, what)
        calls.append((str(given), reading))
        return genuine(in_files(seen[str(given)], tmp_path / str(given)), {}, what)

    genuine = inspector_file.scans
    monkeypatch.setattr(inspector_file, "scans", scans_of)
    monkeypatch.chdir(tmp_path)
    return calls


def test_from_good_parts_to_a_report(folders, tmp_path, capsys):
    assert main(["fit", "good", "model.mmad", *QUICK, "--units", "m", "--invalid", "-1"]) == 0
    said = capsys.readouterr().out
    assert "largest held-out good score" in said and "model.mmad" in said
    assert (tmp_path / "model.mmad").is_file() and (tmp_path / "model_good_parts.png").is_file()
    assert main(["predict", "model.mmad", "new", "report", "--html3d", "2", "--title", "brackets"]) == 0
    said = capsys.readouterr().out
    assert "3 parts: 1 bad, 1 good, 1 not comparable" in said and "000: bad: " in said and "001: not comparable: " in said
    page = (tmp_path / "report/report.html").read_text()
    assert "brackets" in page and "good parts" in page
    lines = (tmp_path / "report/scores.csv").read_text().splitlines()
    assert len(lines) == 4 and sorted(p.name for p in (tmp_path / "report/maps").iterdir())[0] == "000.tiff"
    assert folders == [("good", {"units": "m", "invalid": -1}), ("new", {"units": "m", "invalid": -1})]


def test_exit_codes(folders, capsys):
    assert main(["fit", "good", "model.mmad", *QUICK]) == 0
    assert main(["predict", "model.mmad", "new", "report", "--fail-on-bad"]) == 1
    assert main(["predict", "model.mmad", "good", "report", "--fail-on-bad"]) == 0
    assert main(["predict", "model.mmad", "lost", "report"]) == 2
    assert main(["predict", "no.mmad", "new", "report"]) == 2
    assert main(["fit", "good", "model.mmad", *QUICK, "--false-alarms", "5"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 3 and all(line.startswith("error: ") for line in lines)


@pytest.mark.parametrize(("text", "value"), [("-1", -1), ("65.535", 65.535), ("none", "none"), ("[-1, 0]", [-1, 0])])
def test_a_mark_is_a_number_where_it_looks_like_one(text, value):
    assert plain(text) == value
