"""Scans of another kind get no verdict but a reason; good parts of the same kind always get one."""

import numpy as np
import pytest
from scenes import part, parts

from mmadlib.inspection.comparable import part_traits, ranges_of, scan_traits, unlike
from mmadlib.inspection.foreground import Rule, look
from mmadlib.inspection.judging import Known, seen
from mmadlib.inspection.verdicts import Thresholds

RULE = Rule(isolate=True, bare=True)


def traits(sample):
    return scan_traits(sample) | part_traits(look(sample, RULE))


@pytest.fixture(scope="module")
def known():
    """What three good parts tell."""
    return Known("nearest", "edge", RULE, "", ranges_of([traits(s) for s in parts(3)]), 0.0, {}, None,
                 Thresholds(1.0, 1.0, 0.05, 0.25, 3, 19, ""))


def lost(sample, keep, seed=0):
    """The scan with a share of its points."""
    there = np.random.default_rng(seed).random(sample.size) < keep
    return sample.with_(xyz=np.where(there[..., None], sample.xyz, np.float32(0)), valid=None)


UNLIKE = {
    "millimetres": (lambda s: s.with_(xyz=s.xyz * 1000), "millimetres instead of metres"),
    "centimetres": (lambda s: s.with_(xyz=s.xyz * 100), "centimetres instead of metres"),
    "a covered lens": (lambda s: s.with_(rgb=s.rgb // 60), "is the lens covered"),
    "no light": (lambda s: s.with_(rgb=np.zeros_like(s.rgb)), "is the lens covered"),
    "too much light": (lambda s: s.with_(rgb=np.full_like(s.rgb, 252)), "brightness"),
    "blue light": (lambda s: s.with_(rgb=(s.rgb * [0.3, 0.5, 1.0] + [0, 0, 80]).clip(0, 255).astype(np.uint8)), "colour"),
    "twice the size": (lambda s: s.with_(xyz=s.xyz * 2), "0.1"),
    "a quarter of the points": (lambda s: lost(s, 0.25), "points"),
    "half the resolution": (lambda s: s.with_(rgb=s.rgb[::2, ::2], xyz=s.xyz[::2, ::2], valid=None, mask=None), "resolution"),
    "no points": (lambda s: s.with_(xyz=np.zeros_like(s.xyz), valid=None), "points"),
    "no cloud": (lambda s: s.with_(xyz=np.zeros_like(s.xyz), missing="xyz"), "has no xyz"),
    "no picture": (lambda s: s.with_(rgb=np.zeros_like(s.rgb), missing="rgb"), "has no rgb"),
}


@pytest.mark.parametrize("kind", UNLIKE)
@pytest.mark.parametrize("seed", [100, 101])
def test_another_kind_is_told_with_the_reason(known, kind, seed):
    change, said = UNLIKE[kind]
    _, reason = seen(change(part(seed)), known)
    assert said in reason and reason != ""


def test_twice_as_large_a_part_on_the_same_table_is_another_kind(known):
    """Pixels and camera are the same, the part is not."""
    large, v, u = part(100), *(np.mgrid[:64, :64] - 31.5)
    xyz = large.xyz.copy()
    xyz[..., 2] = np.where(np.hypot(u, v) < 31, 0.482, 0.5)
    assert "part" in seen(large.with_(xyz=xyz), known)[1]


def test_a_good_part_is_never_another_kind():
    """Each with the ranges of any two others: 40 parts, 1,560 comparisons."""
    found = [traits(s) for s in parts(40, 500)]
    assert not [reason for i, one in enumerate(found) for j in range(40) if i not in (j, (j + 1) % 40)
                if (reason := unlike(one, ranges_of([found[j], found[(j + 1) % 40]])))]


def test_a_little_darker_nearer_or_sparser_is_no_other_kind(known):
    one = part(100)
    for change in (one.with_(rgb=(one.rgb * 0.7).astype(np.uint8)), one.with_(xyz=one.xyz * 1.1), lost(one, 0.85)):
        assert seen(change, known)[1] == ""
