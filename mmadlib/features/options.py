"""Options: everything that features can be told, checked, and what of it names them."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

from mmadlib.checks import check_device, check_seed, one_of, typed, whole
from mmadlib.errors import SettingsError
from mmadlib.features.cnn import strides
from mmadlib.features.descriptors.mask import GRID
from mmadlib.features.dino import layer_range
from mmadlib.features.grouping import RANDOM_START
from mmadlib.features.normals import RECIPES
from mmadlib.features.point_mae import MODES
from mmadlib.prepare.grid import PADS

# newer than recorded runs: named only where they are not the default, so that those stay theirs
LATER = ("rgb_masked", "rgb_layers", "normals", "levels", "enlarge")


@dataclass(frozen=True)
class Options:
    """Everything that changes features. None: the default of the front end (weights) or of the dataset (isolate)."""

    size: int = 224  # pixels of the square working grid
    pad: str = "edge"  # edge | zero | none, see mmadlib.prepare.grid
    isolate: bool | None = None  # remove table and clutter; None: of rendered and mvtec3d where still there; else say True
    # black where table and clutter are removed, as in BTF and M3DM with pad zero: pixels without a return keep their colour.
    # Of parts that come isolated all pixels without a point are black. Only backbones look there at all
    rgb_masked: bool = False
    rgb_blocks: int = 12  # transformer blocks kept: CFM 12, CPIR 8
    rgb_layers: str = ""  # "2-9": mean of blocks 2 to 9 counted from 0, without final norm (PIRN); "": the last block, normed
    levels: str = "8"  # strides of the stages that a CNN gives, finest first: "8", "8+16"
    enlarge: float = 2.0  # times that the picture is enlarged before it enters a CNN
    rgb_weights: str | None = None  # file, or "random"
    rgb_sha256: str = "any"
    xyz_blocks: int = 12
    xyz_weights: str | None = None  # file, or "random"
    xyz_sha256: str | None = None  # None: the published hash; "any"
    backbone_mode: str = "batch_stats"  # compat | batch_stats | eval | eval_unit
    normals: str = "neighbours"  # neighbours | grid: recipe of normals_<network>, which takes the options of RGB
    groups: int = 1024  # Point-MAE: centres
    group_size: int = 128  # Point-MAE: points of a group
    fps_start: int | str = 0  # row-major index of the first centre, or "random": by `seed` and the cloud (CMDR-IAD's code)
    fps_near_origin: bool = False  # the CUDA kernel's rule: points within 32 mm of the sensor are no centres
    device: str = "cpu"
    seed: int = 0  # random weights, DropPath, random first centres


def check_options(given: dict[str, Any]) -> Options:
    """Options from keywords, whether or not the front ends look at them; UnknownName or SettingsError on a wrong one."""
    options = typed(Options, given, "feature option")
    whole("feature option size", options.size, GRID)
    check_seed(options.seed)
    one_of("padding", options.pad, PADS)
    one_of("backbone_mode", options.backbone_mode, MODES)
    one_of("recipe of normals", options.normals, RECIPES)
    layer_range(options.rgb_layers)
    strides(options.levels)
    if not 0 < options.enlarge <= 16:
        raise SettingsError(f"feature option enlarge={options.enlarge!r}: a number above 0, up to 16")
    options = replace(options, enlarge=float(options.enlarge))  # 1 and 1.0 have one name
    if isinstance(options.fps_start, str):
        one_of("fps_start", options.fps_start, [RANDOM_START])
    else:
        whole("feature option fps_start", options.fps_start)
    check_device(options.device)
    return options


def settings_of(rgb: str, xyz: str, options: Options) -> dict[str, Any]:
    """What defines the features of two front ends: their names and the options, but not the device on which they run."""
    default = Options()
    named = {name: value for name, value in asdict(options).items()
             if name not in LATER or value != getattr(default, name)}
    del named["device"]
    return {"rgb": rgb, "xyz": xyz, **named}
