"""Settings of AST and its variants."""

from __future__ import annotations

from dataclasses import dataclass

from mmadlib.checks import check_fields
from mmadlib.errors import SettingsError
from mmadlib.methods.scoring import SMOOTHINGS
from mmadlib.methods.training import TrainSettings

MODES = {"combi": ("rgb", "xyz"), "rgb": ("rgb",), "depth": ("xyz",)}  # what the networks see -> modalities that it needs
DEPTHS = ("z", "level")
WEIGHTS = {"m": 1, "m2": 2}  # the power of m in a score
CHOICES = {"mode": MODES, "depth": DEPTHS, "foreground": ("features", "corners"), "background": ("zero", "keep"),
           "weight": WEIGHTS, "upsample": ("bilinear", "bicubic"), "image_score": ("max_map", "max_cells", "mean"),
           "smooth": SMOOTHINGS}


@dataclass(frozen=True)
class Settings(TrainSettings):
    """The paper's networks have 86 million parameters; the defaults fit a rendered category on one CPU core in seconds.

    Whole images train the networks, so `pixels` stays 0; likelihood and error are Euclidean, so there is no anchor.
    """

    steps: int = 40  # of the teacher, then of the student, when epochs is 0
    batch: int = 4
    drop_last: bool = False  # of each pass, leave out the last batch if it is incomplete, unless it is the only one
    pixels: int = 0
    lr: float = 1e-3
    weight_decay: float = 1e-5
    anchor: float = 0.0
    mode: str = "combi"  # combi | rgb | depth
    grid: int = 28  # the networks see a raster of grid x grid cells; 0: every pixel
    # level: off the plane through the foreground, which is 94 to 97 % of the variance of a tilted part's depth; z: published.
    # Image AUROC on learned features, data seed 0, mean of keyed, organic: z .706, level .783, with batch 4 and width 128 .895
    depth: str = "level"
    packing: int = 4  # depth enters with packing x packing pixels a cell, each a channel
    dilation: int = 4  # pixels (packing a cell) by which the foreground is spread before it becomes m
    foreground: str = "features"  # features: of the front end | corners: what stands out by 7 mm, on clouds with background
    background: str = "zero"  # RGB of cells off the object: zero | keep
    fills: int = 3  # passes of hole filling
    fill_border: bool = True  # row 0 and column 0, too
    position: int = 32  # channels of the position code, a multiple of 4
    flow_hidden: int = 32
    flow_blocks: int = 4
    student_width: int = 128
    student_blocks: int = 2
    weight: str = "m"  # a score is weighted by m or by m squared
    upsample: str = "bilinear"  # of the scores: bilinear | bicubic, to packing pixels a cell, then bilinear to the picture
    image_score: str = "max_map"  # maximum of the map (the paper's "max192") | max_cells (its "max24") | mean of the map
    smooth: str = "gauss4_reflect"  # see mmadlib.methods.scoring

    def __post_init__(self) -> None:
        super().__post_init__()
        check_fields(self, least={"grid": 0, "packing": 1, "dilation": 1, "fills": 0, "position": 0, "flow_hidden": 1,
                                  "flow_blocks": 1, "student_width": 1, "student_blocks": 0},
                     choices=CHOICES, not_negative=["weight_decay"])
        if self.pixels:
            raise SettingsError(f"setting pixels={self.pixels}: whole images train the networks; leave it 0")
        if self.anchor:
            raise SettingsError(f"setting anchor={self.anchor}: likelihood and error are Euclidean; leave it 0")
        if self.position % 4:
            raise SettingsError(f"setting position={self.position}: sine and cosine of row and column make it a multiple of 4")


# As published but for the encoder and the foreground: give features "tf_efficientnet_b5.ap_in1k+..." for the first, and
# foreground="corners" on clouds extracted with isolate=False for the second
PUBLISHED = {"epochs": 72, "batch": 8, "drop_last": True, "lr": 2e-4, "grid": 24, "depth": "z", "packing": 8, "dilation": 8,
             "background": "keep", "fill_border": False, "flow_hidden": 64, "student_width": 1024, "student_blocks": 4,
             "weight": "m2", "upsample": "bicubic", "smooth": "none"}
VARIANTS: dict[str, dict] = {
    "default": {}, "published": PUBLISHED, "rgb": {"mode": "rgb"}, "depth": {"mode": "depth"},  # the paper's three rows
    "depth_z": {"depth": "z"}, "depth_z_small": {"depth": "z", "batch": 2, "student_width": 64},
    "max_cells": {"image_score": "max_cells"}, "mean": {"image_score": "mean"}, "m2": {"weight": "m2"},
    "bicubic": {"upsample": "bicubic"},
}
