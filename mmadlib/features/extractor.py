"""Extractor: from a stored Sample to Features, with the settings that define them and a key that names them."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float32

from mmadlib.checks import one_of
from mmadlib.digest import digest_of
from mmadlib.errors import DataError, MissingModality, SettingsError, WeightsError, explain, unknown
from mmadlib.features.extraction import SIDES, account, difference
from mmadlib.features.field import Features
from mmadlib.features.front_ends import front_end
from mmadlib.features.options import Options, check_options, settings_of
from mmadlib.features.tokens import Tokens, Truth, compose, nothing
from mmadlib.features.weights import RANDOM
from mmadlib.paths import here
from mmadlib.prepare.grid import to_grid
from mmadlib.prepare.isolate import isolate_object, on_a_table
from mmadlib.sample import Sample

if TYPE_CHECKING:
    from mmadlib.features.dino import Dino

FAMILIES = {  # name -> (RGB, 3D)
    "descriptors": ("descriptors", "descriptors"),
    "paper": ("dino_vitb8", "point_mae"),
    "random": ("random", "random"),
}
PLACES = ("device", "rgb_weights", "rgb_sha256", "xyz_weights", "xyz_sha256")  # options that say where, not what
FEWEST = 16  # valid points of a sample, its background removed, below which it has no 3D to speak of
LEAST = 1e-4, 1e-6  # width of a cloud relative to its length, length relative to its distance: float32 keeps 6e-8
LOOK = "check the cloud, or leave the sample out"


def family(name: str) -> tuple[str, str]:
    """RGB and 3D feature names of a family, or of "rgb+xyz" names such as dino_vitb8+descriptors."""
    rgb, plus, xyz = str(name).partition("+")
    if rgb in FAMILIES and not plus:
        return FAMILIES[rgb]
    if not plus:
        raise unknown("features", name, [*FAMILIES, "<rgb>+<xyz>"])
    return rgb, xyz


class Extractor:
    """Sample -> Features. Holds the loaded backbones; `settings` lists what defines the features, `key` is their hash, and
    `account` is what their meta["extraction"] says.

    rgb: descriptors | random | dino_vitb8 | dinov2_vitb14 | any timm ViT | none; xyz: descriptors | random | point_mae |
    normals_dinov2_vitb14, or normals_ before any other ViT | none; options: see Options. A ViT that both sides name is
    loaded once. The front end of a modality that the sample lacks is not run: its features have width 0 and meta["missing"]
    names it, as with "none", which needs no weights. Raises UnknownName, SettingsError, WeightsError when made, DataError or
    PreprocessError on a bad sample, MissingModality when nothing is left of one.
    """

    def __init__(self, rgb: str = "descriptors", xyz: str = "descriptors", size: int = 224, **options: Any) -> None:
        self.options = check_options({"size": size, **options})
        if rgb == xyz == "none":
            raise SettingsError("features none+none: at least one modality is needed")
        self.names = {"rgb": rgb, "xyz": xyz}
        loaded: dict[str, Dino] = {}
        self.front = {side: front_end(side, name, self.options, loaded) for side, name in self.names.items()}
        self.family = next((f for f, names in FAMILIES.items() if names == (rgb, xyz)), _family_of(rgb, xyz))
        self.settings = settings_of(rgb, xyz, self.options)
        code = digest_of(*(f"prepare/{name}.py" for name in ("grid", "isolate", "constants", "plane", "clustering")),
                         *(f"features/{name}.py" for name in ("extractor", "front_ends", "tokens")))
        self.account = account(self.front, self.names, self.options, code)
        named = json.dumps([self.settings, *(front.key for front in self.front.values()), code], sort_keys=True)
        self.key = hashlib.blake2b(named.encode(), digest_size=16).hexdigest()

    @classmethod
    def like(cls, made: dict[str, Any], **places: Any) -> Extractor:
        """The extractor whose features have the account `made` (Features.extraction).

        places: the device, and where weights lie if not at the place in the account: PLACES. The background is removed from
        every sample that has one if it was gone there. Raises WeightsError when the weights are not there or are not the same,
        SettingsError when this version of mmadlib makes other features, and as for a new one.
        """
        for name in places:
            one_of("option of where things lie", name, PLACES)
        isolate = {} if made["isolate"] is None else {"isolate": made["isolate"]}
        settings = made["settings"] | isolate | places
        digests = {side: made[side][f"{side} weights"] for side in SIDES if made[side][f"{side} weights"]}
        option = {side: "xyz_weights" if made[side][side] == "point_mae" else "rgb_weights" for side in digests}
        for name in option.values():
            if settings[name] not in (None, RANDOM) and not here(settings[name]).is_file():
                raise WeightsError(explain(settings[name], "the weights that the features were made with are not there",
                                           f"say where they are: extractor({name}=...)"))
        extractor = cls(**settings)
        for side, wanted in digests.items():
            if (digest := extractor.front[side].weights) != wanted:
                fault = f"the features were made with {side} weights of digest {wanted}, those found here have {digest}"
                raise WeightsError(explain(settings[option[side]] or made[side][side], fault,
                                           f"give the file with the same weights: extractor({option[side]}=...)"))
        if found := difference(made, extractor.account):
            raise SettingsError(f"features were made with {found[0]}, this version of mmadlib has {found[1]}; "
                                "use the version of then, or fit on features of this one")
        return extractor

    def tokens(self, sample: Sample) -> Tokens:
        """What the cache keeps of a sample."""
        o = self.options
        missing = {sample.missing, *(side for side, name in self.names.items() if name == "none")} - {""}
        if len(missing) == 2:
            raise MissingModality(explain(sample.path or "sample", f"has no {sample.missing}, and these features use nothing "
                                          "else", "choose features of the other modality"))
        given = sample
        if self._on_table(sample):
            sample = isolate_object(sample)
        if o.rgb_masked:  # what was removed elsewhere cannot be told from what never returned
            coloured = sample.valid if sample is given else sample.valid | ~given.valid
            sample = sample.with_(rgb=sample.rgb * coloured[..., None])
        grid = to_grid(sample, o.size, o.pad)
        points, left = sample.valid.sum(), grid.valid.sum()
        if points < FEWEST or left < 2:  # one point has no spread to normalise by
            fault = f"has only {points} valid points, {left} of them on a grid of {o.size} px"
            raise DataError(explain(sample.path or "sample", fault, LOOK))
        if "xyz" not in missing and (fault := degenerate(grid.xyz[grid.valid])):
            raise DataError(explain(sample.path or "sample", fault, LOOK))
        meta = {"family": self.family, **self.names, "size": o.size, "dataset": sample.dataset, "category": sample.category}
        meta["extraction"] = self.account | {"isolate": None if sample.missing == "xyz" else sample.isolated}
        for side in missing:
            meta |= {side: "none", "missing": side}
        rgb, xyz = (nothing() if side in missing else front.run(sample if front.native else grid)
                    for side, front in self.front.items())
        truth = Truth(grid.mask, sample.label, sample.defect, sample.modality, sample.path)
        cloud = grid.xyz * grid.valid[..., None]
        return Tokens(rgb, xyz, cloud, grid.valid, truth, meta)

    def _on_table(self, sample: Sample) -> bool:
        """Whether table and clutter have to be removed from the cloud first."""
        wanted = self.options.isolate
        return on_a_table(sample) if wanted is None else wanted and not sample.isolated and sample.missing != "xyz"

    def __call__(self, sample: Sample) -> Features:
        return compose(self.tokens(sample))


def degenerate(points: Float32[np.ndarray, "N 3"]) -> str:
    """What is wrong with the shape of a cloud, N > 0; empty for one that spans a surface."""
    centre = points.mean(0, dtype=np.float64)
    _, width, length = np.sqrt(np.linalg.eigvalsh(np.cov(points.T.astype(np.float64), bias=True)).clip(0))
    if length <= LEAST[1] * np.linalg.norm(centre):
        return f"has its {len(points)} points all at one place"
    return f"has its {len(points)} points all on one line" if width <= LEAST[0] * length else ""


def _family_of(rgb: str, xyz: str) -> str:
    """Family of a pair without a name: methods standardise everything that is not purely from backbones."""
    return "mixed" if {rgb, xyz} & {"descriptors", "random"} else "paper"


@lru_cache(maxsize=2)
def _extractor(rgb: str, xyz: str, options: Options) -> Extractor:
    return Extractor(rgb, xyz, **asdict(options))


def extract(sample: Sample, rgb: str = "descriptors", xyz: str = "descriptors", size: int = 224,
            **options: Any) -> Features:
    """Features of one sample by any pair of front ends; see Extractor for their names, Options for the options.

    The last two extractors are kept, so that backbones are loaded once.
    """
    return _extractor(rgb, xyz, check_options({"size": size, **options}))(sample)
