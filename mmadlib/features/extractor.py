"""Extractor: from a stored Sample to Features, with the settings that define them and a key that names them."""

from __future__ import annotations

import ast
import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path

from mmadlib.errors import DataError, MissingModality, SettingsError, explain, unknown
from mmadlib.features.field import Features
from mmadlib.features.options import Options, check_options, settings_of
from mmadlib.features.tokens import Groups, Patches, Tokens, Truth, compose, nothing
from mmadlib.loading import Grid, to_grid
from mmadlib.preprocess import isolate_object
from mmadlib.sample import Sample

FAMILIES = {  # name -> (RGB, 3D)
    "descriptors": ("descriptors", "descriptors"),
    "paper": ("dino_vitb8", "point_mae"),
    "random": ("random", "random"),
}
ON_A_TABLE = ("rendered", "mvtec3d")  # a table has to go, unless the reader saw that it is gone already
FEWEST = 16  # valid points of a sample, its background removed, below which it has no 3D to speak of
DESCRIPTOR_CODE = ("features/*descriptors.py", "features/windows.py", "features/fpfh.py")
LIBRARY = Path(__file__).resolve().parent.parent


def family(name: str) -> tuple[str, str]:
    """RGB and 3D feature names of a family, or of "rgb+xyz" names such as dino_vitb8+descriptors."""
    rgb, plus, xyz = str(name).partition("+")
    if rgb in FAMILIES and not plus:
        return FAMILIES[rgb]
    if not plus:
        raise unknown("features", name, [*FAMILIES, "<rgb>+<xyz>"])
    return rgb, xyz


@dataclass(frozen=True)
class FrontEnd:
    """One modality: a function of the working grid, and what names its results besides the options."""

    run: Callable[[Grid], Patches | Groups]
    key: str


@lru_cache
def source_digest(*patterns: str, without: str = "") -> str:
    """Hash of the library's own code in these files, comments and layout aside: results made by other code are others."""
    files = sorted({path for pattern in patterns for path in LIBRARY.glob(pattern)} - set(LIBRARY.glob(without or "-")))
    trees = "".join(ast.dump(ast.parse(path.read_text())) for path in files)
    return hashlib.blake2b(trees.encode(), digest_size=8).hexdigest()


def _descriptors(side: str) -> FrontEnd:
    from mmadlib.features import descriptors as d

    function = {"rgb": d.rgb_descriptors, "xyz": d.xyz_descriptors}[side]
    return FrontEnd(lambda grid: Patches(function(grid), d.token_mask(grid)), source_digest(*DESCRIPTOR_CODE))


def _random(side: str, seed: int) -> FrontEnd:
    from mmadlib.features.descriptors import token_mask
    from mmadlib.features.random_conv import random_rgb, random_xyz

    function = {"rgb": random_rgb, "xyz": random_xyz}[side]
    return FrontEnd(lambda grid: Patches(function(grid, seed=seed), token_mask(grid)),
                    source_digest("features/random_conv.py", *DESCRIPTOR_CODE))


def _dino(name: str, o: Options) -> FrontEnd:
    from mmadlib.features.dino import Dino

    run = Dino(name, o.rgb_blocks, o.size, o.rgb_weights, o.rgb_sha256, o.device, o.seed)
    return FrontEnd(run, run.key + source_digest("features/dino.py"))


def _point_mae(o: Options) -> FrontEnd:
    from mmadlib.features.point_mae import PointMAE

    run = PointMAE(o.xyz_blocks, o.backbone_mode, o.xyz_weights, o.xyz_sha256, o.groups, o.group_size, o.fps_start,
                   o.fps_near_origin, o.device, o.seed)
    return FrontEnd(run, run.key + source_digest("features/point_mae.py", "features/grouping.py"))


def front_end(side: str, name: str, options: Options) -> FrontEnd:
    """The front end called `name`; UnknownName when there is none."""
    name = str(name)
    if name == "none":
        return FrontEnd(lambda grid: nothing(), name)
    if name == "descriptors":
        return _descriptors(side)
    if name == "random":
        return _random(side, options.seed)
    if side == "rgb":
        return _dino(name, options)
    if name == "point_mae":
        return _point_mae(options)
    raise unknown("3D feature", name, ["descriptors", "random", "point_mae", "none"])


class Extractor:
    """Sample -> Features. Holds the loaded backbones; `settings` lists what defines the features, `key` is their hash.

    rgb: descriptors | random | dino_vitb8 | dinov2_vitb14 | any timm ViT | none; xyz: descriptors | random | point_mae |
    none; options: see Options. The front end of a modality that the sample lacks is not run: its features have width 0 and
    meta["missing"] names it, as with "none", which needs no weights. Raises UnknownName, SettingsError, WeightsError when
    made, DataError or PreprocessError on a bad sample, MissingModality when nothing is left of one.
    """

    def __init__(self, rgb: str = "descriptors", xyz: str = "descriptors", size: int = 224, **options) -> None:
        self.options = check_options({"size": size, **options})
        if rgb == xyz == "none":
            raise SettingsError("features none+none: at least one modality is needed")
        self.names = {"rgb": rgb, "xyz": xyz}
        self.front = {side: front_end(side, name, self.options) for side, name in self.names.items()}
        self.family = next((f for f, names in FAMILIES.items() if names == (rgb, xyz)), _family_of(rgb, xyz))
        self.settings = settings_of(rgb, xyz, self.options)
        code = source_digest("loading.py", "preprocess*.py", "clustering.py", "features/extractor.py", "features/tokens.py")
        named = json.dumps([self.settings, *(front.key for front in self.front.values()), code], sort_keys=True)
        self.key = hashlib.blake2b(named.encode(), digest_size=16).hexdigest()

    def tokens(self, sample: Sample) -> Tokens:
        """What the cache keeps of a sample."""
        o = self.options
        missing = {sample.missing, *(side for side, name in self.names.items() if name == "none")} - {""}
        if len(missing) == 2:
            raise MissingModality(explain(sample.path or "sample", f"has no {sample.missing}, and these features use nothing "
                                          "else", "choose features of the other modality"))
        if self._on_table(sample):
            sample = isolate_object(sample)
        if o.rgb_masked:
            sample = sample.with_(rgb=sample.rgb * sample.valid[..., None])
        grid = to_grid(sample, o.size, o.pad)
        points, left = sample.valid.sum(), grid.valid.sum()
        if points < FEWEST or left < 2:  # one point has no spread to normalise by
            fault = f"has only {points} valid points, {left} of them on a grid of {o.size} px"
            raise DataError(explain(sample.path or "sample", fault, "check the cloud, or leave the sample out"))
        meta = {"family": self.family, **self.names, "size": o.size, "dataset": sample.dataset, "category": sample.category}
        for side in missing:
            meta |= {side: "none", "missing": side}
        found = [nothing() if side in missing else self.front[side].run(grid) for side in ("rgb", "xyz")]
        truth = Truth(grid.mask, sample.label, sample.defect, sample.modality, sample.path)
        cloud = grid.xyz * grid.valid[..., None]
        return Tokens(*found, cloud, grid.valid, truth, meta)

    def _on_table(self, sample: Sample) -> bool:
        """Whether table and clutter have to be removed from the cloud first."""
        wanted = sample.dataset in ON_A_TABLE if self.options.isolate is None else self.options.isolate
        return wanted and not sample.isolated and sample.missing != "xyz"

    def __call__(self, sample: Sample) -> Features:
        return compose(self.tokens(sample))


def _family_of(rgb: str, xyz: str) -> str:
    """Family of a pair without a name: methods standardise everything that is not purely from backbones."""
    return "mixed" if {rgb, xyz} & {"descriptors", "random"} else "paper"


@lru_cache(maxsize=2)
def _extractor(rgb: str, xyz: str, options: Options) -> Extractor:
    return Extractor(rgb, xyz, **asdict(options))


def extract(sample: Sample, rgb: str = "descriptors", xyz: str = "descriptors", size: int = 224, **options) -> Features:
    """Features of one sample; see Extractor. The last two extractors are kept, so that backbones are loaded once."""
    return _extractor(rgb, xyz, check_options({"size": size, **options}))(sample)
