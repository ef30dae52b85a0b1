"""Names are data: shown as they stand, wherever they stand."""

from __future__ import annotations

import csv
import io
import json
import os

import pytest

from mmadlib.errors import DataError, UnknownName, explain, unknown
from mmadlib.names import cell, from_cell, markdown, plotted, printable

BYTES = os.fsdecode(b"pi\xe8ce")  # a file name in Latin-1, as Python reads it
FORMULAS = ["=1+1", "+1+1", "-2+3", "@sum(a)", "\t=1", "\r=1", "'=1", "''=1", "=cmd|' /c calc'!a", "＝1+1"]
PLAIN = ["", "a", "-0.25", "1e-3", "+3", "a=b", "'n' trays", "-", "default", "'", "x@y", "'a"]


def test_what_cannot_be_seen_is_escaped_and_nothing_else():
    assert printable(f"a\n{BYTES}\x1b[2J\u202ex", keep="\n") == "a\npi\\xe8ce\\x1b[2J\\u202ex"
    assert printable("pièce café 部品 $x$ \\n") == "pièce café 部品 $x$ \\n"


def test_messages_can_always_be_written():
    known = ["good", BYTES + "2"]
    for error in (DataError(explain(f"/data/{BYTES}", "is odd", "rename it")), unknown("category", BYTES, known),
                  UnknownName(BYTES)):
        assert "pi\\" in str(error) or "pi\\udce8ce" in str(error)
        str(error).encode()
        json.dumps(str(error), ensure_ascii=False).encode()


@pytest.mark.parametrize("text", FORMULAS)
def test_no_cell_starts_a_formula_and_it_is_read_back_equal(text):
    assert cell(text)[0] == "'" and from_cell(cell(text)) == text and cell(cell(text)) != cell(text)


@pytest.mark.parametrize("text", PLAIN)
def test_other_cells_stand_as_they_are(text):
    assert cell(text) == text and from_cell(text) == text


def test_cells_survive_a_csv_file():
    names, file = [*FORMULAS, *PLAIN], io.StringIO()
    csv.writer(file).writerows([cell(name), 1] for name in names)
    assert [from_cell(row[0]) for row in csv.reader(io.StringIO(file.getvalue(), newline=""))] == names


def test_markdown_holds_no_html_no_link_and_no_further_cell():
    text = markdown("<img src=x onerror=alert(1)> | [a](http://b) ![c](d) &lt; a\nb \\")
    assert "<" not in text and "\n" not in text and text.count("|") == text.count("\\|")
    assert text.count("](") == text.count("\\](") == 2
    assert markdown("CPIR [ours] a & b ± 1 *") == "CPIR [ours] a & b ± 1 *"


def test_matplotlib_draws_names_as_they_stand():
    import matplotlib.pyplot as plt

    fig = plt.figure()
    for name in ("$x", "a$b$c", "\\alpha", "$\\frac{$", BYTES, "$$"):
        fig.text(0.1, 0.1, plotted(name))
    fig.canvas.draw()
    plt.close(fig)
