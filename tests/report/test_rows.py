"""Rows: one name and one look per method and variant, whatever METHODS holds."""

from __future__ import annotations

import pytest

from mmadlib.errors import UnknownName
from mmadlib.methods import METHODS
from mmadlib.report import rows
from mmadlib.report.rows import Row


def test_names():
    assert Row("cfm").name == "CFM" and Row("cfm", "published").name == "CFM [published]"
    assert [Row("nearest", v).name for v in ("rgb", "xyz")] == ["Nearest neighbour [RGB]", "Nearest neighbour [3D]"]
    assert Row("nearest", "other").name == "Nearest neighbour [other]"
    assert [Row("pirn", v).name for v in ("default", "none", "reconstruction")] == [
        "PIRN (reconstruction)", "PIRN (reconstruction) [none]", "PIRN [reconstruction]"]
    with pytest.raises(UnknownName, match="unknown method 'cfn'"):
        Row("cfn")


def test_what_stands_beside_a_printed_name():
    found = rows.beside_printed("published")
    assert found["CFM"] == Row("cfm", "published") and found["CMSA"] == Row("cmsa", "reconstruction")
    assert list(found) == list(rows.DISPLAY.values())


def test_every_method_has_a_row_and_the_sanity_rows_come_last():
    every = rows.every_row()
    assert {r.method for r in every} == set(METHODS)
    assert [r.sanity for r in every] == [False] * (len(METHODS) + 1) + [True] * 4
    assert [r.variant for r in every if r.method in rows.FURTHER] == ["default", "xyz", "default", "triple"]
    assert all(v in METHODS[m].VARIANTS for m, variants in rows.FURTHER.items() for v in variants)


def test_no_two_rows_look_alike_and_a_new_method_changes_no_look(monkeypatch):
    before = {r: r.look for r in rows.every_row()}
    for i in range(15):
        monkeypatch.setitem(rows.METHODS, f"new{i}", METHODS["cfm"])
    looks = [tuple(look.values()) for look in rows.looks(rows.every_row()).values()]
    assert len(set(looks)) == len(looks) == len(rows.every_row()) > 15
    assert {r: r.look for r in before} == before
    assert Row("cfm", "published").look == Row("cfm").look
    assert Row("nearest", "other").look["color"].startswith("#")
    assert Row("new3").name == "new3"


def test_rows_of_one_method_are_told_apart_in_a_figure():
    some = [Row("patchcore"), Row("patchcore", "xyz"), Row("cfm"), Row("nearest", "rgb"), Row("nearest", "xyz")]
    found = rows.looks(some)
    assert list(found) == [row.name for row in some] and len({tuple(look.values()) for look in found.values()}) == 5
    assert all(found[row.name] == row.look for row in some if row.variant != "xyz" or row.sanity)
    assert found["PatchCore [xyz]"]["color"] == found["PatchCore"]["color"]
