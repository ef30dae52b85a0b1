"""Sensor faults with a strength: noise on depth, missing returns, weak texture, a missing modality.

    test = corrupt(load("rendered", "keyed", "test"), "depth_noise", 0.001, seed=0)

A fault, CORRUPTIONS[name](sample, strength, seed) -> Sample, changes one modality, never in place, and never the ground
truth. Strength 0 gives the sample itself, and with one seed a stronger fault contains the weaker one. Faults of depth act on
the object: a sample that stands on a table loses the table first, so that they disturb features rather than preprocessing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from zlib import crc32

import numpy as np
from scipy.ndimage import gaussian_filter

from mmadlib.checks import check_seed, one_of
from mmadlib.data.files import Entry, Samples
from mmadlib.digest import digest_of
from mmadlib.errors import MissingModality, SettingsError, explain
from mmadlib.prepare.isolate import isolate_object, on_a_table
from mmadlib.sample import Sample

BLOB = 0.04  # radius of a hole's grain as a share of the object's extent, the root of its area in pixels
MASKS = ("object", "frame")


def on_object(sample: Sample) -> Sample:
    """The sample without the table that it stands on, as the default of feature extraction has it."""
    return isolate_object(sample) if on_a_table(sample) else sample


def depth_noise(sample: Sample, strength: float, seed: int = 0) -> Sample:
    """Every valid point moves along its viewing ray by normal noise of `strength` metres (in the unit of the cloud)."""
    sample = on_object(sample)
    distance = np.linalg.norm(sample.xyz, axis=-1)
    shift = strength * np.random.default_rng(seed).standard_normal(sample.size)
    factor = np.where(sample.valid, 1 + shift / np.maximum(distance, 1e-9), 1)
    return sample.with_(xyz=(sample.xyz * factor[..., None]).astype(np.float32))


def depth_holes(sample: Sample, strength: float, seed: int = 0) -> Sample:
    """A share `strength` of the object's points does not return: blobs of them become (0, 0, 0) and invalid."""
    sample = on_object(sample)
    count = np.count_nonzero(sample.valid)
    field = gaussian_filter(np.random.default_rng(seed).standard_normal(sample.size), BLOB * np.sqrt(count))
    lost = np.zeros(sample.size, bool)
    inside = np.flatnonzero(sample.valid)
    lost.flat[inside[np.argsort(-field.flat[inside], kind="stable")[:round(strength * count)]]] = True
    return sample.with_(xyz=np.where(lost[..., None], np.float32(0), sample.xyz), valid=sample.valid & ~lost)


def low_contrast(sample: Sample, strength: float, seed: int = 0) -> Sample:
    """The picture loses a share `strength` of its contrast about the object's mean colour; the seed plays no part."""
    seen = on_object(sample).valid
    centre = sample.rgb[seen].mean(0) if seen.any() else sample.rgb.mean((0, 1))
    return sample.with_(rgb=np.rint(sample.rgb + strength * (centre - sample.rgb)).astype(np.uint8))


def without_rgb(sample: Sample, strength: float = 1, seed: int = 0) -> Sample:
    """No colour: black, and missing="rgb". Raises MissingModality when there is no 3D either."""
    _check_rest(sample, "xyz")
    return sample.with_(rgb=np.zeros_like(sample.rgb), missing="rgb")


def without_xyz(sample: Sample, strength: float = 1, seed: int = 0, mask: str = "object") -> Sample:
    """No 3D: all points (0, 0, 0), and missing="xyz". `valid` then says which pixels are looked at:

    mask  object: its silhouette, as if known from elsewhere (a fixture, a segmentation) | frame: the whole picture, table
          included, since nothing tells them apart without the cloud

    Raises MissingModality when there is no colour either.
    """
    _check_rest(sample, "rgb")
    one_of("mask", mask, MASKS)
    valid = on_object(sample).valid if mask == "object" else np.ones(sample.size, bool)
    return sample.with_(xyz=np.zeros_like(sample.xyz), valid=valid, isolated=True, missing="xyz")


def _check_rest(sample: Sample, side: str) -> None:
    if sample.missing == side:
        raise MissingModality(explain(sample.path or "sample", f"has no {side} and would be empty", "take another fault"))


@dataclass(frozen=True)
class Corruption:
    """A fault with the modality that it touches, what its strength means, strengths worth a table, and the largest."""

    run: Callable[..., Sample]
    modality: str
    unit: str
    levels: tuple[float, ...]
    most: float = 1.0

    def __call__(self, sample: Sample, strength: float, seed: int = 0) -> Sample:
        """The sample with the fault; the sample itself where the modality is missing anyway. Raises SettingsError."""
        self.check(strength)
        return sample if strength == 0 or sample.missing == self.modality else self.run(sample, strength, seed)

    def check(self, strength: float) -> None:
        """SettingsError unless `strength` is possible."""
        switch = self.levels == (1.0,)
        if not 0 <= strength <= self.most or not np.isfinite(strength) or (switch and strength not in (0, 1)):
            limits = "0 or 1" if switch else f"finite and from 0 to {self.most:g}"
            raise SettingsError(f"corruption strength={strength!r}: must be {limits} ({self.unit})")


CORRUPTIONS: dict[str, Corruption] = {
    "depth_noise": Corruption(depth_noise, "xyz", "m, standard deviation along the ray", (1e-4, 2e-4, 5e-4, 1e-3), np.inf),
    "depth_holes": Corruption(depth_holes, "xyz", "share of the object's points", (0.05, 0.1, 0.2, 0.4)),
    "low_contrast": Corruption(low_contrast, "rgb", "share of the contrast lost", (0.25, 0.5, 0.75, 0.9)),
    "without_rgb": Corruption(without_rgb, "rgb", "1: no colour", (1.0,)),
    "without_xyz": Corruption(without_xyz, "xyz", "1: no 3D, the silhouette is known", (1.0,)),
    "without_xyz_and_mask": Corruption(partial(without_xyz, mask="frame"), "xyz", "1: no 3D and no silhouette", (1.0,)),
}


def corrupt(samples: Samples, name: str, strength: float, seed: int = 0) -> Samples:
    """The samples with a fault, read and corrupted when taken; several faults add up.

    The noise of a sample depends on `seed` and on its file's name, not on its place in the list. Entries say what was done
    in extra["corruptions"], by which the feature cache tells them from clean ones. Strength 0 gives `samples` themselves.
    Raises UnknownName for the name, SettingsError for strength or seed.
    """
    one_of("corruption", name, CORRUPTIONS)
    fault, seed = CORRUPTIONS[name], check_seed(seed)
    fault.check(strength)
    if strength == 0:
        return samples
    done = (name, float(strength), seed, digest_of("prepare/corruptions.py"))

    def read(entry: Entry) -> Sample:
        return fault(samples.read(entry), strength, sample_seed(entry, seed))

    return Samples([replace(e, extra=e.extra | {"corruptions": (*e.extra.get("corruptions", ()), done)})
                    for e in samples.entries], read)


def sample_seed(entry: Entry, seed: int) -> int:
    """A seed of its own for every sample."""
    place = "/".join((entry.category, entry.split, entry.defect, entry.rgb.stem))
    return int(np.random.SeedSequence([seed, crc32(place.encode())]).generate_state(1)[0])
