"""The command line: every command says what it does with an example that parses; mistakes end in one line and exit code 2."""

from __future__ import annotations

import argparse
import io
import os
import signal
import subprocess
import sys

import pytest
from layouts import mvtec
from records import store

from mmadlib import __version__
from mmadlib.__main__ import main, parser
from mmadlib.data import load
from mmadlib.errors import DataError, SettingsError
from mmadlib.experiments import find_records
from mmadlib.paths import ROOT, here


def commands(door: argparse.ArgumentParser, words: tuple[str, ...] = ()) -> dict[tuple[str, ...], argparse.ArgumentParser]:
    """words -> the parser behind them, of all commands and their commands."""
    found = {words: door} if words else {}
    for action in door._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, made in action.choices.items():
                found |= commands(made, (*words, name))
    return found


COMMANDS = commands(parser())


def test_there_is_one_door():
    assert {words[0] for words in COMMANDS} == {"run", "sweep", "render", "preprocess", "convert", "collect", "results",
                                                "compare", "fit", "predict"}
    assert not [p for p in (ROOT / "mmadlib").rglob("*.py") if p.name != "__main__.py" and "__main__" in p.read_text()
                and "argparse" in p.read_text()]


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_help_says_what_it_does_with_an_example_that_parses(words, capsys):
    with pytest.raises(SystemExit) as done:
        main([*words, "--help"])
    text = " ".join(capsys.readouterr().out.split())
    example = text.partition("example: mmadlib ")[2].split()
    assert done.value.code == 0 and COMMANDS[words].description.rstrip(".") in text
    assert tuple(example[:len(words)]) == words and callable(parser().parse_args(example).call)


def test_version_and_module():
    shown = subprocess.run([sys.executable, "-m", "mmadlib", "--version"], capture_output=True, text=True, check=True)
    assert shown.stdout == f"mmadlib {__version__}\n"


@pytest.mark.parametrize("words", [[], ["swep"], ["convert"], ["run"], ["render", "--jobs", "two"]])
def test_what_cannot_be_parsed_gives_exit_code_2(words, capsys):
    with pytest.raises(SystemExit) as done:
        main(words)
    assert done.value.code == 2 and "error: " in capsys.readouterr().err


@pytest.mark.parametrize("error", [DataError("a.png: is truncated;\n copy it again"), SettingsError("one"), OSError("bug")])
def test_errors_on_purpose_are_one_line_and_bugs_keep_their_traceback(monkeypatch, capsys, error):
    def fail(*args):
        raise error

    monkeypatch.setattr("mmadlib.data.rendered.render", fail)
    if isinstance(error, OSError):
        with pytest.raises(OSError, match="bug"):
            main(["render", "--category", "plain"])
        return
    assert main(["render", "--category", "plain"]) == 2
    assert capsys.readouterr().err == f"error: {' '.join(str(error).split())}\n"


def test_an_interrupt_gives_exit_code_130(monkeypatch, capsys):
    def stop(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr("mmadlib.data.rendered.render", stop)
    assert main(["render", "--category", "plain"]) == 130 and capsys.readouterr().err == "interrupted\n"


def test_an_interrupt_of_an_import_is_one(monkeypatch, capsys):
    """Open3D makes an ImportError of it."""
    def stop(*args):
        try:
            os.kill(os.getpid(), signal.SIGINT)
        except KeyboardInterrupt:
            raise ImportError("initialization failed") from None

    monkeypatch.setattr("mmadlib.data.rendered.render", stop)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a test run in the background ignores it
    before = signal.getsignal(signal.SIGINT)
    assert main(["render", "--category", "plain"]) == 130 and capsys.readouterr().err == "interrupted\n"
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.parametrize(("words", "target", "seen"), [
    (["sweep", "x.yaml", "--root", "scans"], "mmadlib.experiments.sweep.command", lambda args, _: args[2]["root"]),
    (["sweep", "x.yaml", "--base", "scans"], "mmadlib.experiments.sweep.command", lambda args, _: here(args[3])),
    (["render", "--root", "scans"], "mmadlib.data.rendered.command", lambda args, _: here(args[3])),
    (["results", "scans"], "mmadlib.report.summary.command", lambda args, _: here(args[0])),
])
def test_paths_that_are_typed_start_where_one_stands(monkeypatch, tmp_path, words, target, seen):
    calls = []
    monkeypatch.setattr(target, lambda *args, **keywords: calls.append((args, keywords)) or 0)
    monkeypatch.chdir(tmp_path)
    assert main(words) == 0 and str(seen(*calls[0])) == str(tmp_path / "scans")


def test_folders_that_are_typed_are_those_that_are_read_and_written(monkeypatch, tmp_path):
    """Relative ones, and with ~ for home."""
    mvtec(tmp_path / "scans", train=1, test={"good": 1}, size=(40, 40))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert main(["preprocess", "scans", "~/new", "--dataset", "folder", "--jobs", "1"]) == 0
    assert (tmp_path / "new/bagel/train/good/xyz/000.tiff").is_file()
    assert load("folder", "bagel", "train", root="~/new").entries[0].rgb.is_absolute()
    assert len(load("folder", "bagel", "train", root="new")) == 1
    store("~/runs")
    assert len(find_records("runs")) == len(find_records("~/runs")) == 1


def test_help_is_quick():
    code = "import sys; from mmadlib.__main__ import parser; parser(); print(*{'torch', 'pandas'} & set(sys.modules))"
    assert not subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()


def test_a_terminal_that_lacks_letters_gets_escapes(tmp_path, monkeypatch):
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr("sys.stderr", stream)
    assert main(["preprocess", str(tmp_path / "pi\u00e8ce"), str(tmp_path / "out")]) == 2
    stream.flush()
    assert b"pi\\xe8ce: is not a folder" in stream.buffer.getvalue()
