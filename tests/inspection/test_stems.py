"""File names for parts: safe, readable, never the same twice."""

import pytest

from mmadlib.inspection.stems import LONGEST, stems


@pytest.mark.parametrize(("name", "stem"), [("plate_7", "plate_7"), ("Träger 部品", "Träger_部品"), ("../../etc/p", "etc_p"),
                                            ("", "part"), ("...", "part"), ("CON.1", "CON.1_"), ("+1", "1"),
                                            ("\udce8", "part"), ("a:b\\c|d?", "a_b_c_d"), ("-rf", "rf")])
def test_a_stem_is_safe_and_readable(name, stem):
    assert stems([name]) == [stem]


def test_stems_differ_even_where_file_systems_do_not_see_a_difference():
    names = ["A", "a", "a-2", "e\u0301", "\u00e9", "a/b", "a_b", "ﬁ", "fi", "x" * 300, "x" * 299 + "y"]
    made = stems(names)
    assert len({stem.casefold() for stem in made}) == len(names) and made[:3] == ["A", "a-2", "a-2-2"]
    assert all(len(stem.encode()) <= LONGEST + 6 for stem in made)


def test_a_long_name_is_cut_between_letters():
    assert stems(["部" * 100]) == ["部" * (LONGEST // 3)]
