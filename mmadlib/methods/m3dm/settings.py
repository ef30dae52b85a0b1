"""What M3DM can be told, with names for the rows of its tables and for the slips of its released code."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mmadlib.checks import check_fields
from mmadlib.methods.banked import BankSettings
from mmadlib.methods.m3dm.decision import RULES

BANKS = {"double": ("xyz", "rgb"), "triple": ("xyz", "rgb", "fusion"), "rgb": ("rgb",), "xyz": ("xyz",), "fusion": ("fusion",)}
NORMS = ("own", "m3dm", "none")
CORESETS = ("own", "m3dm")
PAIRS = ("correct", "published")


@dataclass(frozen=True)
class Settings(BankSettings):
    # image AUROC on learned features, data seed 0, 4 shots: without re-weighting keyed .889, organic .767; with it .828, .706
    reweight: str = "none"
    banks: str = "double"  # double: 3D and RGB | triple: the fused patches, too | rgb | xyz | fusion
    rgb_grid: int = 56  # RGB patches a side at most; published: 28
    xyz_grid: int = 56  # 3D and fused patches a side at most
    bank_norm: str = "own"  # own: mean and deviation of each bank | m3dm: mean of 3D, deviation of RGB for all | none
    coreset_rule: str = "own"  # own: a share of each bank | m3dm: of the 3D bank's rows, once reduced, for RGB and fused
    zero_row: bool = False  # 3D rows with a zero go, one row of zeros comes
    weight_xyz: float = 1.0  # lambda of each bank before the decision layer; published: 1, .1, 1
    weight_rgb: float = 1.0
    weight_fusion: float = 1.0
    dlf: str = "zsum"  # decision layer: sgd_ocsvm (published) | linear | zsum | none, see decision.py
    uff_pairs: str = "correct"  # RGB patches that the fusion is trained with: correct | published: at the wrong places
    uff_steps: int = 200  # updates of the fusion
    uff_patches: int = 512  # pairs of an update
    uff_lr: float = 3e-3  # largest learning rate, after a warm-up; then a cosine

    def __post_init__(self) -> None:
        super().__post_init__()
        check_fields(self, least={"rgb_grid": 1, "xyz_grid": 1, "uff_steps": 1, "uff_patches": 2}, positive=["uff_lr"],
                     not_negative=["weight_xyz", "weight_rgb", "weight_fusion"],
                     choices={"banks": BANKS, "bank_norm": NORMS, "coreset_rule": CORESETS, "dlf": RULES, "uff_pairs": PAIRS})


# the released code; zero_row is in its class of three banks alone
SLIPS = {"rgb_grid": 28, "masked": False, "standardised": False, "image": "patch", "smooth": "pil4", "bank_norm": "m3dm",
         "coreset_rule": "m3dm", "weight_rgb": 0.1, "dlf": "sgd_ocsvm"}
VARIANTS: dict[str, dict[str, Any]] = {
    "default": {},
    "published": SLIPS | {"banks": "triple", "zero_row": True, "uff_pairs": "published", "reweight": "btf"},
    "published_double": SLIPS | {"banks": "double", "reweight": "m3dm_double"},
    "published_rgb": SLIPS | {"banks": "rgb", "reweight": "m3dm_single"},
    "published_xyz": SLIPS | {"banks": "xyz", "reweight": "m3dm_single"},
    "rgb": {"banks": "rgb"},
    "xyz": {"banks": "xyz"},
    "double": {"banks": "double"},
    "triple": {"banks": "triple"},
    "norm_m3dm": {"bank_norm": "m3dm"},
    "coreset_m3dm": {"coreset_rule": "m3dm"},
    "zero_row": {"zero_row": True},
    "sgd_ocsvm": {"dlf": "sgd_ocsvm"},
    "linear": {"dlf": "linear"},
    "plain_sum": {"dlf": "none"},
    "patch": {"image": "patch"},
    "thousandth": {"image": "patch", "reweight": "m3dm_double"},
    "reweighted": {"image": "patch", "reweight": "btf"},
    "whole_picture": {"masked": False},
    "pil4": {"smooth": "pil4"},
}
