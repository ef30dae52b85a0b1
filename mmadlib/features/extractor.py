"""Extractor: from a stored Sample to Features, with the settings that define them and a key that names them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from mmadlib.checks import one_of
from mmadlib.digest import digest_of
from mmadlib.errors import MissingModality, SettingsError, WeightsError, explain, unknown
from mmadlib.features.extraction import SIDES, account, difference
from mmadlib.features.field import Features
from mmadlib.features.front_ends import front_end
from mmadlib.features.given import Given, given
from mmadlib.features.options import Options, check_options, settings_of
from mmadlib.features.tokens import Groups, Patches, Tokens, Truth, compose, nothing
from mmadlib.features.weights import RANDOM
from mmadlib.paths import here
from mmadlib.pinned import state
from mmadlib.sample import Sample

if TYPE_CHECKING:
    from mmadlib.features.cnn import Cnn
    from mmadlib.features.dino import Dino

FAMILIES = {  # name -> (RGB, 3D)
    "learned": ("efficientnet_lite0", "normals_efficientnet_lite0"),
    "descriptors": ("descriptors", "descriptors"),
    "paper": ("dino_vitb8", "point_mae"),
    "random": ("random", "random"),
}
PLACES = ("device", "rgb_weights", "rgb_sha256", "xyz_weights", "xyz_sha256")  # options that say where, not what


def family(name: str) -> tuple[str, str]:
    """RGB and 3D feature names of a family, or of "rgb+xyz" names such as dino_vitb8+descriptors."""
    rgb, plus, xyz = str(name).partition("+")
    if rgb in FAMILIES and not plus:
        return FAMILIES[rgb]
    if not plus:
        raise unknown("features", name, [*FAMILIES, "<rgb>+<xyz>"])
    return rgb, xyz


class Extractor:
    """Sample -> Features. Holds the loaded backbones; `settings` lists what defines the features, `key` is the hash of these,
    of weights, code and what is pinned, and `account` is what their meta["extraction"] says.

    rgb: efficientnet_lite0 | descriptors | random | dino_vitb8 | dinov2_vitb14 | any ViT or CNN of timm | none; xyz:
    normals_efficientnet_lite0, or normals_ before any other network | descriptors | random | point_mae | none; options: see
    Options. A network that both sides name is loaded once. The front end of a modality that the sample lacks is not run: its
    features have width 0 and meta["missing"] names it, as with "none", which needs no weights. Raises UnknownName,
    SettingsError, WeightsError when made, DataError or PreprocessError on a bad sample, MissingModality when nothing is left
    of one.
    """

    def __init__(self, rgb: str = "efficientnet_lite0", xyz: str = "normals_efficientnet_lite0", size: int = 224,
                 **options: Any) -> None:
        self.options = check_options({"size": size, **options})
        if rgb == xyz == "none":
            raise SettingsError("features none+none: at least one modality is needed")
        self.names = {"rgb": rgb, "xyz": xyz}
        loaded: dict[str, Dino | Cnn] = {}
        self.front = {side: front_end(side, name, self.options, loaded) for side, name in self.names.items()}
        learned = any(front.standardise for front in self.front.values())
        self.family = next((f for f, names in FAMILIES.items() if names == (rgb, xyz)), _family_of(rgb, xyz, learned))
        self.settings = settings_of(rgb, xyz, self.options)
        code = digest_of(*(f"prepare/{name}.py" for name in ("grid", "isolate", "constants", "plane", "clustering")),
                         *(f"features/{name}.py" for name in ("extractor", "front_ends", "given", "tokens")))
        self.account = account(self.front, self.names, self.options, code)
        named = json.dumps([self.settings, *(front.key for front in self.front.values()), code, state()], sort_keys=True)
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
        return self.tokens_of([sample])[0]

    def tokens_of(self, samples: Sequence[Sample]) -> list[Tokens]:
        """What the cache keeps of several samples, which go through a network together where it gains from that."""
        lacking = [self._missing(sample) for sample in samples]
        pairs = [given(sample, self.options, "xyz" in missing) for sample, missing in zip(samples, lacking, strict=True)]
        parts: dict[str, list[Patches | Groups]] = {}
        for side, front in self.front.items():
            there = iter(front.run([pair for pair, missing in zip(pairs, lacking, strict=True) if side not in missing]))
            parts[side] = [nothing() if side in missing else next(there) for missing in lacking]
        return [self._tokens(*found) for found in zip(pairs, lacking, parts["rgb"], parts["xyz"], strict=True)]

    def _missing(self, sample: Sample) -> set[str]:
        """Modalities that the sample lacks or that no front end looks at; one is left, else MissingModality."""
        missing = {sample.missing, *(side for side, name in self.names.items() if name == "none")} - {""}
        if len(missing) == 2:
            raise MissingModality(explain(sample.path or "sample", f"has no {sample.missing}, and these features use nothing "
                                          "else", "choose features of the other modality"))
        return missing

    def _tokens(self, pair: Given, missing: set[str], rgb: Patches | Groups, xyz: Patches | Groups) -> Tokens:
        sample, grid = pair
        meta = {"family": self.family, **self.names, "size": grid.size, "dataset": sample.dataset,
                "category": sample.category, "standardise": [side for side, front in self.front.items() if front.standardise],
                "extraction": self.account | {"isolate": None if sample.missing == "xyz" else sample.isolated}}
        for side in missing:
            meta |= {side: "none", "missing": side}
        truth = Truth(grid.mask, sample.label, sample.defect, sample.modality, sample.path, grid.vanished)
        return Tokens(rgb, xyz, grid.xyz * grid.valid[..., None], grid.valid, truth, meta)

    def __call__(self, sample: Sample) -> Features:
        return compose(self.tokens(sample))


def _family_of(rgb: str, xyz: str, learned: bool) -> str:
    """Family of a pair without a name; learned: a convolutional network is among them, if it is not mixed."""
    return "mixed" if {rgb, xyz} & {"descriptors", "random"} else "learned" if learned else "paper"


@lru_cache(maxsize=2)
def _extractor(rgb: str, xyz: str, options: Options) -> Extractor:
    return Extractor(rgb, xyz, **asdict(options))


def extract(sample: Sample, rgb: str = "efficientnet_lite0", xyz: str = "normals_efficientnet_lite0", size: int = 224,
            **options: Any) -> Features:
    """Features of one sample by any pair of front ends; see Extractor for their names, Options for the options.

    The last two extractors are kept, so that backbones are loaded once.
    """
    return _extractor(rgb, xyz, check_options({"size": size, **options}))(sample)
