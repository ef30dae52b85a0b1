"""Fresh numbers beside the committed ones: equal, within the tolerance, beyond it."""

from __future__ import annotations

import subprocess

import pandas as pd
import pytest

from mmadlib.__main__ import main
from mmadlib.errors import DataError
from mmadlib.experiments import compare
from mmadlib.experiments.compare import BEFORE, committed, differences, keep, report
from mmadlib.experiments.record import COLUMNS


def table(*values, metric="i_auroc"):
    keys = ["rendered", 1, "keyed", "cfm", "default", "descriptors", "4"]
    return pd.DataFrame([[*keys, seed, "all", metric, value] for seed, value in enumerate(values)], columns=COLUMNS)


def test_equal_tables(capsys):
    assert report(table(0.5, 0.6), table(0.5, 0.6), "HEAD") == 0
    assert capsys.readouterr().out == "2 runs at hand: 2 numbers compared with HEAD, 2 equal, 0 changed; 0 new, 0 gone\n"


def test_differences_within_the_tolerance_are_printed(capsys):
    new = pd.concat([table(0.51, 0.6), table(0.4, metric="aupro_30")])
    old = pd.concat([table(0.5, 0.6), table(0.402, 0.3, metric="aupro_30")])
    assert report(old, new, "HEAD") == 0
    out = capsys.readouterr().out
    assert "3 numbers compared with HEAD, 1 equal, 2 changed; 0 new, 1 gone" in out and "all within 0.02" in out
    assert [line.split() for line in out.splitlines() if line.startswith(("aupro", "i_auroc"))] == [
        ["aupro_30", "0.002"], ["i_auroc", "0.010"]]


def test_a_difference_beyond_the_tolerance_fails_and_names_the_run(capsys):
    assert report(table(0.5, 0.6), table(0.55, 0.6, 0.7), "HEAD") == 1
    out, err = capsys.readouterr()
    assert "1 new" in out and "1 means differ by more than 0.02" in err and "keyed" in err


def test_what_counts_is_the_mean_over_the_categories(capsys):
    def two(keyed, free):
        return pd.concat([table(keyed), table(free).assign(category="free")])

    assert report(two(0.5, 0.6), two(0.53, 0.6), "HEAD") == 0
    assert "largest difference of a mean over categories: 0.0150" in capsys.readouterr().out
    assert report(two(0.5, 0.6), two(0.53, 0.58), "HEAD") == 0, "opposite changes are no shift"
    assert report(two(0.5, 0.6), two(0.53, 0.62), "HEAD") == 1


def test_the_largest_difference_comes_first():
    changed, compared, gone = differences(table(0.5, 0.6, 0.7), table(0.51, 0.65))
    assert changed["difference"].round(4).tolist() == [0.05, 0.01]
    assert (compared, gone) == (2, 0), "the third run is not at hand: it was not made again, so it is not equal either"


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A results folder outside of any checkout."""
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    (tmp_path / "results").mkdir()
    table(0.5).to_csv(tmp_path / "results/results.csv", index=False)
    return tmp_path


def test_without_git_the_table_that_came_is_kept_once(place):
    results, before = place / "results", place / "runs/before.csv"
    with pytest.raises(DataError, match=r"before\.csv: is missing and this is no git checkout"):
        committed(place, before)
    keep(results, before)
    table(0.9).to_csv(results / "results.csv", index=False)
    keep(results, before)
    where, old = committed(place, before)
    assert where.endswith("before.csv") and old["value"].tolist() == [0.5]


def test_without_the_program_git_too(place, monkeypatch):
    monkeypatch.setenv("PATH", str(place))
    keep(place / "results", place / "before.csv")
    assert committed(place, place / "before.csv")[1]["value"].tolist() == [0.5]


def test_in_a_checkout_it_is_the_committed_table(place):
    for command in (["init", "-q"], ["add", "results"],
                    ["-c", "user.name=n", "-c", "user.email=e@x", "commit", "-q", "-m", "m"]):
        subprocess.run(["git", "-C", str(place), *command], check=True)
    table(0.9).to_csv(place / "results/results.csv", index=False)
    where, old = committed(place, place / "absent.csv")
    assert where == "HEAD" and old["value"].tolist() == [0.5] and old["shots"].tolist() == ["4"]


def test_the_command_line(place, monkeypatch, capsys):
    monkeypatch.setattr(compare, "committed", lambda: ("HEAD", table(0.5)))
    monkeypatch.setattr(compare, "collect", lambda: table(0.9))
    assert main(["compare"]) == 1 and "0.02" in capsys.readouterr().err

    def absent():
        raise DataError("nothing")

    monkeypatch.setattr(compare, "committed", absent)
    assert main(["compare"]) == 2 and capsys.readouterr().err == "error: nothing\n"
    kept = []
    monkeypatch.setattr(compare, "keep", lambda: kept.append(BEFORE))
    assert main(["compare", "--keep"]) == 0 and len(kept) == 1


def test_names_that_stand_behind_an_apostrophe_are_the_same_names(monkeypatch):
    text = table(0.5).assign(category="'=1+1").to_csv(index=False)
    monkeypatch.setattr(compare, "git", lambda *_: text)
    assert committed()[1]["category"].tolist() == ["=1+1"]
