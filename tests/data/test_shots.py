import pytest

from mmadlib.data.shots import draw, draws
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
