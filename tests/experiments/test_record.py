"""Records: what is written is read back; tables are sorted, typed and free of anything that changes by itself."""

from __future__ import annotations

import json
import math
import subprocess

import pytest
from records import make

from mmadlib.errors import DataError
from mmadlib.experiments import record as module
from mmadlib.experiments.record import COLUMNS, KEYS, PROVENANCE, collect, environment, find_records, read, write
from mmadlib.paths import MARK


def test_what_is_written_is_read_back(tmp_path):
    record = make(metrics={"all": {"i_auroc": 0.912345}}, wall_s=1.5, peak_mb=300.0, n_test=24)
    assert read(write(record, tmp_path)) == record


def test_undefined_values_are_null_in_the_file_and_absent_from_the_table(tmp_path):
    path = write(make(), tmp_path)
    assert "NaN" not in path.read_text() and json.loads(path.read_text())["wall_s"] is None
    back = read(path)
    assert math.isnan(back.metrics["rgb"]["i_auroc"]) and math.isnan(back.wall_s)
    rows = [(r["subset"], r["metric"], r["value"]) for r in back.rows()]
    assert rows == [("all", "i_auroc", 0.9123), ("all", "aupro_30", 0.5)]


def test_keys_and_folder_agree(tmp_path):
    record = make(shots=None, seed=3)
    assert record.keys["shots"] == "full" and make().keys["shots"] == "4"
    assert record.folder(tmp_path).relative_to(tmp_path).as_posix() == \
        "rendered/data0/keyed/cfm/default/descriptors/shotsfull/seed3"


def test_a_failed_write_leaves_nothing(tmp_path, monkeypatch):
    def full_disk(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full_disk)
    with pytest.raises(OSError, match="No space"):
        write(make(), tmp_path / "run")
    assert list((tmp_path / "run").iterdir()) == []


@pytest.mark.parametrize(("text", "fault"), [(None, "no such record"), ('{"dataset": "rend', "no complete record"),
                                             ("{}", "edited, or of an older"), ("[1]", "no complete record"),
                                             ("[" * 100_000, "no complete record")])
def test_unreadable_records_are_named(tmp_path, text, fault):
    if text is not None:
        (tmp_path / "metrics.json").write_text(text)
    with pytest.raises(DataError, match=rf"metrics\.json.*{fault}"):
        read(tmp_path / "metrics.json")


def test_collect_is_long_sorted_and_typed(tmp_path):
    for shots in (None, 10, 4):
        for category in ("plain", "keyed"):
            record = make(shots=shots, category=category)
            write(record, record.folder(tmp_path))
    table = collect(tmp_path)
    assert list(table.columns) == COLUMNS and len(table) == 12
    assert table["category"].tolist() == ["keyed"] * 6 + ["plain"] * 6
    assert table["shots"].drop_duplicates().tolist() == ["4", "10", "full"]
    assert table["metric"].tolist()[:2] == ["aupro_30", "i_auroc"]
    assert (table["data_seed"].dtype, table["value"].dtype) == (int, float)


def test_collect_of_nothing_has_the_columns(tmp_path):
    table = collect(tmp_path)
    assert table.empty and list(table.columns) == COLUMNS


def test_a_base_inside_a_base_is_not_collected(tmp_path):
    smoke = make()
    write(smoke, smoke.folder(tmp_path / "smoke"))
    assert find_records(tmp_path) == [] and len(find_records(tmp_path / "smoke")) == 1


def test_digest_follows_numbers_and_settings_and_nothing_else():
    same = make(wall_s=9.0, provenance={"finished": "later"})
    assert make().digest == same.digest
    for change in ({"seed": 1}, {"draw": ["001"]}, {"settings": {"steps": 1}}, {"metrics": {"all": {"i_auroc": 0.1}}}):
        assert make(**change).digest != make().digest


def test_provenance_row_has_versions_and_no_host():
    row = make(wall_s=12.34, peak_mb=456.7).run_row()
    assert list(row) == PROVENANCE and row["wall_s"] == 12.3 and row["peak_mb"] == 457
    assert row["draw"] == "000 007" and json.loads(row["settings"]) == {"steps": 400}
    assert row["torch"] and row["python"].startswith("3.") and row["finished"].endswith("+00:00")
    assert set(KEYS) <= set(row)


def test_costs_are_kept_and_may_be_missing(tmp_path):
    row = make(wall_s=2.0, fit_s=1.234, score_ms=3.456, model_mb=0.12345, provenance={"code": "abc"}).run_row()
    assert (row["fit_s"], row["score_ms"], row["model_mb"], row["code"]) == (1.23, 3.46, 0.123, "abc")
    assert math.isnan(row["peak_gpu_mb"])
    back = read(write(make(fit_s=1.5), tmp_path))
    assert back.fit_s == 1.5 and math.isnan(back.score_ms)


@pytest.mark.parametrize("edit", [('"i_auroc": 0.912345', '"i_auroc": 0.99'), ('"steps": 400', '"steps": 4'),
                                  ('"seed": 0', '"seed": 1'), ('"checksum": "', '"checksum": "0')])
def test_an_edited_record_is_none(tmp_path, edit):
    path = write(make(), tmp_path)
    text = path.read_text()
    assert edit[0] in text
    path.write_text(text.replace(*edit, 1))
    with pytest.raises(DataError, match=r"metrics\.json.*edited"):
        read(path)


def test_damaged_records_are_left_out_and_named_in_one_warning(tmp_path):
    for shots in (1, 2, 3, 4, 5, 6, 7):
        record = make(shots=shots)
        path = write(record, record.folder(tmp_path))
        if shots != 2:
            path.write_text("{")
    with pytest.warns(UserWarning, match=r"(?s)6 damaged records.*shots1.*and 1 more") as seen:
        found = find_records(tmp_path)
    assert [r.shots for r in found] == [2] and len(seen) == 1


def test_the_revision_is_that_of_a_checkout_of_ours_alone(tmp_path, monkeypatch):
    for command in (["init", "-q"], ["-c", "user.name=n", "-c", "user.email=e@x", "commit", "-q", "--allow-empty", "-m", "m"]):
        subprocess.run(["git", "-C", str(tmp_path), *command], check=True)
    monkeypatch.setattr(module, "BESIDE", tmp_path)
    assert environment()["git"] is None, "somebody else's repository, in which the library is installed"
    (tmp_path / MARK).touch()
    assert environment()["git"]


def test_without_the_program_git_the_revision_is_null(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert environment()["git"] is None
