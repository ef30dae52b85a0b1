"""What a user hands in: kinds, sizes and texts of files, each fault one error of one line, found before it costs anything."""

from __future__ import annotations

import json
import os
import socket

import pytest
from samples import BOMB

from mmadlib.errors import DataError, SettingsError
from mmadlib.untrusted import BYTES, DEPTH, VALUES, parse_json, parse_yaml, read_mapping, read_text, regular


def test_plain_values_are_read_from_yaml_and_json_alike(tmp_path):
    text = '{"a": 1, "b": [1e-3, null, true], "c": {"d": "2001-01-01"}}'
    expected = {"a": 1, "b": [1e-3, None, True], "c": {"d": "2001-01-01"}}
    for name in ("p.yaml", "p.json", "P.JSON"):
        (tmp_path / name).write_text(text)
        assert read_mapping(tmp_path / name) == expected
    (tmp_path / "marked.json").write_text(text, encoding="utf-8-sig")
    assert read_mapping(tmp_path / "marked.json") == expected
    assert parse_yaml("a: &x [1]\nb: *x\nc: !!str 3\nd: 2001-01-01\ne: 1e-3\nf: 1e3") == {
        "a": [1], "b": [1], "c": "3", "d": "2001-01-01", "e": 1e-3, "f": 1e3}
    assert parse_yaml("a: &a {x: 1, y: 2}\nb: {<<: *a, y: 3}")["b"] == {"x": 1, "y": 3}


@pytest.mark.parametrize("text", [
    BOMB, f"base: &a {{{', '.join(f'k{i}: 1' for i in range(50))}}}\nb: [{', '.join(['{<<: [*a, *a]}'] * (VALUES // 100))}]",
    "a: &a [*a]", "a: &a {b: *a}", "[" * 100_000, "a: " * 100_000, "{a: " * 100_000, "- " * 100_000, f"a: {'9' * 70_000}",
    f"a: {'9' * 10_000}", "a: !!python/object/apply:os.system ['true']", "!!python/object:os.X {}", "a: !!binary aGk=",
    "a: !own 1", "a: !!set {b}", "? [1, 2]\n: 3", "a: 1\n  b: 2", "%YAML 9\n", "a: \x00", "--- a\n--- b", "a: *b", "a: ="])
def test_yaml_that_is_refused_at_once(text):
    with pytest.raises(ValueError) as caught:
        parse_yaml(text)
    assert "\n" not in str(caught.value) and 5 < len(str(caught.value)) < 300


def test_the_limits_of_depth_number_and_length():
    with pytest.raises(ValueError, match="a value of 70,000 characters, line 1"):
        parse_yaml(f"a: {'9' * 70_000}")
    assert parse_yaml("[" * DEPTH + "]" * DEPTH) == parse_json("[" * DEPTH + "]" * DEPTH)
    for parse in (parse_yaml, parse_json):
        with pytest.raises(ValueError, match=f"nested deeper than {DEPTH}"):
            parse("[" * (DEPTH + 1) + "]" * (DEPTH + 1))
    with pytest.raises(ValueError, match="more than 100,000 values"):
        parse_yaml("\n".join(["- 1"] * (VALUES + 1)))


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 100_000, '{"a": ' + "9" * 10_000 + "}", '{"a" 1}', ""])
def test_json_that_is_refused(tmp_path, text):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(DataError, match=r"a\.json: is not JSON of plain values .*; mend it"):
        read_mapping(tmp_path / "a.json", remedy="mend it")


def test_the_kind_of_a_file_is_looked_at_before_it_is_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "socket"))
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "file").write_text("a: 1")
    (tmp_path / "link").symlink_to("file")
    assert read_mapping(tmp_path / "link") == {"a": 1} and regular(tmp_path / "link") == 4
    for name, fault in (("pipe", "is a pipe"), ("socket", "is a socket"), (".", "is a folder"), ("none", "does not exist"),
                        ("loop", "cannot be read"), ("file/in", "does not exist"), ("a\0b", "does not exist")):
        with pytest.raises(SettingsError, match=fault):
            read_text(tmp_path / name, SettingsError)
    with pytest.raises(DataError, match="is a device, no regular file"):
        regular("/dev/zero")


def test_sizes_and_encodings_of_texts(tmp_path):
    path = tmp_path / "a.yaml"
    with path.open("wb") as file:
        file.truncate(BYTES + 1)
    with pytest.raises(DataError, match="has 1,048,577 bytes, more than the 1,048,576"):
        read_mapping(path)
    path.write_bytes("a: \xe9".encode("latin-1"))
    with pytest.raises(DataError, match=r"is no UTF-8 text \(byte 0xe9 at position 3\)"):
        read_mapping(path)
    path.write_text(json.dumps([1]))
    with pytest.raises(DataError, match="holds no named values"):
        read_mapping(path)


@pytest.mark.parametrize(("text", "value"), [("010", "010"), ("1:30", "1:30"), ("0x10", "0x10"), ("1_000", "1_000"),
                                             ("-3", -3), ("0", 0), ("1e-3", 1e-3), (".5", 0.5), ("2.", 2.0),
                                             ("-1.5E3", -1500.0), ("no", False), (".inf", float("inf"))])
def test_numbers_are_decimal(text, value):
    found = parse_yaml(f"a: {text}")["a"]
    assert found == value and type(found) is type(value)


@pytest.mark.parametrize(("parse", "text"), [(parse_yaml, "a: 1\nb: 2\na: 3"), (parse_json, '{"a": 1, "a": 1}'),
                                             (parse_yaml, "x: {seeds: [0], seeds: [1]}")])
def test_a_key_that_stands_twice_is_refused(parse, text):
    with pytest.raises(ValueError, match="stands there twice"):
        parse(text)
