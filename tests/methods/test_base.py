"""What all methods share: seeds, devices, settings, and models on disk that are whole or refused."""

import errno
import json
import os
from pathlib import Path

import numpy as np
import pytest
from synthetic import quick, shared_latent

from mmadlib.errors import OutputError, SettingsError, WeightsError
from mmadlib.methods import EVERY, METHODS
from mmadlib.methods.nearest import Nearest
from mmadlib.methods.saving import read_model, write_model


@pytest.fixture
def saved(tmp_path) -> Path:
    return Nearest(size=50).fit(shared_latent(1), progress=False).save(tmp_path / "model")


@pytest.mark.parametrize("method", EVERY.values())
@pytest.mark.parametrize("seed", ["a", -1, 1.5, True, None])
def test_impossible_seeds_are_refused(method, seed):
    with pytest.raises(SettingsError, match=f"seed={seed!r}"):
        method(seed=seed)


def test_any_whole_number_is_a_seed():
    assert Nearest(seed=np.int64(3)).seed == 3


@pytest.mark.parametrize("device", ["cudaa", "cuda:99", None])
def test_devices_that_are_not_there_are_refused(device, saved):
    for make in (Nearest, lambda device: Nearest.load(saved, device)):
        with pytest.raises(SettingsError, match=f"device='{device}'"):
            make(device=device)


@pytest.mark.parametrize(("file", "content"), [
    ("model.safetensors", b""), ("model.safetensors", b"no tensors at all"), ("model.safetensors", None),
    ("settings.json", b""), ("settings.json", b"\xff\xfe"), ("settings.json", b"[]"), ("settings.json", b"{}"),
    ("settings.json", b'{"method": "nearest", "seed": 0, "checksum": "0"}')])
def test_damaged_models_are_refused(saved, file, content):
    (saved / file).write_bytes((saved / file).read_bytes()[:-40] if content is None else content)
    with pytest.raises(WeightsError, match=r"model: (holds no whole nearest model|was altered or cut short)") as caught:
        Nearest.load(saved)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("name", EVERY)
def test_models_with_other_tensors_are_refused(tmp_path, name):
    folder = EVERY[name](**quick(name)).fit(shared_latent(3), progress=False).save(tmp_path / "model")
    about, tensors = read_model(folder, name)
    standard = {key: value for key, value in tensors.items() if key.startswith("standardise")}
    for state in ({"a": shared_latent(1)[0].rgb.tokens}, standard):
        with pytest.raises(WeightsError, match=f"no whole {name} model"):
            EVERY[name].load(write_model(tmp_path / "other", about, state))


def test_other_methods_and_missing_files_are_named(saved):
    with pytest.raises(WeightsError, match=r"holds a nearest model, not cfm; load it with METHODS\['nearest'\]"):
        METHODS["cfm"].load(saved)
    (saved / "settings.json").unlink()
    with pytest.raises(WeightsError, match=r"holds no settings\.json"):
        Nearest.load(saved)


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match=r"file: cannot be written .*; free some space or give another folder"):
        Nearest().fit(shared_latent(1), progress=False).save(tmp_path / "file")
    assert (tmp_path / "file").read_text() == "in the way"


def test_a_failing_write_keeps_the_model_that_was_there(saved, monkeypatch):
    before = {p.name: p.read_bytes() for p in saved.iterdir()}
    method = Nearest(seed=1, size=50).fit(shared_latent(2), progress=False)

    def fail(self, data):
        with self.open("wb") as file:
            file.write(data[:100])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch, pytest.raises(OutputError, match=os.strerror(errno.ENOSPC)):
        patch.setattr(Path, "write_bytes", fail)
        method.save(saved)
    assert {p.name: p.read_bytes() for p in saved.iterdir()} == before
    assert json.loads(before["settings.json"])["seed"] == 0
