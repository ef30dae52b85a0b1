"""Settings typed as text: one meaning however they are written, refused before anything is computed."""

from __future__ import annotations

import doctest
import json

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from mmadlib.__main__ import main
from mmadlib.errors import SettingsError, UnknownName
from mmadlib.experiments import parse_mapping, parse_options, parse_reader, parse_settings, texts
from mmadlib.experiments.params import check
from mmadlib.experiments.texts import checked
from mmadlib.paths import NOTEBOOKS

OPTIONS = {"isolate": True, "rgb_layers": "2-9", "rgb_weights": None, "rgb_blocks": 8}


@pytest.mark.parametrize("text", [
    json.dumps(OPTIONS), "isolate=True, rgb_layers=2-9, rgb_weights=None, rgb_blocks=8",
    "isolate=true rgb_layers='2-9' rgb_weights=null rgb_blocks=8;", 
    "isolate: true, rgb_layers: 2-9, rgb_weights: null, rgb_blocks: 8",
    "isolate: true\nrgb_layers: 2-9\nrgb_weights: null\nrgb_blocks: 8",
    "{isolate: true, rgb_layers: 2-9, rgb_weights: , rgb_blocks: 8}",
])
def test_every_way_of_writing_says_the_same(text):
    assert parse_options(text) == OPTIONS


def test_values_keep_their_types():
    assert doctest.testmod(texts).failed == 0
    assert parse_mapping("a=1e-3 b=1 c=[1, 2] d=/data/a=b.pth e = x") == {
        "a": 1e-3, "b": 1, "c": [1, 2], "d": "/data/a=b.pth", "e": "x"}
    assert parse_mapping("") == parse_mapping(" \n") == {}


@pytest.mark.parametrize("text", ["{'a': ", '{"a": 1', "isolate", "3", "[1, 2]", "a: !!python/object:os.X {}", "1=2", "{1: 2}",
                                  "[" * 999, "a=!!python/name:os.system"])
def test_what_is_no_mapping_is_one_line(text):
    with pytest.raises(SettingsError, match=r"^options=.*write name=value, name: value or JSON$") as caught:
        parse_options(text)
    assert "\n" not in str(caught.value)


def test_names_and_types_are_those_of_their_owner():
    assert parse_settings("steps=3", "cpir") == {"steps": 3}
    assert parse_settings('{"cfm": {"epochs": 2}}') == {"cfm": {"epochs": 2}}
    assert parse_reader("frame=literature", "eyecandies") == {"frame": "literature"}
    for parse, hint in ((lambda: parse_options("isolat=True"), "isolate"),
                        (lambda: parse_settings("epoch=3", "cfm"), "epochs"),
                        (lambda: parse_settings("cfmm: {epochs: 3}"), "cfm"), (lambda: parse_settings("", "cfmm"), "cfm"),
                        (lambda: parse_reader("fram=camera", "eyecandies"), "frame")):
        with pytest.raises(UnknownName, match=rf"did you mean '{hint}'"):
            parse()
    for parse in (lambda: parse_options("isolate=yess"), lambda: parse_settings("epochs=many", "cfm"),
                  lambda: parse_settings("cfm: 3")):
        with pytest.raises(SettingsError):
            parse()


def notebook(folder, name, parameters):
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    cells = [new_code_cell(parameters, metadata={"tags": ["parameters"]})]
    nbformat.write(new_notebook(cells=cells, metadata=kernel), folder / name)
    return folder / name


def test_a_notebook_gets_json_of_the_right_method(tmp_path):
    declared = 'method: str = "cfm"\nsettings: str = ""\nreader: str = ""\ndataset: str = "eyecandies"'
    mine = notebook(tmp_path, "mine.ipynb", declared)
    assert checked(mine, {"settings": "epochs=2", "reader": "frame: camera", "method": "cfm"}) == {
        "settings": '{"epochs": 2}', "reader": '{"frame": "camera"}', "method": "cfm"}
    for params in ({"settings": "k=3"}, {"settings": "epochs=2", "method": "nearest"}, {"reader": "view=L05"}):
        with pytest.raises(UnknownName):
            checked(mine, params)
    several = notebook(tmp_path, "several.ipynb", 'methods: str = "cfm"\nsettings: str = ""')
    assert checked(several, {"settings": "cfm: {epochs: 2}"}) == {"settings": '{"cfm": {"epochs": 2}}'}
    free = notebook(tmp_path, "free.ipynb", 'settings: str = ""')
    assert checked(free, {"settings": "anything=2"}) == {"settings": '{"anything": 2}'}
    given = {"settings": '{"epochs":2}', "options": ""}
    assert checked(NOTEBOOKS / "20_cfm.ipynb", given) == given


def test_a_file_of_parameters_may_hold_them_as_values():
    nb, types = NOTEBOOKS / "20_cfm.ipynb", {"settings": "str", "category": "str"}
    assert checked(nb, check({"settings": {"epochs": 2}}, types, nb)) == {"settings": '{"epochs": 2}'}
    with pytest.raises(SettingsError, match="expected str, got dict"):
        check({"category": {"keyed": 1}}, types, nb)


@pytest.mark.parametrize(("pair", "fault"), [
    ("settings={epochs", "cannot be read"), ("settings=epoch=3", "did you mean 'epochs'"),
    ("options=isolat=True", "did you mean 'isolate'"), ("options=isolate", "no named values")])
def test_the_command_refuses_before_the_kernel_starts(tmp_path, capsys, pair, fault):
    assert main(["run", str(NOTEBOOKS / "20_cfm.ipynb"), str(tmp_path / "out.ipynb"), "-p", pair]) == 2
    error = capsys.readouterr().err
    assert fault in error and error.count("\n") == 1 and not (tmp_path / "out.ipynb").exists()
