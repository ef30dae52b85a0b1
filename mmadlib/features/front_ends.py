"""Front ends: what turns one modality of a sample into tokens, found by name, with a key that names its results."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import UInt8

from mmadlib.data.contents import CONTENTS
from mmadlib.digest import digest_of
from mmadlib.errors import UnknownName, unknown
from mmadlib.features.descriptors.mask import token_mask
from mmadlib.features.given import Given
from mmadlib.features.grouping import RANDOM_START
from mmadlib.features.normals import normal_picture
from mmadlib.features.options import Options
from mmadlib.features.tokens import Groups, Patches, nothing
from mmadlib.features.weights import RANDOM

if TYPE_CHECKING:
    from mmadlib.features.cnn import Cnn
    from mmadlib.features.dino import Dino
    from mmadlib.prepare.grid import Grid

NORMALS = "normals_"  # and the name of a network
XYZ_NAMES = ("descriptors", "random", "point_mae", "normals_efficientnet_lite0", "normals_dinov2_vitb14",
             "normals_<any ViT or CNN of timm>", "none")
VIT_OPTIONS = ("rgb_blocks", "rgb_layers")
CNN_OPTIONS = ("levels", "enlarge")
POINT_OPTIONS = ("xyz_blocks", "backbone_mode", "groups", "group_size", "fps_start", "fps_near_origin")
DESCRIPTOR_CODE = tuple(f"features/descriptors/{name}.py" for name in ("rgb", "xyz", "mask", "windows", "fpfh"))
NETWORK_CODE = ("features/networks.py", "features/efficientnet.py")


@dataclass(frozen=True)
class FrontEnd:
    """One modality: a function of prepared samples, and what names its results: digests of code and weights, options."""

    run: Callable[[Sequence[Given]], Sequence[Patches | Groups]]
    code: str
    weights: str = ""  # of the blocks in use; empty where there are none
    options: tuple[str, ...] = ()  # that it looks at, besides those of the grid and of its weights
    standardise: bool = False  # raw values differ in scale from channel to channel: methods have to bring them to one

    @property
    def key(self) -> str:
        """What names the results, given all options."""
        return self.weights + self.code


def _each(function: Callable[[Grid], Patches | Groups]) -> Callable[[Sequence[Given]], list[Patches | Groups]]:
    return lambda pairs: [function(pair.grid) for pair in pairs]


def _descriptors(side: str) -> FrontEnd:
    from mmadlib.features import descriptors as d

    function = {"rgb": d.rgb_descriptors, "xyz": d.xyz_descriptors}[side]
    return FrontEnd(_each(lambda grid: Patches(function(grid), d.token_mask(grid))), digest_of(*DESCRIPTOR_CODE),
                    standardise=True)


def _random(side: str, seed: int) -> FrontEnd:
    from mmadlib.features.descriptors import token_mask
    from mmadlib.features.descriptors.random_conv import random_rgb, random_xyz

    function = {"rgb": random_rgb, "xyz": random_xyz}[side]
    return FrontEnd(_each(lambda grid: Patches(function(grid, seed=seed), token_mask(grid))),
                    digest_of("features/descriptors/random_conv.py", *DESCRIPTOR_CODE), options=("seed",), standardise=True)


def _network(side: str, name: str, o: Options, loaded: dict[str, Dino | Cnn]) -> FrontEnd:
    """A network on the picture, or on that of the normals; from `loaded` where it is there: a pair of sides holds one."""
    from mmadlib.features.cnn import Cnn
    from mmadlib.features.dino import Dino
    from mmadlib.features.networks import is_vit

    network = name.removeprefix(NORMALS) if side == "xyz" else name
    own = ("rgb_masked",) if side == "rgb" else ("normals",)
    code = (*NETWORK_CODE, *(["features/normals.py"] if side == "xyz" else []))

    def picture(pair: Given) -> UInt8[np.ndarray, "S S 3"]:
        return pair.grid.rgb if side == "rgb" else normal_picture(pair.sample, o.size, o.pad, o.normals)

    if network not in loaded:
        where = (o.rgb_weights, o.rgb_sha256, o.device, o.seed)
        loaded[network] = (Dino(network, o.rgb_blocks, o.size, *where, o.rgb_layers) if is_vit(network) else
                           Cnn(network, o.levels, o.enlarge, o.size, *where))
    encoder = loaded[network]
    if isinstance(encoder, Dino):
        return FrontEnd(lambda pairs: [encoder.encode(picture(pair)) for pair in pairs],
                        digest_of("features/dino.py", *code), encoder.key, (*own, *VIT_OPTIONS))

    def run(pairs: Sequence[Given]) -> list[Patches]:
        tokens = encoder.encode([picture(pair) for pair in pairs])
        return [Patches(found, token_mask(pair.grid, encoder.raster)) for found, pair in zip(tokens, pairs, strict=True)]

    return FrontEnd(run, digest_of("features/cnn.py", "features/descriptors/mask.py", *code), encoder.key,
                    (*own, *CNN_OPTIONS), standardise=True)


def _point_mae(o: Options) -> FrontEnd:
    from mmadlib.features.point_mae import PointMAE

    run = PointMAE(o.xyz_blocks, o.backbone_mode, o.xyz_weights, o.xyz_sha256, o.groups, o.group_size, o.fps_start,
                   o.fps_near_origin, o.device, o.seed)
    chance = ("seed",) if run.dice or o.fps_start == RANDOM_START else ()  # weights have their own digest
    return FrontEnd(_each(run), digest_of("features/point_mae.py", "features/grouping.py"), run.key, POINT_OPTIONS + chance)


def front_end(side: str, name: str, options: Options, loaded: dict[str, Dino | Cnn]) -> FrontEnd:
    """The front end called `name`, with a network of `loaded` if that is there; UnknownName when there is none."""
    name = str(name)
    if name == "none":
        return FrontEnd(_each(lambda grid: nothing()), name)
    if name == "descriptors":
        return _descriptors(side)
    if name == "random":
        return _random(side, options.seed)
    if side == "rgb":
        return _network(side, name, options, loaded)
    if name == "point_mae":
        return _point_mae(options)
    if not name.startswith(NORMALS):
        raise unknown("3D feature", name, XYZ_NAMES)
    try:
        return _network(side, name, options, loaded)
    except UnknownName:
        raise unknown("3D feature", name, XYZ_NAMES) from None


def weights_of(rgb: str, xyz: str, options: Options) -> dict[str, str]:
    """side -> digest of the file of its pretrained weights, without loading them; sides without such weights are left out.

    Weights that have yet to be downloaded are named by their model. Raises UnknownName, SettingsError, WeightsError.
    """
    from mmadlib.features import networks, point_mae

    found: dict[str, str] = {}
    for side, name in (("rgb", rgb), ("xyz", xyz)):
        if name in ("none", "descriptors", "random"):
            continue
        network = name.removeprefix(NORMALS) if side == "xyz" else name
        weights = options.xyz_weights if name == "point_mae" else options.rgb_weights
        file = point_mae.weights_file(weights) if name == "point_mae" else networks.weights_file(network, weights)
        if weights != RANDOM:
            found[side] = CONTENTS.digest(file) if file else f"timm {network}"
    return found
