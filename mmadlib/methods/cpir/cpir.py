"""CPIR: cross-modal prediction and intra-modal reconstruction through a shared latent (Shangguan et al., no public code).

Prediction alone (CFM) is blind where one modality is odd and the other cannot tell. CPIR also reconstructs each modality
from itself, does all four with two encoders and two decoders around one latent (LB3M, see lb3m.py), and multiplies the
four errors.

Symbols: F2 (n, C2) RGB features, F3 (n, C3) 3D features of n foreground pixels. The parts, by the feature that is compared:
pred3d D3(E2(F2)) with F3, pred2d D2(E3(F3)) with F2, recon3d D3(E3(F3)) with F3, recon2d D2(E2(F2)) with F2.
Source: the paper's text, Eqs. 6-11, Sec. 4.1, Tables 4-6. It prints neither beta nor the distance; VARIANTS are its ablations.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, Float32

from mmadlib.checks import check_fields, one_of
from mmadlib.errors import SettingsError
from mmadlib.features.field import Features
from mmadlib.methods.base import Scores
from mmadlib.methods.cpir.lb3m import ACTIVATIONS, ENDS, PARTS, PRED, RECON, Chain, Module, Scorer, chains, run
from mmadlib.methods.distances import IMAGE_NORMS, cosine_loss, image_score, prediction_error
from mmadlib.methods.recompute import in_chunks
from mmadlib.methods.scoring import SMOOTHINGS, smooth
from mmadlib.methods.trained import CHUNK, Trained
from mmadlib.methods.training import Terms, TrainSettings

AGGREGATES = ("product", "add", "max")
DISTANCES = ("cosine", "euclid")


@dataclass(frozen=True)
class Settings(TrainSettings):
    """Published: epochs 150, batch 2, pixels 0. hidden, latent and least_width leave the published widths as they are."""

    pred_net: str = "lb3m"  # lb3m | mlp | 2mlp | none
    recon_net: str = "lb3m"  # lb3m | mlp | 2mlp | cycle: predict twice | none
    hidden: int = 0  # width of every hidden layer; 0: the mean of a module's input and output
    latent: int = 0  # width of the latent; 0: (C2 + C3) // 2
    least_width: int = 128  # a mean below is raised to it: narrow features need more room than their own width
    act: str = "gelu"  # gelu | relu | tanh | none
    latent_act: str = "none"  # the same, on the latent
    beta: float = 1.0  # weight of the reconstruction loss; the paper does not print it
    distance: str = "cosine"  # of the loss: cosine | euclid (between unit vectors)
    map_distance: str = "euclid"  # of the maps: euclid d | cosine d^2 / 2
    aggregate: str = "product"  # product | add | max
    agg_power: float = 1.0  # the product is raised to it before the blur; 1, 1/2 and 1/4 all stand in the paper
    maps: str = ""  # the parts that are aggregated, e.g. "pred3d pred2d"; empty: all that are trained
    smooth: str = "gauss4_reflect"  # see mmadlib.methods.scoring; the paper says sigma 4, the border is our choice
    image_norm: str = "none"  # none: image score max(A); cfm: max(A / sqrt(mean A))

    def __post_init__(self) -> None:
        super().__post_init__()
        check_fields(self, least={"hidden": 0, "latent": 0, "least_width": 0}, not_negative=["beta"], positive=["agg_power"],
                     choices={"pred_net": PRED, "recon_net": RECON, "act": ACTIVATIONS, "latent_act": ACTIVATIONS,
                              "distance": DISTANCES, "map_distance": DISTANCES, "aggregate": AGGREGATES, "smooth": SMOOTHINGS,
                              "image_norm": IMAGE_NORMS})
        if not self.routes:
            raise SettingsError(f"pred_net={self.pred_net!r}, recon_net={self.recon_net!r}: no network is left to train")
        for part in self.maps.split():
            one_of("trained map", part, self.routes)

    @property
    def routes(self) -> dict[str, Chain]:
        """part -> the chain of modules that is trained for it."""
        return chains(self.pred_net, self.recon_net)

    @property
    def used(self) -> list[str]:
        """The parts that are aggregated."""
        return [part for part in self.routes if part in (self.maps.split() or self.routes)]


PREDICTED, REBUILT = "pred3d pred2d", "recon3d recon2d"
# every row of Tables 4, 5 and 6; Ours-Recon and recon=2MLP are one model, which is why the paper prints the same numbers
VARIANTS: dict[str, dict] = {
    "default": {},
    "cfm": {"pred_net": "mlp", "recon_net": "none"},
    "cfm_recon": {"pred_net": "none", "recon_net": "mlp"},
    "cfm_dual": {"pred_net": "mlp", "recon_net": "mlp"},
    "cfm_dual_star": {"pred_net": "mlp", "recon_net": "cycle"},
    "ours_pred": {"recon_net": "none"},
    "ours_recon": {"pred_net": "none"},
    "ours_pred_star": {"maps": PREDICTED},
    "ours_recon_star": {"maps": REBUILT},
    "recon_2mlp": {"pred_net": "none", "recon_net": "2mlp"},
    "pred_mlp_recon_2mlp": {"pred_net": "mlp", "recon_net": "2mlp"},
    "pred_2mlp_recon_2mlp": {"pred_net": "2mlp", "recon_net": "2mlp"},
    "aggregate_add": {"aggregate": "add"},
    "aggregate_max": {"aggregate": "max"},
    "power_0.5": {"agg_power": 0.5},  # of the product, in Eq. 11 and in Sec. 3.5
    "power_0.25": {"agg_power": 0.25},
    "beta_0.1": {"beta": 0.1},  # the weight of the reconstruction loss is not printed
    "beta_0.5": {"beta": 0.5},
    "beta_2": {"beta": 2},
}


def loss(predicted: Float[torch.Tensor, "n C"], observed: Float[torch.Tensor, "n C"],
         distance: str = "cosine") -> Float32[torch.Tensor, ""]:
    """D of Eqs. 8 and 9 over n pixels: 1 - mean cos, or the mean distance of unit vectors; in [0, 2]."""
    if distance == "cosine":
        return cosine_loss(predicted, observed)
    return prediction_error(predicted.float(), observed.float()).mean()


def aggregate(maps: Sequence[Float[np.ndarray, "H W"]], rule: str = "product", power: float = 1.0) -> Float[np.ndarray, "H W"]:
    """One map of several: (product)^power (Table 4 with 1, Eq. 11 and its text with 1/2 and 1/4), add or max."""
    rules = {"product": lambda: np.prod(maps, axis=0) ** power, "add": lambda: np.sum(maps, axis=0),
             "max": lambda: np.max(maps, axis=0)}
    one_of("aggregate", rule, rules)
    return rules[rule]()


def parameters(settings: Settings, c2: int, c3: int) -> int:
    """Trainable numbers for features of width C2 and C3, without allocating them."""
    with torch.device("meta"):
        return sum(p.numel() for net in modules(settings, c2, c3).values() for p in net.parameters())


def relative_size(settings: Settings, c2: int, c3: int) -> float:
    """`parameters` in units of one MLP, the mean of C2 -> C3 and C3 -> C2: 1,845,120 at 768 and 1152 (Tables 5, 6: "P.S.")."""
    pair = replace(settings, pred_net="mlp", recon_net="none", maps="")
    return parameters(settings, c2, c3) / (parameters(pair, c2, c3) / 2)


def modules(s: Settings, c2: int, c3: int) -> dict[str, Module]:
    """The modules of all chains, in the order of the chains: models of the same shape start from the same numbers."""
    width = {"2": c2, "3": c3, "m": s.latent or max(s.least_width, (c2 + c3) // 2)}
    built = {}
    for name in dict.fromkeys(name for chain in s.routes.values() for name in chain):
        a, b = (width[end] for end in ENDS[name])
        built[name] = Module(a, b, s.hidden or max(s.least_width, (a + b) // 2), s.act,
                             s.latent_act if ENDS[name][1] == "m" else "none")
    return built


class CPIR(Trained):
    """Four errors and their product. parts: "pred3d", "pred2d", "recon3d", "recon2d", those that the settings use.

    A test sample without RGB or 3D is scored by the reconstruction of what remains; its score is then one error instead of
    a product, so compare it with samples that miss the same.
    """

    name = "cpir"
    SETTINGS = Settings
    VARIANTS = VARIANTS
    settings: Settings
    networks: dict[str, Module]

    def build(self, c2: int, c3: int) -> dict[str, Module]:
        return modules(self.settings, c2, c3)

    def terms(self, features: Sequence[Features], step: int) -> Terms:
        """L_pred + beta L_recon (Eq. 10), a term for each part."""
        return in_chunks(self.losses_of, *self.pairs(features, step), size=CHUNK)

    def losses_of(self, F2: Float[torch.Tensor, "n C2"], F3: Float[torch.Tensor, "n C3"]) -> Terms:
        """The same for some pixels."""
        s, observed = self.settings, {"rgb": F2, "xyz": F3}
        return {part: (s.beta if part.startswith("recon") else 1) * loss(out, observed[PARTS[part][1]], s.distance)
                for part, out in run(self.networks, s.routes, F2, F3).items()}

    def usable_parts(self, features: Features) -> list[str]:
        """The parts in use that the sample has the modalities for; all of them when it has them for none."""
        used = self.settings.used
        return [part for part in used if features.missing not in PARTS[part]] or used

    @torch.no_grad()
    def score(self, features: Features) -> Scores:
        """Anomaly map, image score and the error maps of one sample. Raises MissingModality when no part can do without."""
        self.check_fitted()
        s, parts = self.settings, self.usable_parts(features)
        maps = {side: self.standardise(features, side, self.device) for side in {end for p in parts for end in PARTS[p]}}
        scorer = Scorer(self.networks, {part: s.routes[part] for part in parts})
        errors = {part: np.zeros(features.foreground.size, np.float32) for part in parts}
        for some in self.chunks(features):
            observed = {side: fmap.at(some) for side, fmap in maps.items()}
            for part, out in scorer(maps, some).items():
                d = prediction_error(out, observed[PARTS[part][1]])
                errors[part][some] = (d if s.map_distance == "euclid" else d**2 / 2).cpu().numpy()
        errors = {part: error.reshape(features.size) for part, error in errors.items()}
        smoothed = smooth(aggregate(list(errors.values()), s.aggregate, s.agg_power), s.smooth)
        return Scores(smoothed, image_score(smoothed, s.image_norm), errors)
