"""BTF: colour features beside a hand-made shape descriptor in one memory bank (Horwitz & Hoshen, CVPR workshops 2023).

A patch is the plain concatenation [C RGB features | 33 FPFH]. FPFH vectors have a length of about 300, so in the published
vector shape outweighs colour by far: `fpfh_weight` and `normalised` are the switches of that. Score of a patch: distance to
the nearest of the training patches; image score: see mmadlib.methods.reweighting. Distances are Euclidean: no anchor.
Source: eliahuhorwitz/3D-ADS feature_extractors/{features,rgb_fpfh_features}.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool

from mmadlib.checks import check_fields
from mmadlib.errors import MissingModality
from mmadlib.features.field import Features
from mmadlib.methods.banked import Banked, BankSettings
from mmadlib.methods.btf.histograms import CHANNELS, fpfh, thinned, valid_points
from mmadlib.methods.patch_rows import Cells, cells_of, levels, of_image, pooled
from mmadlib.methods.token_grid import cells, grid_size

PARTS = {"rgb+fpfh": ("rgb", "fpfh"), "rgb": ("rgb",), "fpfh": ("fpfh",)}


@dataclass(frozen=True)
class Settings(BankSettings):
    """Published: VARIANTS["published"]. The default descriptor takes every second point a side and as many fewer neighbours,
    so that it looks at the same surface at a fifteenth of the time."""

    parts: str = "rgb+fpfh"  # rgb+fpfh | rgb | fpfh
    grid: int = 56  # patches a side at most
    fpfh_weight: float = 1.0  # FPFH is multiplied by it; RGB is not
    normalised: bool = True  # both parts are divided by their root mean square distance from their mean
    stride: int = 2  # every so many rows and columns of the cloud have a point
    normal_neighbours: int = 8  # of which a normal is made
    fpfh_neighbours: int = 25  # of which a histogram is made
    orient: bool = False  # normals look to the camera; as published they look either way

    def __post_init__(self) -> None:
        super().__post_init__()
        check_fields(self, least={"grid": 1, "stride": 1, "normal_neighbours": 3, "fpfh_neighbours": 3},
                     not_negative=["fpfh_weight"], choices={"parts": PARTS})


FULL = {"stride": 1, "normal_neighbours": 30, "fpfh_neighbours": 100}
VARIANTS: dict[str, dict[str, Any]] = {
    "default": {},
    "published": FULL | {"grid": 28, "normalised": False, "masked": False, "standardised": False, "image": "patch",
                         "smooth": "pil4"},
    "rgb": {"parts": "rgb"},
    "fpfh": {"parts": "fpfh"},
    "full_cloud": FULL,  # the descriptor as published in the clean bank
    "unscaled": {"normalised": False},
    "oriented": {"orient": True},
    "whole_picture": {"masked": False},
    "patch": {"image": "patch"},
    "no_reweighting": {"image": "patch", "reweight": "none"},
    "pil4": {"smooth": "pil4"},
    "all_patches": {"coreset": 1.0},
}


class BTF(Banked):
    """Nearest training patch in colour and shape. parts: {"rgb+fpfh"}, {"rgb"} or {"fpfh"}, by setting `parts`."""

    name = "btf"
    SETTINGS = Settings
    VARIANTS = VARIANTS
    settings: Settings

    @property
    def sides(self) -> tuple[str, ...]:
        return (self.settings.parts,)

    @property
    def parts(self) -> tuple[str, ...]:
        """The parts of a patch, in order."""
        return PARTS[self.settings.parts]

    @property
    def needs(self) -> tuple[str, ...]:
        return tuple("xyz" if part == "fpfh" else part for part in self.parts)

    def width(self, side: str) -> int:
        return sum(CHANNELS if part == "fpfh" else self.standardise.width("rgb") for part in self.parts)

    def grid_of(self, side: str) -> int:
        return self.settings.grid

    def learn(self, features: Sequence[Features], progress: bool) -> None:
        """The scale of each part: 1, or the root mean square distance of training patches from their mean."""
        self.scale = torch.ones(len(self.parts))
        if not self.settings.normalised:
            return
        n, total, squares = 0, [torch.zeros(())] * len(self.parts), torch.zeros(len(self.parts), dtype=torch.float64)
        for f in features:
            found, valid = self.found(f)
            rows = [part.values[valid].double() for part in found]
            n, total = n + len(rows[0]), [t + r.sum(0) for t, r in zip(total, rows, strict=True)]
            squares += torch.stack([(r**2).sum() for r in rows])
        spread = (squares / max(n, 1) - torch.stack([((t / max(n, 1)) ** 2).sum() for t in total])).clamp_min(0).sqrt()
        self.scale = torch.where(spread > 0, spread, 1.0).float()

    def cells(self, features: Features, side: str) -> Cells:
        found, valid = self.found(features)
        weight = [1.0 if part == "rgb" else self.settings.fpfh_weight for part in self.parts]
        values = [f.values * (w / float(scale)) for f, w, scale in zip(found, weight, self.scale, strict=True)]
        return Cells(torch.cat(values, 1), valid, found[0].grid)

    def found(self, features: Features) -> tuple[list[Cells], Bool[torch.Tensor, " cells"]]:
        """The parts of the patches as they are, and which cells have all of them."""
        found = [self.part(features, part) for part in self.parts]
        return found, torch.stack([f.valid for f in found]).all(0)

    def part(self, features: Features, part: str) -> Cells:
        """One part of the patches as it is. Raises MissingModality."""
        return self.shapes(features) if part == "fpfh" else self.colours(features)

    def colours(self, features: Features) -> Cells:
        """RGB features: tokens on the grid, or as published the maps of a network pooled to it, background too."""
        s, fmap = self.settings, self.map_of(features, "rgb")
        if s.masked:
            return cells_of(fmap, features.foreground, s.grid)
        maps = levels(features, "rgb", fmap)
        return of_image(pooled(maps, grid_size(features.size, s.grid))) if maps else cells_of(fmap, None, s.grid)

    def shapes(self, features: Features) -> Cells:
        """FPFH of the valid points in a cell: their mean, or as published pooled over the picture with zeros between them."""
        self.standardise.check(features)
        points = valid_points(features.cloud)
        if features.missing == "xyz" or (features.foreground.any() and not points.any()):
            raise MissingModality("btf: a sample has no cloud (modality xyz is missing); use setting parts='rgb'")
        s, grid = self.settings, grid_size(features.size, self.settings.grid)
        chosen = thinned(points & self.seen(features), s.stride)
        found = fpfh(features.cloud, chosen, s.normal_neighbours, s.fpfh_neighbours, s.orient)
        if not s.masked:
            return of_image(pooled([torch.from_numpy(found).permute(2, 0, 1)], grid))
        inside = cells(chosen, grid)
        mean = torch.from_numpy(np.asarray(inside @ found.reshape(-1, CHANNELS)))
        return Cells(mean, torch.from_numpy(np.diff(inside.indptr) > 0), grid)

    def state(self) -> dict[str, torch.Tensor]:
        return super().state() | {"scale": self.scale}

    def restore(self, state: Mapping[str, torch.Tensor]) -> None:
        self.scale = state["scale"]
        super().restore(state)
