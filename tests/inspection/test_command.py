"""fit and predict on the command line: from folders of files to a model, a report and an exit code."""

import pytest
from layouts import picture, snapshot, tiff
from scenes import part, parts

from mmadlib.__main__ import main
from mmadlib.inspection import Inspector
from mmadlib.inspection.command import plain

QUICK = ["--method", "nearest", "--features", "descriptors", "--size", "64"]


def stored(folder, samples):
    """Samples as files; what is None is a cloud cut short."""
    for i, sample in enumerate(samples):
        picture(folder / "rgb" / f"{i:03d}.png", (sample or samples[0]).rgb)
        path = tiff(folder / "xyz" / f"{i:03d}.tiff", (sample or samples[0]).xyz)
        if sample is None:
            path.write_bytes(path.read_bytes()[:1000])


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """good/, new/ with a dent, a cloud cut short and a part of the training, lost/ with nothing that can be read."""
    folder = tmp_path_factory.mktemp("scans")
    stored(folder / "good", parts(4))
    stored(folder / "new", [part(100, dent=True), None, part(1)])
    stored(folder / "lost", [part(0), None])
    for kind in ("rgb", "xyz"):
        next((folder / "lost" / kind).glob("000.*")).unlink()
    return folder


def test_from_good_parts_to_a_report(place, monkeypatch, capsys):
    monkeypatch.chdir(place)
    before = snapshot(place)
    assert main(["fit", "good", "out/model.mmad", *QUICK, "--units", "m"]) == 0
    said = capsys.readouterr().out
    assert "largest held-out good score" in said and "model.mmad" in said
    assert (place / "out/model_good_parts.png").is_file()
    assert Inspector.load("out/model.mmad").reading == {"units": "m"}
    assert main(["predict", "out/model.mmad", "new", "report", "--title", "brackets"]) == 0
    said = capsys.readouterr().out
    assert "3 parts: 1 bad, 1 good, 1 not comparable" in said and "000: bad: " in said and "001: not comparable: " in said
    page = (place / "report/report.html").read_text()
    assert "brackets" in page and "good parts" in page
    assert len((place / "report/scores.csv").read_text().splitlines()) == 4
    assert sorted(p.name for p in (place / "report/maps").iterdir())[0] == "000.tiff"
    assert main(["predict", "out/model.mmad", "new", "report", "--fail-on-bad"]) == 1
    assert main(["predict", "out/model.mmad", "lost", "report"]) == 2
    assert main(["predict", "none.mmad", "new", "report"]) == 2
    assert main(["fit", "good", "out/model.mmad", *QUICK, "--false-alarms", "5"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 3 and all(line.startswith("error: ") for line in lines)
    assert {name: kept for name, kept in snapshot(place).items() if not name.startswith(("out", "report"))} == before


@pytest.mark.parametrize(("text", "value"), [("-1", -1), ("65.535", 65.535), ("none", "none"), ("[-1, 0]", [-1, 0])])
def test_a_mark_is_a_number_where_it_looks_like_one(text, value):
    assert plain(text) == value


@pytest.mark.parametrize("given", [["--settings", "beta=[1,2]"], ["--settings", "epochs"], ["--invalid", "[-1"]])
def test_values_that_cannot_be_read_are_one_line(given, capsys):
    with pytest.raises(SystemExit) as end:
        main(["fit", "good", "model.mmad", *given])
    assert end.value.code == 2 and "Traceback" not in (said := capsys.readouterr().err)
    assert f"argument {given[0]}" in said


def test_a_folder_as_model_is_refused_before_the_work(tmp_path, capsys):
    assert main(["fit", str(tmp_path / "nothing"), str(tmp_path)]) == 2
    assert "is a folder; name a file in it" in capsys.readouterr().err
