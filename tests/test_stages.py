"""benchmarks/stages.py: two machines agree only when they have the same stages with the same digests."""

from __future__ import annotations

import importlib.util

import pytest

from mmadlib.digest import PACKAGE

HERE = {"rendered files": "ab", "learned tokens rgb": "cd", "cfm maps": "ef"}


@pytest.fixture(scope="module")
def stages():
    spec = importlib.util.spec_from_file_location("stages", PACKAGE.parent / "benchmarks/stages.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_what_it_prints_is_read_back(stages):
    text = "# a processor\n" + "".join(f"{stage:<24}{found}\n" for stage, found in HERE.items())
    text += "cfr maps   00  # differs: 11\n"
    assert stages.read(text) == HERE | {"cfr maps": "00"}


@pytest.mark.parametrize(("theirs", "said"), [
    (HERE, ""),
    (HERE | {"learned tokens rgb": "0", "cfm maps": "1"},
     "first stage that differs: learned tokens rgb; in all: learned tokens rgb, cfm maps"),
    ({"rendered files": "ab"}, "only here: learned tokens rgb, cfm maps"),
    (HERE | {"cfr maps": "0"}, "only there: cfr maps"),
])
def test_the_first_difference_is_named_and_what_one_machine_lacks(stages, theirs, said):
    assert stages.verdict(HERE, theirs) == said
