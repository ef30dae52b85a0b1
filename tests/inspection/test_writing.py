"""A whole report: what is in its folder, and that it is there whole or not at all."""

import csv
from dataclasses import replace

import numpy as np
import pytest
import tifffile
from inspection_fakes import HOSTILE, NAMES, SCORES, THRESHOLDS, parts
from PIL import Image

from mmadlib.errors import OutputError, SettingsError
from mmadlib.inspection.scores import COLUMNS
from mmadlib.inspection.writing import write_report


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    samples, verdicts = parts()
    return write_report(tmp_path_factory.mktemp("out") / "report", samples, verdicts, THRESHOLDS, progress=False)


@pytest.fixture(scope="module")
def lines(report):
    with (report / "scores.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_the_table_holds_plain_numbers_in_the_order_of_the_parts(lines):
    assert tuple(lines[0]) == COLUMNS
    assert [line["part"] for line in lines] == [NAMES[0], HOSTILE, "'=1+1", NAMES[3]]  # no spreadsheet calculates the third
    assert [float(line["score"] or "nan") for line in lines] == pytest.approx(SCORES, nan_ok=True)
    assert [line["verdict"] for line in lines] == ["good", "bad", "bad", "not comparable"]
    assert [line["p_value"] for line in lines] == ["0.5", repr(1 / 21), repr(1 / 21), ""]
    told = {k: lines[1][k] for k in ("regions", "largest_mm2", "largest_pixels", "peak", "peak_row", "peak_column", "speaks")}
    assert list(told.values()) == ["1", "9.6", "15", "2.5", "31", "22", "shape"]
    assert lines[2]["warnings"] == "a hole" and "1000 times" in lines[3]["reason"]


def test_maps_are_as_computed(report, lines):
    for verdict, line in zip(parts()[1], lines, strict=True):
        stored = tifffile.imread(report / line["map"])
        assert stored.dtype == np.float32
        np.testing.assert_array_equal(stored, verdict.map)


def test_every_part_has_an_overlay_of_one_size(report, lines):
    sizes = set()
    for line in lines:
        with Image.open(report / line["overlay"]) as image:
            image.load()
            sizes.add((image.format, image.size))
    assert len(sizes) == 1 and sizes.pop()[0] == "PNG"


def test_the_folder_holds_what_is_promised_and_nothing_else(report, lines):
    found = {p.relative_to(report).as_posix() for p in report.rglob("*") if p.is_file()}
    assert found == {"scores.csv", "report.html", "contact_sheet.png", ".mmadlib-report",
                     *(line["map"] for line in lines), *(line["overlay"] for line in lines)}


def test_the_same_parts_give_the_same_bytes(report, tmp_path):
    samples, verdicts = parts()
    again = write_report(tmp_path / "again", samples, verdicts, THRESHOLDS, progress=False)
    for path in (p for p in report.rglob("*") if p.is_file()):
        assert path.read_bytes() == (again / path.relative_to(report)).read_bytes(), path.name


def test_an_interrupted_write_leaves_the_old_report(report):
    samples, verdicts = parts()
    before = (report / "scores.csv").read_bytes()

    class Interrupted(list):
        def __getitem__(self, i):
            if i == 2:
                raise KeyboardInterrupt
            return super().__getitem__(i)

    with pytest.raises(KeyboardInterrupt):
        write_report(report, Interrupted(samples), verdicts[::-1], THRESHOLDS, progress=False)
    assert (report / "scores.csv").read_bytes() == before and [p.name for p in report.parent.iterdir()] == ["report"]


def test_files_of_others_stop_it_before_anything_is_read(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    samples, verdicts = parts()
    with pytest.raises(OutputError, match=r"holds notes.txt"):
        write_report(tmp_path, [None] * len(samples), verdicts, THRESHOLDS, progress=False)


def test_samples_of_other_parts_are_refused(tmp_path):
    samples, verdicts = parts()
    with pytest.raises(SettingsError, match="4 samples and 3 verdicts"):
        write_report(tmp_path / "r", samples, verdicts[:3], THRESHOLDS, progress=False)
    other = replace(verdicts[0], map=np.zeros((9, 9), np.float32), foreground=np.ones((9, 9), bool))
    with pytest.raises(SettingsError, match=r"'plate': its map is \(9, 9\) and its scan \(64, 64\)"):
        write_report(tmp_path / "r", samples, [other, *verdicts[1:]], THRESHOLDS, progress=False)
    assert not list(tmp_path.iterdir())


def test_a_part_that_cannot_be_read_is_listed(tmp_path):
    samples, verdicts = parts()
    unread = replace(verdicts[3], map=np.full((1, 1), np.nan, np.float32), foreground=np.zeros((1, 1), bool),
                     reason="truncated")
    made = write_report(tmp_path / "r", [*samples[:3], None], [*verdicts[:3], unread], THRESHOLDS, progress=False)
    assert "truncated" in (made / "report.html").read_text(encoding="utf-8")
    assert len(list((made / "overlays").iterdir())) == 4
