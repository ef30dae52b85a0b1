"""Weights are read without pickle, checked by hash, shape and name, and named by content."""

import hashlib
import os
import pickle
import zipfile

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from mmadlib.errors import WeightsError
from mmadlib.features.weights import digest, fill, read_state


class Evil:
    def __reduce__(self):
        return (open, ("touched", "w"))


@pytest.fixture
def layer():
    torch.manual_seed(0)
    return nn.Linear(3, 2)


@pytest.mark.parametrize("wrap", [None, "base_model", "state_dict", "model", "teacher"])
def test_torch_checkpoints_are_unwrapped(tmp_path, layer, wrap):
    state = layer.state_dict()
    torch.save({wrap: state, "epoch": 3} if wrap else state, tmp_path / "a.pth")
    assert read_state(tmp_path / "a.pth").keys() == {"weight", "bias"}


def test_safetensors_and_hash(tmp_path, layer):
    path = tmp_path / "a.safetensors"
    save_file(layer.state_dict(), path)
    right = hashlib.sha256(path.read_bytes()).hexdigest()
    torch.testing.assert_close(read_state(path, right.upper())["weight"], layer.weight.data)
    with pytest.raises(WeightsError, match=f"has sha256 {right}, expected 00"):
        read_state(path, "00")
    with pytest.raises(WeightsError, match="accept other weights by rgb_sha256='any'"):
        read_state(path, "00", "rgb_sha256")


def test_a_file_that_needs_pickle_is_refused_and_not_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"base_model": Evil()}, "evil.pth")
    with pytest.raises(WeightsError, match="pickle"):
        read_state("evil.pth")
    (tmp_path / "plain.pth").write_bytes(pickle.dumps(Evil()))
    with pytest.raises(WeightsError):
        read_state("plain.pth")
    torch.save({"base_model": Evil()}, "old.pth", _use_new_zipfile_serialization=False)
    for name in ("evil.pth", "plain.pth", "old.pth"):
        with pytest.raises(WeightsError, match=rf"{name}: is .*pickle"):
            read_state(name)
    with pytest.raises(WeightsError, match=r"asks for _?io\.open, and pickle would run it"):
        read_state("evil.pth")
    assert not (tmp_path / "touched").exists()


@pytest.mark.parametrize("name", ["cut.pth", "cut.safetensors", "empty.pth", "text.safetensors"])
def test_damaged_files(tmp_path, layer, name):
    whole = tmp_path / ("whole" + name[name.index("."):])
    save_file(layer.state_dict(), whole) if whole.suffix == ".safetensors" else torch.save(layer.state_dict(), whole)
    content = {"cut": whole.read_bytes()[:-40], "empty": b"", "text": b"hello, this is not a checkpoint at all"}
    (tmp_path / name).write_bytes(content[name.split(".")[0]])
    with pytest.raises(WeightsError, match=name):
        read_state(tmp_path / name)


@pytest.mark.parametrize(("content", "fault"), [
    (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 3\n", "is a Git LFS pointer.*git lfs pull"),
    (b"\n<!DOCTYPE html>\n<html>\xff", "is a web page"), (b"<HTML><head>", "is a web page"), (b"", "is empty"),
    (b"Not found", "is a text.*'Not found'"), (bytes(100), "truncated or no checkpoint"),
    (b"PK\3\4" + bytes(90), "truncated or no checkpoint"),
    ((2**40).to_bytes(8, "little") + b"{}" + bytes(50), "truncated or no safetensors file"),
])
@pytest.mark.parametrize("name", ["a.pth", "a.SAFETENSORS"])
def test_what_downloads_leave_in_place_of_weights_is_named(tmp_path, name, content, fault):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(WeightsError, match=fault) as caught:
        read_state(tmp_path / name, "00" if b"oid" in content else "any")  # said before a hash that cannot fit
    assert "pickle" not in str(caught.value) and "\n" not in str(caught.value)


def test_pipes_and_folders_are_no_weights(tmp_path):
    os.mkfifo(tmp_path / "a.pth")
    for path in (tmp_path / "a.pth", tmp_path):
        with pytest.raises(WeightsError, match="no regular file"):
            read_state(path)


@pytest.mark.parametrize("name", ["a.PTH", "a.SAFETENSORS", "a.bin", "a.safetensors.1"])
@pytest.mark.parametrize("safe", [True, False])
def test_the_content_says_what_a_file_is(tmp_path, layer, name, safe):
    (save_file if safe else torch.save)(layer.state_dict(), tmp_path / name)
    assert read_state(tmp_path / name).keys() == {"weight", "bias"}


@pytest.mark.parametrize("zipped", [True, False])
def test_numbers_of_numpy_beside_the_tensors(tmp_path, layer, zipped):
    around = {"state_dict": layer.state_dict(), "best": np.float64(0.9), "epoch": np.int64(3), "done": np.bool_(True)}
    around |= {"name": np.str_("vit"), "low": np.float32(1)}
    torch.save(around, tmp_path / "a.pth", _use_new_zipfile_serialization=zipped)
    assert read_state(tmp_path / "a.pth").keys() == {"weight", "bias"}


def test_missing_file_and_no_tensors(tmp_path):
    with pytest.raises(WeightsError, match="no such"):
        read_state(tmp_path / "none.pth")
    torch.save({"epoch": 1}, tmp_path / "a.pth")
    with pytest.raises(WeightsError, match="no tensors"):
        read_state(tmp_path / "a.pth")
    torch.save([1, 2], tmp_path / "b.pth")
    with pytest.raises(WeightsError, match="no tensors"):
        read_state(tmp_path / "b.pth")


def test_fill_needs_every_tensor_in_its_shape(layer):
    fill(layer, {"weight": torch.ones(2, 3), "bias": torch.zeros(2), "decoder": torch.ones(1)}, "a.pth")
    assert (layer.weight == 1).all()
    with pytest.raises(WeightsError, match=r"lacks 1 of 2.*bias"):
        fill(layer, {"weight": torch.ones(2, 3)}, "a.pth")
    with pytest.raises(WeightsError, match=r"other shapes.*weight"):
        fill(layer, {"weight": torch.ones(3, 3), "bias": torch.zeros(2)}, "a.pth")


@pytest.mark.parametrize("before", ["", "module.", "backbone.", "model.", "encoder.", "teacher.", "module.teacher.backbone."])
def test_what_stands_before_all_names_is_taken_off(layer, before):
    state = {f"{before}{name}": value + 1 for name, value in layer.state_dict().items()}
    fill(layer, state | {"head.weight": torch.ones(1), "module.head.bias": torch.ones(1)}, "a.pth")
    torch.testing.assert_close(layer.bias.data, state[f"{before}bias"])


def test_names_that_fit_twice_or_only_in_part_are_refused(layer):
    state = layer.state_dict()
    with pytest.raises(WeightsError, match=r"several Linears, below 'backbone\.' and 'teacher\.'; store the one"):
        fill(layer, {f"{b}.{name}": state[name] for name in state for b in ("backbone", "teacher", "student")}, "a.pth")
    with pytest.raises(WeightsError, match=r"lacks 1 of 2 tensors \(bias"):
        fill(layer, {"model.weight": state["weight"], "bias": state["bias"]}, "a.pth")
    with pytest.raises(WeightsError, match=r"lacks 2 of 2 tensors"):
        fill(layer, {f"decoder.{name}": state[name] for name in state}, "a.pth")


def test_digest_names_the_content(layer):
    before = digest(layer)
    assert before == digest(layer)
    with torch.no_grad():
        layer.weight[0, 0] += 1e-3
    assert digest(layer) != before


def test_a_checkpoint_that_unpacks_to_more_is_refused(tmp_path):
    torch.save({"a": torch.zeros(1000)}, tmp_path / "plain.pt")
    with zipfile.ZipFile(tmp_path / "plain.pt") as plain, \
            zipfile.ZipFile(tmp_path / "bomb.pt", "w", zipfile.ZIP_DEFLATED) as bomb:
        for name in plain.namelist():
            bomb.writestr(name, plain.read(name))
    assert read_state(tmp_path / "plain.pt")["a"].shape == (1000,)
    with pytest.raises(WeightsError, match="bytes that unpack to"):
        read_state(tmp_path / "bomb.pt")
