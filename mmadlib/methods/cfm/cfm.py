"""CFM: crossmodal feature mapping (Costanzino et al., CVPR 2024, arXiv 2312.04521).

On normal parts, G predicts the 3D feature of a pixel from its RGB feature and M predicts the RGB feature from the 3D one.
On a test part the two prediction errors are multiplied: a pixel is anomalous where neither modality explains the other.

Symbols: F2 (n, C2) RGB features, F3 (n, C3) 3D features of n foreground pixels, G: F2 -> F3, M: F3 -> F2, e2, e3 errors.
Facts: the paper's abstract; CVLAB-Unibo/crossmodal-feature-mapping models/feature_transfer_nets.py, cfm_training.py,
cfm_inference.py. The defaults train in seconds on learned features; workflow/params/ holds the published settings.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from jaxtyping import Float
from torch import nn

from mmadlib.checks import check_fields, one_of
from mmadlib.features.field import Features
from mmadlib.methods.base import Scores
from mmadlib.methods.distances import IMAGE_NORMS, cosine_loss, image_score, prediction_error
from mmadlib.methods.mapper import HIDDEN_LAYERS, Mapper
from mmadlib.methods.recompute import in_chunks
from mmadlib.methods.scoring import SMOOTHINGS, smooth
from mmadlib.methods.trained import CHUNK, Trained
from mmadlib.methods.training import Terms, TrainSettings

AGGREGATES = ("product", "sum", "max", "rgb", "xyz")


@dataclass(frozen=True)
class Settings(TrainSettings):
    """Published: hidden 0, epochs 250 (MVTec 3D-AD; 50 in the scripts), batch 4, pixels 0."""

    mapper: str = "mlp3"  # mlp2 | mlp3 | mlp7
    hidden: int = 128  # width h of the hidden layers; 0: (C2 + C3) // 2 as published
    aggregate: str = "product"  # product | sum | max | rgb | xyz
    smooth: str = "box_cfm"  # see mmadlib.methods.scoring
    image_norm: str = "cfm"  # cfm: image score max(A / sqrt(mean A)); none: max(A)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_fields(self, least={"hidden": 0}, choices={"mapper": HIDDEN_LAYERS, "aggregate": AGGREGATES,
                                                        "smooth": SMOOTHINGS, "image_norm": IMAGE_NORMS})


# the paper's smaller and larger mappers, and each error or another rule in place of the product
VARIANTS: dict[str, dict] = {
    "default": {}, "mlp2": {"mapper": "mlp2"}, "mlp7": {"mapper": "mlp7"},
    "sum": {"aggregate": "sum"}, "max": {"aggregate": "max"}, "rgb": {"aggregate": "rgb"}, "xyz": {"aggregate": "xyz"},
}


def mapping_losses(G: nn.Module, M: nn.Module, F2: Float[torch.Tensor, "n C2"], F3: Float[torch.Tensor, "n C3"]) -> Terms:
    """1 - mean cos(G(F2), F3) and 1 - mean cos(M(F3), F2) over the given pixels; each in [0, 2]."""
    return {"RGB to 3D": cosine_loss(G(F2), F3), "3D to RGB": cosine_loss(M(F3), F2)}


def aggregate(e2: Float[np.ndarray, "H W"], e3: Float[np.ndarray, "H W"], rule: str) -> Float[np.ndarray, "H W"]:
    """Combine the error maps of RGB (e2) and 3D (e3): product as published, the others for ablations."""
    rules = {"product": lambda: e2 * e3, "sum": lambda: e2 + e3, "max": lambda: np.maximum(e2, e3),
             "rgb": lambda: e2, "xyz": lambda: e3}
    one_of("aggregate", rule, rules)
    return rules[rule]()


class CFM(Trained):
    """Two mappers and the product of their errors. parts: "rgb" (e2) and "xyz" (e3)."""

    name = "cfm"
    SETTINGS = Settings
    VARIANTS = VARIANTS
    settings: Settings
    networks: dict[str, Mapper]

    def build(self, c2: int, c3: int) -> dict[str, Mapper]:
        s = self.settings
        hidden = s.hidden or (c2 + c3) // 2
        return {"G": Mapper(c2, c3, hidden, s.mapper), "M": Mapper(c3, c2, hidden, s.mapper)}

    def terms(self, features: Sequence[Features], step: int) -> Terms:
        losses = partial(mapping_losses, self.networks["G"], self.networks["M"])
        return in_chunks(losses, *self.pairs(features, step), size=CHUNK)

    @torch.no_grad()
    def score(self, features: Features) -> Scores:
        """Anomaly map, image score and the two error maps of one sample."""
        self.check_fitted()
        (rgb, xyz), G, M = self.maps(features), self.networks["G"], self.networks["M"]
        e2, e3 = np.zeros((2, features.foreground.size), np.float32)
        for some in self.chunks(features):
            e3[some] = prediction_error(G.at(rgb, some), xyz.at(some)).cpu().numpy()
            e2[some] = prediction_error(M.at(xyz, some), rgb.at(some)).cpu().numpy()
        e2, e3 = e2.reshape(features.size), e3.reshape(features.size)
        smoothed = smooth(aggregate(e2, e3, self.settings.aggregate), self.settings.smooth)
        return Scores(smoothed, image_score(smoothed, self.settings.image_norm), {"rgb": e2, "xyz": e3})
