"""The slips of `make mutants`: those that are meant, none in what decides no number."""

import pytest
from mutate import mutants


@pytest.mark.parametrize(("code", "changes"), [
    ("x = a - b", ["a - b -> a + b", "a - b -> b - a"]),
    ("x = a + b", ["a + b -> a - b"]),
    ("x = a < b", ["a < b -> a <= b"]),
    ("x = t.mean(dim=1)", ["t.mean(dim=1) -> t.sum(dim=1)", "t.mean(dim=1) -> t.mean()", "1 -> 0"]),
    ("x = 0.5", ["0.5 -> 1.0"]),
    ("x = True", ["True -> False"]),
    ("x = 'rgb'", ["'rgb' -> 'xyz'"]),
    ("x = f(a, b)", ["f(a, b) -> f(b, a)"]),
    ("x = range(n)", ["range(n) -> range(n - 1)"]),
    ("x = np.sqrt(a)", ["np.sqrt(a) -> a"]),
    ("f(a)", ["f(a) -> pass"]),
    ("x = x.clone()", ["x = x.clone() -> pass"]),
    ("if a: x = b", ["a -> not a"]),
    ("def f(a: 'rgb' = b) -> 'xyz':\n    'rgb'\n    raise E('rgb', 1)", []),
    ("NAMES = ('a', 'b')", []), ("x = max(a, b)", ["max(a, b) -> min(a, b)"]),
    ("assert a > 1", []), ("warn(f'{a - b}')", []), ("for i in bar(a, 'rgb', n=1): g()", ["g() -> pass"])])
def test_slips_of_a_line(code, changes):
    assert [mutant.change for mutant in mutants(code)] == changes
