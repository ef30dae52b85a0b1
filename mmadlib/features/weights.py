"""Reading backbone weights without pickle, checking what they are, and naming them by a hash."""

from __future__ import annotations

import hashlib
import pickle
import warnings
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from mmadlib.errors import WeightsError, explain
from mmadlib.paths import here

RANDOM = "random"  # in place of a file: random weights from the seed, for tests and dry runs
ANY = "any"  # in place of a hash: the file is taken as it is


def read_state(path: str | Path, sha256: str = ANY, option: str = "sha256") -> dict[str, torch.Tensor]:
    """The tensors of a checkpoint by name: .safetensors, or whatever torch.load(weights_only=True) accepts.

    sha256: the hash that the file must have, checked before anything is opened; option: what the user sets it by. A dictionary
    around the tensors (key base_model, state_dict, model or teacher) is unwrapped. Raises WeightsError.
    """
    path = existing(here(path))
    if sha256 != ANY:
        check_hash(path, sha256, option)
    try:
        state = load_file(path) if path.suffix == ".safetensors" else _torch_load(path)
    except pickle.UnpicklingError:
        raise WeightsError(explain(path, "is no plain checkpoint: it would need pickle, which can run code",
                                   "save its state_dict with torch.save or as .safetensors")) from None
    except (SafetensorError, RuntimeError, EOFError, OSError, ValueError, KeyError) as err:
        raise WeightsError(explain(path, f"cannot be read as weights ({type(err).__name__})", "download it again")) from None
    for key in ("base_model", "state_dict", "model", "teacher"):
        if isinstance(state, dict) and isinstance(state.get(key), dict):
            state = state[key]
    tensors = {k: v for k, v in state.items() if isinstance(v, torch.Tensor)} if isinstance(state, dict) else {}
    if not tensors:
        raise WeightsError(explain(path, "holds no tensors by name", "give a checkpoint of the backbone"))
    return tensors


def existing(path: Path) -> Path:
    """The same path. Raises WeightsError when there is no such file."""
    if not path.is_file():
        raise WeightsError(explain(path, "there is no such weights file", "download it or correct the path"))
    return path


def _torch_load(path: Path) -> object:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # on a file of another kind torch warns first and fails then
        return torch.load(path, map_location="cpu", weights_only=True)


def check_hash(path: Path, sha256: str, option: str) -> None:
    """Raise WeightsError unless the file has this SHA-256."""
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != sha256.lower():
        raise WeightsError(explain(path, f"has sha256 {found}, expected {sha256}",
                                   f"download it again, or accept other weights by {option}={ANY!r} or by their hash"))


def fill(module: nn.Module, state: dict[str, torch.Tensor], path: str | Path) -> None:
    """Load `state` into `module`; every parameter must be there in its shape, other names are ignored.

    Raises WeightsError that names the first disagreements.
    """
    own = module.state_dict()
    needed = {k: v for k, v in own.items() if not k.endswith("num_batches_tracked")}
    missing = [k for k in needed if k not in state]
    misshapen = [k for k in needed if k in state and state[k].shape != needed[k].shape]
    if missing or misshapen:
        what = f"lacks {len(missing)} of {len(needed)} tensors ({', '.join(missing[:3])} ...)" if missing else \
            f"has other shapes ({', '.join(f'{k} {tuple(state[k].shape)}' for k in misshapen[:3])})"
        raise WeightsError(explain(path, f"is no checkpoint of {type(module).__name__}: {what}", "give the right file"))
    module.load_state_dict({k: state.get(k, v) for k, v in own.items()})


def digest(module: nn.Module) -> str:
    """Hash of all parameters and buffers, 16 hex digits: the same weights give the same name, wherever they came from."""
    total = hashlib.blake2b(digest_size=8)
    for name, value in sorted(module.state_dict().items()):
        total.update(f"{name}{tuple(value.shape)}{value.dtype}".encode())
        total.update(value.detach().cpu().contiguous().numpy().tobytes())
    return total.hexdigest()
