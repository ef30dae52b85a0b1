"""Sweep files: what they expand to, and what is refused before anything runs."""

from __future__ import annotations

import pytest
import yaml

from mmadlib.errors import SettingsError
from mmadlib.experiments.cells import narrow
from mmadlib.experiments.grids import read_sweep
from mmadlib.features import Extractor

SWEEP = {"dataset": "rendered", "categories": ["keyed", "plain"], "shots": [4, 0], "seeds": [[1, 0], [2, 1]],
         "methods": {"cfm": {"default": {}}, "nearest": {"rgb": {"bank": "rgb"}, "joint": None}}}


def test_a_sweep_expands_to_every_combination():
    cells = read_sweep(SWEEP)
    assert len(cells) == 2 * 2 * 2 * 3 and len({c.folder() for c in cells}) == len(cells)
    assert {(c.data_seed, c.seed) for c in cells} == {(1, 0), (2, 1)} and {c.shots for c in cells} == {4, None}
    assert {(c.method, c.variant, c.settings.get("bank")) for c in cells} == {
        ("cfm", "default", None), ("nearest", "rgb", "rgb"), ("nearest", "joint", None)}


def test_plain_seeds_have_data_seed_0_and_common_keys_reach_every_run():
    sweep = SWEEP | {"seeds": [3], "features": "random", "options": {"size": 112}, "rule": "first", "test_limit": 4}
    cell = read_sweep(sweep)[0]
    assert (cell.data_seed, cell.seed, cell.features, cell.rule, cell.test_limit) == (0, 3, "random", "first", 4)
    assert cell.source()["options"] == {"size": 112}


def test_options_of_a_variant_go_over_those_of_the_file():
    variant = {"lr": 0.1, "options": {"pad": "zero"}}
    cell = read_sweep(SWEEP | {"options": {"size": 112, "pad": "edge"}, "methods": {"cfm": {"zero": variant}}})[0]
    assert cell.options == {"size": 112, "pad": "zero"} and cell.settings == {"lr": 0.1}


def test_a_variant_may_read_the_data_in_its_own_way():
    variants = {"published": {}, "camera": {"reader": {"frame": "camera"}}}
    sweep = SWEEP | {"dataset": "eyecandies", "root": "x", "reader": {"frame": "literature", "light": 4},
                     "methods": {"cfm": variants}}
    readers = {c.variant: c.reader for c in read_sweep(sweep)}
    assert readers == {"published": {"frame": "literature", "light": 4}, "camera": {"frame": "camera", "light": 4}}


def test_a_variant_with_features_of_its_own_takes_no_option_of_the_file():
    variants = {"file": {"lr": 0.1}, "own": {"lr": 0.1, "features": "random", "options": {"pad": "zero"}},
                "bare": {"features": "descriptors+random"}}
    cells = read_sweep(SWEEP | {"features": "paper", "options": {"backbone_mode": "compat"}, "methods": {"cfm": variants}})
    found = {c.variant: (c.features, c.options, c.settings) for c in cells}
    assert found == {"file": ("paper", {"backbone_mode": "compat"}, {"lr": 0.1}),
                     "own": ("random", {"pad": "zero"}, {"lr": 0.1}), "bare": ("descriptors+random", {}, {})}
    own = next(c for c in cells if c.variant == "own")
    assert own.folder().parts[-3] == own.source()["features"] == own.expected()["features"]["rgb"] == "random"


def test_expected_settings_are_those_of_a_run():
    cell = read_sweep(SWEEP | {"options": {"pad": "zero"}})[0]
    assert cell.features == "learned" and cell.expected()["features"] == Extractor(pad="zero").settings
    assert cell.expected()["steps"] == 400


@pytest.mark.parametrize(("change", "fault"), [
    ({"dataset": "renderd"}, "unknown dataset 'renderd': did you mean 'rendered'"),
    ({"categories": ["keyd"]}, "unknown rendered category 'keyd': did you mean 'keyed'"),
    ({"methods": {"neerest": {"default": {}}}}, "unknown method 'neerest': did you mean 'nearest'"),
    ({"methods": {"cfm": {"fast": {"step": 1}}}}, "unknown cfm setting 'step'"),
    ({"methods": {"cfm": {"fast": {"steps": "many"}}}}, "steps='many'"),
    ({"methods": {"cfm": {"fast": {"steps": 0}}}}, "steps=0"),
    ({"methods": {"cfm": {"fast": 400}}}, "fast: its settings=400: expected a mapping"),
    ({"methods": {"cfm": {}}}, "expected its variants"),
    ({"methods": {"cfm": {"own": {"features": "descriptor"}}}}, "unknown features 'descriptor'"),
    ({"methods": {"cfm": {"own": {"options": "zero"}}}}, "own: options='zero': expected a mapping"),
    ({"methods": {"cfm": {"own": {"reader": "camera"}}}}, "own: reader='camera': expected a mapping"),
    ({"methods": {"cfm": {"a/b": {}}}}, "cannot be part of a run's folder"),
    ({"methods": ["cfm"]}, "expected a mapping"),
    ({"features": "descriptor"}, "unknown features 'descriptor'"),
    ({"options": {"paddng": "zero"}}, "unknown feature option 'paddng'"),
    ({"seeds": [[1, 0, 0]]}, "is no pair"),
    ({"seeds": [[1, -1]]}, "seed=-1"),
    ({"seeds": ["one"]}, "seed='one'"),
    ({"seeds": 3}, r"seeds=3: expected a list such as \[3\]"),
    ({"shots": [-1]}, "shots=-1"),
    ({"shots": []}, "does not say shots"),
    ({"shots": [4, 4]}, "comes twice"),
    ({"shot": [4]}, "unknown key 'shot': did you mean 'shots'"),
])
def test_faults_are_named_with_the_file(tmp_path, change, fault):
    file = tmp_path / "grid.yaml"
    file.write_text(yaml.safe_dump(SWEEP | change))
    with pytest.raises(SettingsError, match=rf"grid\.yaml: .*{fault}"):
        read_sweep(file)


def test_a_sweep_that_is_not_there(tmp_path):
    with pytest.raises(SettingsError, match=r"absent\.yaml: no such sweep"):
        read_sweep(tmp_path / "absent.yaml")


def test_bare_names_lie_below_params():
    assert read_sweep("41_few_shot_1_2_4/rendered.yaml")


def test_narrowing():
    cells = read_sweep(SWEEP)
    some = narrow(cells, methods=["nearest"], categories=["plain"], shots=[0], data_seeds=[2])
    assert {(c.method, c.category, c.shots, c.data_seed) for c in some} == {("nearest", "plain", None, 2)} and len(some) == 2
    assert narrow(cells, methods=None) == cells
    for wrong in ({"methods": ["cpir"]}, {"shots": [3]}, {"seasons": [1]}):
        with pytest.raises(SettingsError, match="unknown"):
            narrow(cells, **wrong)


def test_shots_of_a_sweep_may_be_a_file_of_names(tmp_path):
    (tmp_path / "good.txt").write_text("001\n003\n")
    own, plain = read_sweep(SWEEP | {"categories": ["plain"], "seeds": [0], "shots": [str(tmp_path / "good.txt"), 4],
                                     "methods": {"nearest": {"rgb": {"bank": "rgb"}}}})
    assert (own.shots, own.names, own.rule) == (2, str(tmp_path / "good.txt"), "named") and own.expected()["rule"] == "named"
    assert (plain.shots, plain.names, plain.rule) == (4, (), "auto")
    with pytest.raises(SettingsError, match=r"none\.txt: does not exist"):
        read_sweep(SWEEP | {"shots": ["none.txt"]})
