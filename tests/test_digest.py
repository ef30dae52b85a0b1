"""Hashes of code: meaning counts, words and layout do not, and a pattern without a file is found."""

from __future__ import annotations

import pytest

from mmadlib import digest
from mmadlib.digest import digest_of


@pytest.fixture
def package(tmp_path, monkeypatch):
    monkeypatch.setattr(digest, "PACKAGE", tmp_path)
    digest_of.cache_clear()
    yield tmp_path
    digest_of.cache_clear()


def test_meaning_counts(package):
    digests = []
    for text in ("def f(x):\n    return 1  # one\n", "# other words\ndef f(x):\n    return 1\n",
                 "'''Words.'''\ndef f(x: int) -> int:\n    return (1)\n", "def f(x):\n    return 2\n"):
        (package / "a.py").write_text(text)
        (package / "b.py").write_text(f"n = {len(digests)}")
        digest_of.cache_clear()
        digests.append(digest_of("a*.py"))
    assert digests[0] == digests[1] == digests[2] != digests[3]


def test_a_pattern_without_a_file_is_an_error(package):
    (package / "a.py").touch()
    with pytest.raises(FileNotFoundError, match=r"gone\.py"):
        digest_of("a.py", "gone.py")
