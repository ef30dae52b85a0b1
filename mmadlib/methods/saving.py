"""A fitted model on disk: model.safetensors and settings.json, whole or refused with the reason; no pickle anywhere.

settings.json holds

method, seed, settings   what makes the method anew
extraction               how the features of the training were made (mmadlib.features.extraction)
mmadlib                  the version that saved it
tensors                  SHA-256 of model.safetensors
checksum                 SHA-256 of all of the above, as JSON with sorted keys
"""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as from_bytes
from safetensors.torch import save as to_bytes

from mmadlib import __version__
from mmadlib.atomic import atomic
from mmadlib.errors import OutputError, SettingsError, WeightsError, explain
from mmadlib.paths import here, shown

SETTINGS, TENSORS = "settings.json", "model.safetensors"
LIMIT = 2**20  # bytes of a settings.json, which has about 2,000
AGAIN = "fit and save it again"
FAULTS = (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, AssertionError, MemoryError, RuntimeError,
          SafetensorError)  # of torch and of dictionaries, where a file holds something else; RecursionError is among them


def write_model(path: str | Path, about: dict[str, Any], tensors: dict[str, torch.Tensor]) -> Path:
    """Write both files, the same model the same bytes; returns the folder. Raises OutputError, and leaves what was there."""
    path, data = here(path), to_bytes(tensors)
    about = about | {"mmadlib": __version__, "tensors": hashlib.sha256(data).hexdigest()}
    text = f"{json.dumps(about | {'checksum': _checksum(about)}, indent=1)}\n"
    try:
        with ExitStack() as stack:  # both are renamed once both are written
            for name, content in ((TENSORS, data), (SETTINGS, text.encode())):
                stack.enter_context(atomic(path / name)).write_bytes(content)
    except OSError as err:
        raise OutputError(explain(shown(path), f"cannot be written ({err.strerror or err})",
                                  "free some space or give another folder")) from None
    return path


def read_model(path: str | Path, method: str) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """What settings.json says and the tensors by name, all finite, both as they were saved. Raises WeightsError."""
    path = here(path)
    if not (path / SETTINGS).is_file() or not (path / TENSORS).is_file():
        raise WeightsError(explain(shown(path), f"holds no {SETTINGS} with {TENSORS}", "give a folder written by save()"))
    with whole(path, method):
        with (path / SETTINGS).open("rb") as file:
            text = file.read(LIMIT + 1)
        if len(text) > LIMIT:
            raise ValueError(f"{SETTINGS} is larger than {LIMIT >> 20} MiB")
        about = json.loads(text)
        found, _ = about["method"], about["settings"]
        if not str(found).isidentifier() or len(found) > 40:
            raise ValueError("its method has no name")
        if found != method:
            raise WeightsError(explain(shown(path), f"holds a {found} model, not {method}",
                                       f"load it with METHODS[{found!r}]"))
        if "checksum" not in about:
            raise WeightsError(explain(shown(path), "was saved by an older mmadlib", AGAIN))
        data = (path / TENSORS).read_bytes()  # once: a file that is mapped into memory may change under the model
        same = hashlib.sha256(data).hexdigest() == about["tensors"]
        if not same or about.pop("checksum") != _checksum(about):
            raise WeightsError(explain(shown(path), "was altered or cut short, or its two files are of two models", AGAIN))
        state = from_bytes(data)
        if odd := odd_tensor(state):
            raise ValueError(odd)
        if (version := about["mmadlib"]) != __version__:
            warnings.warn(f"{shown(path)}: was saved by mmadlib {str(version)[:20]}, this is {__version__}, whose scores "
                          f"may differ; {AGAIN} to be sure", stacklevel=3)
    return about, state


@contextmanager
def whole(path: str | Path, method: str) -> Iterator[None]:
    """WeightsError in place of whatever a file with something else in it leads to."""
    path = shown(here(path))
    try:
        yield
    except OSError as err:
        raise WeightsError(explain(path, f"cannot be read ({err.strerror or err})", "correct its permissions")) from None
    except FAULTS as err:
        said = isinstance(err, SettingsError) or type(err) is ValueError  # those of this library are a line
        reason = str(err) if said and len(str(err)) < 300 and str(err).isprintable() else type(err).__name__
        raise WeightsError(explain(path, f"holds no whole {method} model ({reason})", AGAIN)) from None


def odd_tensor(tensors: dict[str, torch.Tensor]) -> str:
    """The first tensor that holds NaN, or infinity where it is more than one number, which may be a threshold; "" for none."""
    for name, tensor in sorted(tensors.items()):
        if tensor.isnan().any() or (tensor.ndim and tensor.isinf().any()):
            return f"NaN or infinity in tensor {name}"
    return ""


def _checksum(about: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()
