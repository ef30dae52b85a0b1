"""Exports say what the table says, escape what would break, and come out the same every time."""

from __future__ import annotations

import csv
import doctest

import numpy as np
import pandas as pd
import pytest

from mmadlib.errors import OutputError
from mmadlib.report import export


@pytest.fixture
def table():
    index = pd.Index(["CPIR [ours_pred*]", "A&B | 5%"], name="method")
    return pd.DataFrame({"1": ["0.912 ± 0.013", "not run"], "I_x": [-0.25, np.nan]}, index=index)


def test_latex_text():
    assert doctest.testmod(export).failed == 0
    assert export.latex("a-b 5-10 [-0.1, +0.2] -0.3") == "a-b 5-10 {[}$-$0.1, +0.2] $-$0.3"
    assert export.latex("\\{~^<") == r"\textbackslash{}\{\textasciitilde{}\textasciicircum{}\textless{}"


def test_latex_table_has_one_line_a_row_and_as_many_cells_as_columns(table):
    lines = export.to_latex(table, "50 % of _x_", "name").splitlines()
    assert r"\caption{50 \% of \_x\_}" in lines and r"\label{tab:name}" in lines
    body = lines[lines.index(r"\toprule") + 1:lines.index(r"\bottomrule")]
    assert body == [r"method & 1 & I\_x \\", r"\midrule", r"CPIR {[}ours\_pred*] & 0.912 $\pm$ 0.013 & $-$0.250 \\",
                    r"A\&B | 5\% & not run & - \\"]
    assert r"\begin{tabular}{lrr}" in lines


def test_markdown_escapes_its_bars(table):
    lines = export.to_markdown(table, "Caption.").splitlines()
    assert lines == ["Caption.", "", "| method | 1 | I_x |", "| --- | ---: | ---: |",
                     "| CPIR [ours_pred*] | 0.912 ± 0.013 | -0.250 |", "| A&B \\| 5% | not run | - |"]


def test_names_are_no_markup_and_no_formulas(tmp_path):
    odd = pd.DataFrame({"=1+1": ["<img src=x onerror=alert(1)>", "@sum(a)"], "n": [-0.5, 1]},
                       index=pd.Index(["=cmd|' /c calc'!a", "\\alpha$_^~#%&{}\n"], name="method"))
    plain, marked, latex = export.export(odd, "odd", tmp_path, "Of <b>all</b>.")
    with plain.open(newline="") as file:
        assert list(csv.reader(file)) == [["method", "'=1+1", "n"],
                                          ["'=cmd|' /c calc'!a", "<img src=x onerror=alert(1)>", "-0.5000"],
                                          ["\\alpha$_^~#%&{}\n", "'@sum(a)", "1.0000"]]
    assert "<" not in marked.read_text() and len(marked.read_text().splitlines()) == 6
    assert r"| \\alpha\$_^~#%&{}\\x0a | @sum(a) | 1.000 |" in marked.read_text()
    assert r"\textbackslash{}alpha\$\_\textasciicircum{}\textasciitilde{}\#\%\&\{\}" in latex.read_text()
    assert r"\}\textbackslash{}x0a & @sum(a) & 1.000 \\" in latex.read_text()


def test_tables_without_names_or_with_two_levels(table):
    assert export.to_markdown(table.reset_index(drop=True), "c").splitlines()[2:4] == ["| 1 | I_x |", "| --- | ---: |"]
    two = pd.DataFrame({"bagel": ["0.9"]}, index=pd.MultiIndex.from_tuples([("CFM", "published")], names=["method", ""]))
    assert export.to_markdown(two, "c").splitlines()[2:] == ["| method |  | bagel |", "| --- | --- | ---: |",
                                                            "| CFM | published | 0.9 |"]
    assert r"\begin{tabular}{llr}" in export.to_latex(two, "c", "x")


def test_written_twice_the_same_bytes_and_nothing_else(table, tmp_path):
    written = export.export(table, "one", tmp_path / "new", "Caption.")
    first = [p.read_bytes() for p in written]
    assert [p.name for p in written] == ["one.csv", "one.md", "one.tex"]
    assert [p.read_bytes() for p in export.export(table, "one", tmp_path / "new", "Caption.")] == first
    assert sorted(p.name for p in (tmp_path / "new").iterdir()) == ["one.csv", "one.md", "one.tex"]
    assert all(b"\r" not in content for content in first)


def test_csv_holds_the_numbers(table, tmp_path):
    numbers = pd.DataFrame({"mean": [0.912345], "note": ["a, b"]})
    path = export.export_all([(table, "one", "c", numbers)], tmp_path)[0]
    assert list(csv.reader(path.read_text().splitlines())) == [["mean", "note"], ["0.9123", "a, b"]]


def test_a_folder_that_cannot_be_written_is_named(table, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"file: cannot be written .*give another folder"):
        export.export(table, "one", tmp_path / "file", "c")
