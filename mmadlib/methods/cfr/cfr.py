"""CFR: crossmodal feature replacer (Guo, Zhang, Wang, ICML 2026).

CFM's two mappers, trained with a cycle as well. One shape may carry many colours, so a reconstructed RGB feature can be an
average of colours that no normal part has. Where it is far from every normal RGB feature it is replaced by what normal parts
carry at that shape, retrieved from memory, before it is compared with the observed one.

Symbols: F2 (n, C2) RGB features, F3 (n, C3) 3D features, G: F2 -> F3, M: F3 -> F2, B2 bank of RGB features, rho
unreliability of M(F3), theta its threshold, e2, e3 errors. Facts: Yuan-Honoka-Guo/CFR cfr_training.py, attention_training.py,
cfr_inference.py. The defaults train in seconds on learned features; workflow/params/ holds the published settings.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from jaxtyping import Float, Float32, Int
from torch import nn

from mmadlib.checks import check_fields
from mmadlib.features.field import FeatureMap, Features
from mmadlib.methods.base import Scores
from mmadlib.methods.cfm.cfm import AGGREGATES, aggregate, mapping_losses
from mmadlib.methods.cfr.replacer import Replacer, ReplaceSettings
from mmadlib.methods.distances import IMAGE_NORMS, cosine_loss, image_score, prediction_error
from mmadlib.methods.mapper import HIDDEN_LAYERS, GatedMapper, Mapper
from mmadlib.methods.recompute import in_chunks
from mmadlib.methods.scoring import SMOOTHINGS, smooth
from mmadlib.methods.trained import CHUNK
from mmadlib.methods.training import Terms


@dataclass(frozen=True)
class Settings(ReplaceSettings):
    """Published: hidden 0, epochs 100, batch 1, pixels 0; for the memory and the retriever see ReplaceSettings.

    CFM is cycle False, mapper mlp3, replace off, smooth box_cfm.
    """

    cycle: bool = True  # the two cyclic losses
    mapper: str = "geglu"  # geglu | mlp2 | mlp3 | mlp7
    hidden: int = 128  # width h of the hidden layers; 0: (C2 + C3) // 2 as published
    aggregate: str = "product"  # product | sum | max | rgb | xyz
    smooth: str = "box_cfr"  # see mmadlib.methods.scoring
    image_norm: str = "cfm"  # cfm: image score max(A / sqrt(mean A)); none: max(A)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_fields(self, least={"hidden": 0}, choices={"mapper": ("geglu", *HIDDEN_LAYERS), "aggregate": AGGREGATES,
                                                        "smooth": SMOOTHINGS, "image_norm": IMAGE_NORMS})


# what is replaced and from which unreliability on, the cycle, the smoothing: one switch at a time
VARIANTS: dict[str, dict] = {
    "default": {}, "off": {"replace": "off"}, "nn_observed": {"replace": "nn_observed"}, "topk_mean": {"replace": "topk_mean"},
    "theta_0.2": {"theta": 0.2}, "theta_0.4": {"theta": 0.4}, "always": {"theta": float("-inf")}, "no_cycle": {"cycle": False},
    "smooth_box_cfm": {"smooth": "box_cfm"},
}


def cyclic_losses(G: nn.Module, M: nn.Module, F2: Float[torch.Tensor, "n C2"], F3: Float[torch.Tensor, "n C3"]) -> Terms:
    """CFM's two losses, and by how much the way there and back misses its start; each in [0, 2]."""
    hat3, hat2 = G(F2), M(F3)
    return {"RGB to 3D": cosine_loss(hat3, F3), "3D to RGB": cosine_loss(hat2, F2),
            "RGB cycle": cosine_loss(M(hat3), F2), "3D cycle": cosine_loss(G(hat2), F3)}


class CFR(Replacer):
    """Cyclic mappers, memory, retriever. parts: "rgb" (e2, after replacement), "xyz" (e3), "rho_rgb" and / or "rho_xyz"."""

    name = "cfr"
    SETTINGS = Settings
    VARIANTS = VARIANTS
    settings: Settings

    def build(self, c2: int, c3: int) -> dict[str, nn.Module]:
        s = self.settings
        hidden = s.hidden or (c2 + c3) // 2
        mapper = GatedMapper if s.mapper == "geglu" else partial(Mapper, kind=s.mapper)
        mappers = {"G": mapper(c2, c3, hidden), "M": mapper(c3, c2, hidden)}
        return mappers | self.retrievers({"rgb": c2, "xyz": c3})

    def optimisers(self) -> dict[str, torch.optim.Optimizer]:
        G, M = self.networks["G"], self.networks["M"]
        return {"adam": torch.optim.Adam([*G.parameters(), *M.parameters()], lr=self.settings.lr)}

    def terms(self, features: Sequence[Features], step: int) -> Terms:
        """Stage 1: the losses of the mappers."""
        losses = cyclic_losses if self.settings.cycle else mapping_losses
        return in_chunks(partial(losses, self.networks["G"], self.networks["M"]), *self.pairs(features, step), size=CHUNK)

    def reconstruct(self, side: str, maps: dict[str, FeatureMap],
                    pixels: Int[np.ndarray, " n"]) -> Float32[torch.Tensor, "n C"]:
        """hat F2 = M(F3) for "rgb", hat F3 = G(F2) for "xyz"."""
        net, source = (self.networks["M"], maps["xyz"]) if side == "rgb" else (self.networks["G"], maps["rgb"])
        assert isinstance(net, Mapper)  # the other networks are retrievers
        return net.at(source, pixels)

    @torch.no_grad()
    def score(self, features: Features) -> Scores:
        """Anomaly map, image score, the two error maps, and the unreliability that decided on replacement."""
        self.check_fitted()
        s, maps = self.settings, dict(zip(("rgb", "xyz"), self.maps(features), strict=True))
        names = ("rgb", "xyz", *(f"rho_{side}" for side in self.replaced))
        parts = {name: np.zeros(features.foreground.size, np.float32) for name in names}
        for some in self.chunks(features):
            seen = {side: fmap.at(some) for side, fmap in maps.items()}
            for side in seen:
                made = self.reconstruct(side, maps, some)
                if side in self.replaced:
                    made, parts[f"rho_{side}"][some] = self.replace(side, made, seen, features.foreground.ravel()[some])
                parts[side][some] = prediction_error(made, seen[side]).cpu().numpy()
        parts = {name: part.reshape(features.size) for name, part in parts.items()}
        smoothed = smooth(aggregate(parts["rgb"], parts["xyz"], s.aggregate), s.smooth)
        return Scores(smoothed, image_score(smoothed, s.image_norm), parts)
