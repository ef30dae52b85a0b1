"""Reading backbone weights without pickle, checking what they are, and naming them by a hash."""

from __future__ import annotations

import hashlib
import os
import re
import warnings
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import nn

from mmadlib.errors import WeightsError, explain
from mmadlib.paths import here
from mmadlib.untrusted import regular

State = dict[str, torch.Tensor]

RANDOM = "random"  # in place of a file: random weights from the seed, for tests and dry runs
ANY = "any"  # in place of a hash: the file is taken as it is
AROUND = ("base_model", "state_dict", "model_state_dict", "model", "teacher", "module", "backbone", "net")  # keys of wrappers
# words that models put before the names of the backbone within them, also several: module.backbone.
BEFORE = ("module", "model", "backbone", "encoder", "teacher", "base_model", "state_dict", "net", "network", "vit", "visual",
          "trunk", "feature_extractor", "image_encoder", "target_encoder", "MAE_encoder", "_orig_mod")
# training scripts keep the best score as a number of NumPy's; it holds values and runs nothing
SCALARS: list[Any] = [np.dtype, *((np.float64(0).__reduce__()[0], f"numpy.{core}.multiarray.scalar") for core in
                                  ("core", "_core")),
           *{type(np.dtype(code)) for code in "?" + np.typecodes["AllInteger"] + np.typecodes["AllFloat"] + "SU"}]
AGAIN = "download it again"


def read_state(path: str | Path, sha256: str = ANY, option: str = "sha256") -> State:
    """The tensors of a checkpoint by name: of safetensors, or whatever torch.load(weights_only=True) accepts.

    sha256: the hash that the file must have, checked before anything is unpacked; option: what the user sets it by. What is
    around the tensors (AROUND) is taken off. Raises WeightsError.
    """
    path = here(path)
    start = _start(path)
    if sha256 != ANY:
        check_hash(path, sha256, f"download it again, or accept other weights by {option}={ANY!r} or by their hash")
    state: object = _safetensors(path) if start[8:9] == b"{" else _torch_load(path, start)
    for _ in AROUND:
        inner = (state[key] for key in AROUND if key in state) if isinstance(state, dict) else ()
        state = next((found for found in inner if isinstance(found, dict)), state)
    tensors = {str(k): v for k, v in state.items() if isinstance(v, torch.Tensor)} if isinstance(state, dict) else {}
    if not tensors:
        raise WeightsError(explain(path, "holds no tensors by name", "give a checkpoint of the backbone"))
    return tensors


def existing(path: Path) -> Path:
    """The same path. Raises WeightsError when there is no such file, and for what downloads leave in place of weights."""
    _start(path)
    return path


def _start(path: Path) -> bytes:
    """The first bytes of a file. Raises WeightsError where `existing` does."""
    if not os.path.exists(path):  # also where one may not look
        raise WeightsError(explain(path, "there is no such weights file", "download it or correct the path"))
    regular(path, WeightsError)
    try:
        with path.open("rb") as file:
            start = file.read(1000)
    except OSError as err:
        raise WeightsError(explain(path, f"cannot be read ({err.strerror or err})", "check its permissions")) from None
    plain = start.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if not start:
        raise WeightsError(explain(path, "is empty", AGAIN))
    if start.startswith(b"version https://git-lfs"):
        raise WeightsError(explain(path, "is a Git LFS pointer, a note in place of the weights",
                                   "run `git lfs pull` in its repository, or download the file itself"))
    if plain.startswith((b"<!doctype", b"<html", b"<head", b"<?xml")):
        raise WeightsError(explain(path, "is a web page, no weights", "download the file itself, not the page that shows it"))
    if not set(start) - set(range(32, 127)) - set(b"\t\r\n"):
        raise WeightsError(explain(path, f"is a text, no weights: {start[:40].decode()!r}", AGAIN))
    return start


def _safetensors(path: Path) -> State:
    try:
        return load_file(path)
    except Exception as err:  # the library's own, and Python's for types that it does not know
        fault = f"is truncated or no safetensors file ({' '.join(str(err).split())})"
        raise WeightsError(explain(path, fault, AGAIN)) from None


def _torch_load(path: Path, start: bytes) -> object:
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as file:
            unpacked, size = sum(member.file_size for member in file.infolist()), path.stat().st_size
        if unpacked > size:  # torch compresses nothing
            fault = f"has {size:,} bytes that unpack to {unpacked:,}, as no checkpoint of torch does"
            raise WeightsError(explain(path, fault, AGAIN))
    try:
        with warnings.catch_warnings(), torch.serialization.safe_globals(SCALARS):
            warnings.simplefilter("ignore")  # on a file of another kind torch warns first and fails then
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as err:  # torch raises what the content makes it stumble over
        if found := re.search(r"GLOBAL ([\w.]+)", str(err)):
            raise WeightsError(explain(path, f"is no plain checkpoint: it asks for {found[1]}, and pickle would run it",
                                       "save its state_dict with torch.save or as .safetensors")) from None
        fault = "a pickle of other objects, which could run code" if start[:1] == b"\x80" else "no checkpoint of torch"
        raise WeightsError(explain(path, f"is truncated or {fault}", AGAIN)) from None


def check_hash(path: Path, sha256: str, remedy: str) -> None:
    """Raise WeightsError unless the file has this SHA-256; remedy: what the user may do about it."""
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != sha256.lower():
        raise WeightsError(explain(path, f"has sha256 {found}, expected {sha256}", remedy))


def fill(module: nn.Module, state: State, path: str | Path, adapt: Callable[[State], State] = dict) -> None:
    """Load `state` into `module`; every parameter must be there in its shape, other names are ignored.

    Words of BEFORE in front of all names are taken off where the rest, brought into the module's form by `adapt`, fits. Raises
    WeightsError that names the first disagreements, also when two networks of the file fit.
    """
    own = module.state_dict()
    needed = {k: v for k, v in own.items() if not k.endswith("num_batches_tracked")}
    fitting: dict[str, State] = {}
    faults = []
    for before in _before(state):
        there = adapt({k.removeprefix(before): v for k, v in state.items() if k.startswith(before)})
        missing = [k for k in needed if k not in there]
        misshapen = [k for k in needed if k in there and there[k].shape != needed[k].shape]
        if missing:
            faults.append((len(missing), f"lacks {len(missing)} of {len(needed)} tensors ({', '.join(missing[:3])} ...)"))
        elif misshapen:
            shapes = ", ".join(f"{k} {tuple(there[k].shape)}" for k in misshapen[:3])
            faults.append((0, f"has other shapes ({shapes})"))
        else:
            fitting[before] = {k: there.get(k, v) for k, v in own.items()}
    name = type(module).__name__
    if not fitting:
        raise WeightsError(explain(path, f"is no checkpoint of {name}: {min(faults)[1]}", "give the right file"))
    if len(fitting) > 1:
        raise WeightsError(explain(path, f"holds several {name}s, below {' and '.join(map(repr, fitting))}",
                                   "store the one that is meant in a file of its own"))
    module.load_state_dict(next(iter(fitting.values())))


def _before(state: State) -> Iterator[str]:
    """What stands before names: nothing, or words of BEFORE."""
    yield from dict.fromkeys(["", *(found for name in state for found in _words(name))])


def _words(name: str) -> Iterator[str]:
    before = ""
    for word in name.split(".")[:-1]:
        if word not in BEFORE:
            return
        before += f"{word}."
        yield before


def digest(module: nn.Module) -> str:
    """Hash of all parameters and buffers, 16 hex digits: the same weights give the same name, wherever they came from."""
    total = hashlib.blake2b(digest_size=8)
    for name, value in sorted(module.state_dict().items()):
        total.update(f"{name}{tuple(value.shape)}{value.dtype}".encode())
        total.update(value.detach().cpu().contiguous().numpy().tobytes())
    return total.hexdigest()
