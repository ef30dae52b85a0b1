"""Settings of PIRN and its variants: what is reported, what is ours, and where the default departs from what is reported.

Learning rate, passes and refinement differ from what is reported, because the version with the reported ones stands at chance
here, on tokens of a small CNN and rendered parts; `as_noted` has all that the notes say. Of the three, refinement is left out
because it brings nothing: `with_apr` is as good and takes half as long again. On DINOv2, the paper's encoder, none was run.
"""

from __future__ import annotations

from dataclasses import dataclass

from mmadlib.checks import check_fields
from mmadlib.errors import SettingsError
from mmadlib.methods.pirn.cascade import CascadeSettings
from mmadlib.methods.pirn.prototypes import INITS
from mmadlib.methods.pirn.reduction import KINDS
from mmadlib.methods.pirn.soft_mining import LOSSES
from mmadlib.methods.scoring import SMOOTHINGS

MODALITIES = {"both": ("rgb", "xyz"), "rgb": ("rgb",), "xyz": ("xyz",)}
CHOICES = {"modality": MODALITIES, "init": INITS, "loss": LOSSES, "project": KINDS, "smooth": SMOOTHINGS}


@dataclass(frozen=True)
class Settings(CascadeSettings):
    """Reported and kept: K, L, the soft-mining loss. Departures: lr (reported 1e-4), the budget (60 passes over few shots, 8
    over all), no refinement (`apr`, reported "ot"). At the paper's size grid is 16 and masked False. A step takes whole
    images, so `pixels` stays 0.

    The budget is one number of steps for any number of shots, as of the other methods: it takes 960 steps to train the
    network, which are 240 passes over four shots, and as many passes over sixty would be 14,400 steps.
    """

    steps: int = 960
    epochs: int = 0  # 0: `steps` decides; the paper's 60, which become epochs_full on all shots, are in as_noted and short
    epochs_full: int = 8
    batch: int = 1
    pixels: int = 0
    lr: float = 1e-3
    anchor: float = 1.0  # needs a reduction that keeps it: project="svd" or "random"
    modality: str = "both"  # both | rgb | xyz (surface normals in the paper)
    grid: int = 28  # N = grid x grid tokens; the paper's encoder gives 16 x 16
    width: int = 0  # D; 0: the features' own if both sides agree, else min(256, the smaller) in whole heads
    project: str = "svd"  # svd | pca | random: how a side of another width is mapped to D
    init: str = "kmeans"  # kmeans: cosine k-means of training tokens | random
    loss: str = "flat"  # soft mining: flat (as INP-Former) | weighted
    exponent: float = 3.0  # of soft mining; 0: plain cosine
    smooth: str = "gauss4_reflect"  # of the sum of both maps; see mmadlib.methods.scoring

    def __post_init__(self) -> None:
        super().__post_init__()
        check_fields(self, least={"grid": 1, "width": 0}, choices=CHOICES, not_negative=["exponent"])
        if self.pixels:
            raise SettingsError(f"setting pixels={self.pixels}: a plan is balanced over whole images; leave it 0")


# the reported budget and refinement, and the residual as the notes print it, with our first guesses where they are silent:
# gates that start shut, eps .05, batches of eight, centred tokens without an anchor
AS_NOTED = {"epochs": 60, "batch": 8, "lr": 1e-4, "anchor": 0.0, "project": "pca", "eps": 0.05, "iterations": 50, "apr": "ot",
            "mnc_residual": "literal", "gamma": 0.0}
SHORT = {"L": 1, "epochs": 60}  # the reported 60 passes exactly, in batches of one
# one part changed at a time, from the default. What the tables leave undefined is our reading: the default has no refinement,
# so with_apr is nearest to their full row, and without BPA, or with another rule in Table 9, means the assignment alone
VARIANTS: dict[str, dict] = {
    "default": {}, "as_noted": AS_NOTED, "short": SHORT,
    "none": {"assign": "softmax", "mnc": False}, "without_bpa": {"assign": "softmax"},  # Table 2
    "without_mnc": {"mnc": False}, "with_apr": {"apr": "ot", "apr_keep": 5.0},
    "rgb_only": {"modality": "rgb"}, "xyz_only": {"modality": "xyz"},  # Table 3
    "k_5": {"K": 5}, "k_50": {"K": 50}, "k_100": {"K": 100},  # Table 5
    "apr_mean": {"apr": "mean", "apr_keep": 5.0}, "apr_topk": {"apr": "topk", "apr_keep": 5.0},  # Table 7
    "linear": {"assign": "linear"}, "sigmoid": {"assign": "sigmoid"},  # Table 9, whose softmax is without_bpa
    # controls of ours: as large a network, in which a modality asks only itself; few prototypes without any attention
    "mnc_own": {"mnc_source": "own"}, "rgb_own": {"modality": "rgb", "mnc_source": "own"},
    "xyz_own": {"modality": "xyz", "mnc_source": "own"}, "k_50_without_mnc": {"K": 50, "mnc": False},
}
