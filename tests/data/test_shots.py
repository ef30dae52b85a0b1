from pathlib import Path

import pytest

from mmadlib.data.shots import chosen, draw, draws, named
from mmadlib.errors import SettingsError

# protocol of CFR, seed 42: n -> draws of 1, 2 and 4
TABLE = {
    210: ([18], [18, 162], [18, 92, 136, 160]),
    223: ([19], [19, 172], [19, 97, 145, 171]),
    236: ([21], [20, 182], [20, 103, 153, 181]),
    244: ([21], [21, 188], [21, 107, 159, 187]),
    286: ([25], [25, 221], [25, 125, 186, 219]),
    288: ([25], [25, 222], [25, 126, 187, 221]),
    298: ([26], [26, 230], [26, 130, 194, 229]),
    300: ([26], [26, 232], [26, 131, 195, 230]),
    361: ([32], [32, 279], [31, 158, 235, 277]),
    1000: ([89], [89, 773], [88, 438, 653, 772]),
}


@pytest.mark.parametrize("n", TABLE)
def test_fixed_draws_equal_the_published_ones(n):
    assert tuple(draw(n, k, rule="fixed") for k in (1, 2, 4)) == TABLE[n]
    assert tuple(draw(n, k, seed=3) for k in (1, 2, 4)) == TABLE[n]  # auto, whatever the seed


def test_random_draws_differ_by_seed_and_repeat():
    five = draws(244, 5)
    assert list(five) == [0, 1, 2, 3, 4]
    assert len({tuple(d) for d in five.values()}) == 5
    assert five == draws(244, 5)
    assert all(d == sorted(set(d)) and len(d) == 5 and 0 <= d[0] and d[-1] < 244 for d in five.values())
    assert draw(244, 4, seed=1, rule="random") != draw(244, 4, seed=1)


def test_first_and_all():
    assert draw(9, 3, rule="first") == [0, 1, 2]
    assert draw(4, None) == [0, 1, 2, 3] == draw(4, 4, rule="random")


@pytest.mark.parametrize(("shots", "message"), [(5, "only 4 training samples"), (0, "whole number"), (True, "whole number"),
                                                (2.0, "whole number"), ("2", "whole number")])
def test_impossible_shots(shots, message):
    with pytest.raises(SettingsError, match=message):
        draw(4, shots)


@pytest.mark.parametrize("seed", ["a", -1, None, 1.5, True])
def test_impossible_seeds(seed):
    for shots, rule in ((None, "auto"), (2, "fixed"), (2, "random")):
        with pytest.raises(SettingsError, match=r"seed=.*whole number from 0"):
            draw(4, shots, seed, rule)


def test_unknown_rule():
    with pytest.raises(SettingsError, match="did you mean 'fixed'"):
        draw(4, 1, rule="fixd")


FILES = [Path(f"rgb/{name}.png") for name in ("000", "001", "002", "Pi\u00e8ce")]


def test_names_choose_samples_with_and_without_ending_and_in_any_order(tmp_path):
    assert chosen(FILES, ["002", "000.png"]) == named(FILES, ("000", "002.PNG")) == [0, 2]
    assert chosen(FILES, ["pie\u0300ce"]) == [3], "as names are compared everywhere: case and accents"
    listed = tmp_path / "good.txt"
    listed.write_text("\ufeff# the four that Anna checked\n 001 \n\n000.png\n", encoding="utf-8")
    assert chosen(FILES, listed) == chosen(FILES, str(listed)) == [0, 1]
    assert chosen(FILES, 2, rule="first") == [0, 1] and chosen(FILES, None) == [0, 1, 2, 3]


@pytest.mark.parametrize(("text", "message"), [
    ("000\n\n0001\n", r"line 3: no training sample is called '0001'; did you mean '00"),
    ("thing\n", r"line 1: no training sample is called 'thing'; there are: 000\.png, 001\.png, 002\.png"),
    ("000\n001\n000.png\n", r"line 3: '000\.png' was named before, at .*line 1; name every sample once"),
    ("# nothing\n", "names no training sample"),
])
def test_a_name_that_cannot_be_is_an_error_with_file_and_line(tmp_path, text, message):
    listed = tmp_path / "good.txt"
    listed.write_text(text)
    with pytest.raises(SettingsError, match=rf"good\.txt.*{message}"):
        chosen(FILES, listed)


def test_faulty_lists():
    for shots, message in (([], "names no"), ([3], "names are text"), (["000", "000"], r"shots\[1\].*shots\[0\]"),
                           ("no/such.txt", "does not exist")):
        with pytest.raises(SettingsError, match=message):
            chosen(FILES, shots)
    with pytest.raises(SettingsError, match="2 training samples are called 'a'"):
        chosen([Path("x/a.png"), Path("y/a.png")], ["a"])
