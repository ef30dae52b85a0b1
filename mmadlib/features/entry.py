"""One cache entry: the tokens of a sample as the bytes of a safetensors file, with the key of what they are of.

Tokens are kept in half precision (descriptors and stages of a CNN, whose raw values differ widely in scale, in single), with
the three neighbours and weights of each valid point, the cloud's valid points and bit-packed masks: about 4 MB for the paper
features of 20,000 points.
"""

from __future__ import annotations

import hashlib
import json

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from mmadlib.features.tokens import Groups, Patches, Tokens, Truth
from mmadlib.sample import Sample

HALF_MAX = 60000.0  # beyond this a token does not fit half precision


class Corrupt(Exception):
    """A cache entry that cannot be trusted: truncated, altered, or not one of ours."""


def _checksum(arrays: dict[str, np.ndarray]) -> np.ndarray:
    total = hashlib.blake2b(digest_size=16)
    for name in sorted(arrays):
        total.update(name.encode() + str((arrays[name].dtype, arrays[name].shape)).encode())
        total.update(np.ascontiguousarray(arrays[name]).tobytes())
    return np.frombuffer(total.digest(), np.uint8)


def _half(tokens: np.ndarray, exact: bool) -> np.ndarray:
    return tokens if exact or not np.abs(tokens).max(initial=0) < HALF_MAX else tokens.astype(np.float16)


def encode(tokens: Tokens, key: str) -> bytes:
    """Tokens of a sample as the bytes of a safetensors file; `key` says of what sample and extractor they are."""
    arrays = {"valid": np.packbits(tokens.valid), "mask": np.packbits(tokens.truth.mask), "cloud": tokens.cloud[tokens.valid]}
    for side in ("rgb", "xyz"):
        part = getattr(tokens, side)
        arrays[f"{side}.tokens"] = _half(part.tokens, side in tokens.meta["standardise"] and tokens.meta[side] != "random")
        if isinstance(part, Groups):
            small = np.uint16 if len(part.tokens) <= 65536 else np.uint32
            arrays |= {f"{side}.index": part.index.astype(small), f"{side}.weight": part.weight.astype(np.float32)}
        elif part.valid is not None:
            arrays[f"{side}.valid"] = np.packbits(part.valid)
    truth = tokens.truth
    about = {"meta": tokens.meta, "label": truth.label, "defect": truth.defect, "modality": truth.modality,
             "vanished": truth.vanished, "shape": tokens.valid.shape, "key": key}
    arrays["about"] = np.frombuffer(json.dumps(about).encode(), np.uint8)
    arrays = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    return save(arrays | {"checksum": _checksum(arrays)})


def decode(data: bytes, key: str) -> Tokens:
    """The inverse of `encode`, up to half precision; the sample's path is not kept. Raises Corrupt, also for another key."""
    try:
        arrays = load(data)
        if not np.array_equal(arrays.pop("checksum"), _checksum(arrays)):
            raise Corrupt("its content was altered")
        about = json.loads(arrays["about"].tobytes())
        if about["key"] != key:
            raise Corrupt("it belongs to another sample or extractor")
        shape = tuple(about["shape"])
        bits = {name: np.unpackbits(arrays[name], count=shape[0] * shape[1]).view(bool).reshape(shape)
                for name in ("valid", "mask")}
        cloud = np.zeros((*shape, 3), np.float32)
        cloud[bits["valid"]] = arrays["cloud"]
        rgb, xyz = (_part(arrays, side) for side in ("rgb", "xyz"))
        truth = Truth(bits["mask"], about["label"], about["defect"], about["modality"], vanished=about["vanished"])
        return Tokens(rgb, xyz, cloud, bits["valid"], truth, about["meta"])
    except (SafetensorError, KeyError, ValueError) as err:
        raise Corrupt(f"it is no whole entry ({type(err).__name__})") from None


def _part(arrays: dict[str, np.ndarray], side: str) -> Patches | Groups:
    tokens = arrays[f"{side}.tokens"].astype(np.float32)
    if f"{side}.index" in arrays:
        return Groups(tokens, arrays[f"{side}.index"], arrays[f"{side}.weight"])
    bits = arrays.get(f"{side}.valid")
    return Patches(tokens, None if bits is None else np.unpackbits(bits, count=len(tokens)).view(bool))


def sample_key(sample: Sample) -> str:
    """Hash of what a sample in memory holds."""
    total = hashlib.blake2b(digest_size=16)
    total.update(repr((sample.dataset, sample.category, sample.label, sample.defect, sample.modality, sample.isolated,
                       sample.missing, sample.size)).encode())
    for array in (sample.rgb, sample.xyz, sample.valid, sample.mask):
        total.update(np.ascontiguousarray(array).tobytes())
    return total.hexdigest()
