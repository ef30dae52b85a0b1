"""Front ends: what turns one modality of a sample into tokens, found by name, with a key that names its results."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mmadlib.data.contents import CONTENTS
from mmadlib.digest import digest_of
from mmadlib.errors import UnknownName, unknown
from mmadlib.features.grouping import RANDOM_START
from mmadlib.features.options import Options
from mmadlib.features.tokens import Groups, Patches, nothing
from mmadlib.features.weights import RANDOM

if TYPE_CHECKING:
    from mmadlib.features.dino import Dino

NORMALS = "normals_"  # and the name of a ViT
XYZ_NAMES = ("descriptors", "random", "point_mae", "normals_dinov2_vitb14", "normals_<any timm ViT>", "none")
VIT_OPTIONS = ("rgb_blocks", "rgb_layers")
POINT_OPTIONS = ("xyz_blocks", "backbone_mode", "groups", "group_size", "fps_start", "fps_near_origin")
DESCRIPTOR_CODE = tuple(f"features/descriptors/{name}.py" for name in ("rgb", "xyz", "mask", "windows", "fpfh"))


@dataclass(frozen=True)
class FrontEnd:
    """One modality: a function of the working grid, and what names its results: digests of code and weights, options."""

    run: Callable[[Any], Patches | Groups]
    code: str
    weights: str = ""  # of the blocks in use; empty where there are none
    options: tuple[str, ...] = ()  # that it looks at, besides those of the grid and of its weights
    native: bool = False  # run takes the sample in its own size, its background removed, in place of the grid

    @property
    def key(self) -> str:
        """What names the results, given all options."""
        return self.weights + self.code


def _descriptors(side: str) -> FrontEnd:
    from mmadlib.features import descriptors as d

    function = {"rgb": d.rgb_descriptors, "xyz": d.xyz_descriptors}[side]
    return FrontEnd(lambda grid: Patches(function(grid), d.token_mask(grid)), digest_of(*DESCRIPTOR_CODE))


def _random(side: str, seed: int) -> FrontEnd:
    from mmadlib.features.descriptors import token_mask
    from mmadlib.features.descriptors.random_conv import random_rgb, random_xyz

    function = {"rgb": random_rgb, "xyz": random_xyz}[side]
    return FrontEnd(lambda grid: Patches(function(grid, seed=seed), token_mask(grid)),
                    digest_of("features/descriptors/random_conv.py", *DESCRIPTOR_CODE), options=("seed",))


def _encoder(name: str, o: Options, loaded: dict[str, Dino]) -> Dino:
    """The ViT `name`, from `loaded` where it is there: a pair of sides holds one."""
    from mmadlib.features.dino import Dino

    if name not in loaded:
        loaded[name] = Dino(name, o.rgb_blocks, o.size, o.rgb_weights, o.rgb_sha256, o.device, o.seed, o.rgb_layers)
    return loaded[name]


def _dino(name: str, o: Options, loaded: dict[str, Dino]) -> FrontEnd:
    run = _encoder(name, o, loaded)
    return FrontEnd(run, digest_of("features/dino.py"), run.key, ("rgb_masked", *VIT_OPTIONS))


def _normals(name: str, o: Options, loaded: dict[str, Dino]) -> FrontEnd:
    from mmadlib.features.normals import Normals

    try:
        encoder = _encoder(name.removeprefix(NORMALS), o, loaded)
    except UnknownName:
        raise unknown("3D feature", name, XYZ_NAMES) from None
    code = digest_of("features/dino.py", "features/normals.py")
    return FrontEnd(Normals(encoder, o.size, o.pad, o.normals), code, encoder.key, ("normals", *VIT_OPTIONS), native=True)


def _point_mae(o: Options) -> FrontEnd:
    from mmadlib.features.point_mae import PointMAE

    run = PointMAE(o.xyz_blocks, o.backbone_mode, o.xyz_weights, o.xyz_sha256, o.groups, o.group_size, o.fps_start,
                   o.fps_near_origin, o.device, o.seed)
    chance = ("seed",) if run.dice or o.fps_start == RANDOM_START else ()  # weights have their own digest
    return FrontEnd(run, digest_of("features/point_mae.py", "features/grouping.py"), run.key, POINT_OPTIONS + chance)


def front_end(side: str, name: str, options: Options, loaded: dict[str, Dino]) -> FrontEnd:
    """The front end called `name`, with a ViT of `loaded` if that is there; UnknownName when there is none."""
    name = str(name)
    if name == "none":
        return FrontEnd(lambda grid: nothing(), name)
    if name == "descriptors":
        return _descriptors(side)
    if name == "random":
        return _random(side, options.seed)
    if side == "rgb":
        return _dino(name, options, loaded)
    if name == "point_mae":
        return _point_mae(options)
    if name.startswith(NORMALS):
        return _normals(name, options, loaded)
    raise unknown("3D feature", name, XYZ_NAMES)


def weights_of(rgb: str, xyz: str, options: Options) -> dict[str, str]:
    """side -> digest of the file of its pretrained weights, without loading them; sides without such weights are left out.

    Weights that have yet to be downloaded are named by their model. Raises UnknownName, SettingsError, WeightsError.
    """
    from mmadlib.features import dino, point_mae

    found: dict[str, str] = {}
    for side, name in (("rgb", rgb), ("xyz", xyz)):
        if name in ("none", "descriptors", "random"):
            continue
        vit = name.removeprefix(NORMALS) if side == "xyz" else name
        weights = options.xyz_weights if name == "point_mae" else options.rgb_weights
        file = point_mae.weights_file(weights) if name == "point_mae" else dino.weights_file(vit, weights)
        if weights != RANDOM:
            found[side] = CONTENTS.digest(file) if file else f"timm {vit}"
    return found
