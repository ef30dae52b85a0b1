"""Weights are read without pickle, checked by hash, shape and name, and named by content."""

import hashlib
import pickle

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
    assert not (tmp_path / "touched").exists()


@pytest.mark.parametrize("name", ["cut.pth", "cut.safetensors", "empty.pth", "text.safetensors"])
def test_damaged_files(tmp_path, layer, name):
    whole = tmp_path / ("whole" + name[name.index("."):])
    save_file(layer.state_dict(), whole) if whole.suffix == ".safetensors" else torch.save(layer.state_dict(), whole)
    content = {"cut": whole.read_bytes()[:-40], "empty": b"", "text": b"hello, this is not a checkpoint at all"}
    (tmp_path / name).write_bytes(content[name.split(".")[0]])
    with pytest.raises(WeightsError, match=name):
        read_state(tmp_path / name)


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


def test_digest_names_the_content(layer):
    before = digest(layer)
    assert before == digest(layer)
    with torch.no_grad():
        layer.weight[0, 0] += 1e-3
    assert digest(layer) != before
