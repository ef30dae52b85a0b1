"""Parameter files: every key exists in its notebook with the right type, settings exist in the method, none is left out."""

from __future__ import annotations

import json

import pytest
import yaml

from mmadlib.features.extractor import Options
from mmadlib.methods import METHODS
from mmadlib.paths import NOTEBOOKS, WORKFLOW
from mmadlib.plan import NAMED, PARAMS, read_plan
from mmadlib.run import check, declared_types, read_yaml

FILES = sorted(PARAMS.rglob("*.yaml"))
IDS = [path.relative_to(PARAMS).as_posix() for path in FILES]


def test_parameter_files_lie_in_the_folder_of_their_notebook():
    assert FILES and all(len(path.relative_to(PARAMS).parts) == 2 for path in FILES)


@pytest.mark.parametrize("path", FILES, ids=IDS)
def test_every_key_exists_in_the_notebook_with_its_type(path):
    notebook = NOTEBOOKS / f"{path.parent.name}.ipynb"
    params = read_yaml(path)
    assert set(NAMED) <= set(params)
    assert set(check(params, declared_types(notebook), notebook)) == set(params)


@pytest.mark.parametrize("path", FILES, ids=IDS)
def test_settings_are_those_of_the_method_and_options_those_of_the_features(path):
    params, method = read_yaml(path), METHODS[path.parent.name.partition("_")[2]]
    assert method(seed=0, **json.loads(params.get("settings") or "{}"))
    assert Options(**json.loads(params.get("options") or "{}"))


def test_every_parameter_file_is_planned_somewhere():
    plans = [WORKFLOW / "config.yaml", *(WORKFLOW / "plans").glob("*.yaml")]
    assert {job.file for plan in plans for job in read_plan(yaml.safe_load(plan.read_text()))} == set(FILES)
