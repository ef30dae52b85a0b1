"""PatchCore on one modality: locally aware patches, a coreset of them, the nearest one (Roth et al., CVPR 2022).

Two dialects of it stand behind the papers' numbers: PatchCore's own code ("amazon": 3x3 patches brought to one width by means,
SQUARED distances, the largest is the image score) and the line of code that BTF and M3DM grew from ("line": maps pooled as
BTF does, distances, re-weighted image score). Distances are Euclidean: no anchor.
Source: amazon-science/patchcore-inspection src/patchcore/{patchcore,common,sampler}.py; rvorias/ind_knn_ad.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Float32

from mmadlib.checks import check_fields
from mmadlib.errors import SettingsError
from mmadlib.features.field import Features
from mmadlib.methods.banked import Banked, BankSettings
from mmadlib.methods.patch_rows import Cells, cells_of, levels, neighbourhood, of_image, pooled
from mmadlib.methods.token_grid import grid_size

DIALECTS = ("amazon", "line")
MODALITIES = ("rgb", "xyz")


@dataclass(frozen=True)
class Settings(BankSettings):
    """Published: VARIANTS["published"] on features wide_resnet50_2, levels 8+16, without enlargement."""

    modality: str = "rgb"  # rgb | xyz
    dialect: str = "amazon"  # amazon: squared distances | line: distances; how the whole picture is made into patches
    grid: int = 56  # patches a side at most
    # cells a side that a patch is the mean of, odd; published: 3. Tokens at twice the picture's size see their surroundings as
    # they are: image AUROC with 1 / 3 on learned features, data seed 0, 4 shots: keyed .776 / .509, organic .703 / .623
    neighbourhood: int = 1
    width: int = 0  # numbers in a patch of the amazon dialect on the whole picture; 0: those of the features
    reweight: str = "none"
    sampling: str = "approximate"
    projection: str = "linear"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_fields(self, least={"grid": 1, "neighbourhood": 1, "width": 0},
                     choices={"modality": MODALITIES, "dialect": DIALECTS})
        if self.neighbourhood % 2 == 0:
            raise SettingsError(f"setting neighbourhood={self.neighbourhood}: an odd number of cells has a middle")


WHOLE = {"masked": False, "standardised": False, "neighbourhood": 3, "image": "patch"}
LINE = {"dialect": "line", "image": "patch", "reweight": "btf", "sampling": "greedy", "projection": "sparse"}
VARIANTS: dict[str, dict[str, Any]] = {
    "default": {},
    "published": WHOLE | {"grid": 28, "width": 1024, "smooth": "gauss4_reflect"},
    "published_line": WHOLE | LINE | {"grid": 28, "smooth": "pil4"},
    "rgb": {"modality": "rgb"},
    "xyz": {"modality": "xyz"},
    "patch": {"image": "patch"},
    "line": LINE,
    "fast": {"coreset": 0.01},
    "all_patches": {"coreset": 1.0},
    "neighbourhood": {"neighbourhood": 3},
    "exact_search": {"sampling": "exact"},
    "whole_picture": {"masked": False},
    "pil4": {"smooth": "pil4"},
}


def embedding(maps: Sequence[Float[torch.Tensor, "_ _ _"]], width: int, target: int,
              size: int = 3) -> Float32[torch.Tensor, "target h w"]:
    """Patches of the amazon dialect: of each level size x size cells (zeros around the picture), resized bilinearly to the
    raster of the first, averaged to `width` numbers; of all levels one after the other averaged to `target`."""
    grid, found = maps[0].shape[1:], []
    for image in maps:
        patches = F.unfold(image[None], size, padding=size // 2).reshape(1, -1, *image.shape[1:])
        if image.shape[1:] != grid:
            patches = F.interpolate(patches, grid, mode="bilinear", align_corners=False)
        found.append(F.adaptive_avg_pool1d(patches[0].flatten(1).T, width))  # (cells, width)
    return F.adaptive_avg_pool1d(torch.cat(found, 1), target).T.reshape(target, *grid)


class PatchCore(Banked):
    """Nearest training patch of one modality. parts: {"rgb"} or {"xyz"}; in the amazon dialect squared distances."""

    name = "patchcore"
    SETTINGS = Settings
    VARIANTS = VARIANTS
    settings: Settings

    @property
    def sides(self) -> tuple[str, ...]:
        return (self.settings.modality,)

    @property
    def needs(self) -> tuple[str, ...]:
        return self.sides

    @property
    def power(self) -> int:  # type: ignore[override]
        return 2 if self.settings.dialect == "amazon" else 1

    def width(self, side: str) -> int:
        s = self.settings
        own = self.standardise.width(side)
        return s.width or own if s.dialect == "amazon" and not s.masked else own

    def grid_of(self, side: str) -> int:
        return self.settings.grid

    def cells(self, features: Features, side: str) -> Cells:
        s, fmap = self.settings, self.map_of(features, side)
        if s.masked:
            return neighbourhood(cells_of(fmap, features.foreground, s.grid), s.neighbourhood)
        maps = levels(features, side, fmap) or [cells_of(fmap, None, s.grid).image]
        if s.dialect == "amazon":
            return of_image(embedding(maps, self.width(side), self.width(side), s.neighbourhood))
        return of_image(pooled(maps, grid_size(features.size, s.grid)))
