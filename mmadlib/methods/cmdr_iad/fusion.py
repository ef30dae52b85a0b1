"""From the four distance maps of CMDR-IAD to one: reliability gate, confidence weights, product, smoothing.

Source: ECGAI-Research/CMDR-IAD inference.py, and the figure there where a setting says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Float32

from mmadlib.checks import check_fields
from mmadlib.errors import SettingsError
from mmadlib.methods.base import Scores
from mmadlib.methods.distances import image_score
from mmadlib.methods.scoring import IMAGE_NORMS, SMOOTHINGS, smooth
from mmadlib.methods.training import TrainSettings

CONFIDENCE = {"on": -1, "off": 0, "inverted": 1}  # sign of B d in the exponent


@dataclass(frozen=True)
class FusionSettings(TrainSettings):
    """The part of CMDR-IAD's settings that needs no new training."""

    gate: bool = True
    alpha: float = 4.0  # W = alpha + beta * s / mean(s)
    beta: float = 2.0
    window: int = 7  # of the local deviation s, pixels
    confidence: str = "on"  # weight exp(-B d) | off: plain mean | inverted: exp(+B d)
    B: float = 0.3
    rec_smooth: str = "box_cmdr_rec"  # of rec_rgb, before the fusion
    smooth: str = "auto"  # of Psi: auto is box_cfm, and none with one modality
    image_norm: str = "cfm"  # see mmadlib.methods.scoring

    def __post_init__(self) -> None:
        super().__post_init__()
        check_fields(self, least={"window": 1}, not_negative=["alpha", "beta", "B"],
                     choices={"confidence": CONFIDENCE, "rec_smooth": SMOOTHINGS, "smooth": ("auto", *SMOOTHINGS),
                              "image_norm": IMAGE_NORMS})
        if self.window % 2 == 0:
            raise SettingsError(f"setting window={self.window}: an odd width is needed")


def local_deviation(J: Float32[np.ndarray, "H W"], window: int = 7) -> Float32[np.ndarray, "H W"]:
    """s: root of the zero-padded window mean of (J - mu)^2, mu the mean of J over the whole image."""
    squares = torch.from_numpy((J - J.mean()) ** 2)[None]
    return F.avg_pool2d(squares, window, 1, window // 2)[0].sqrt().numpy()


def reliability(J: Float32[np.ndarray, "H W"], alpha: float = 4.0, beta: float = 2.0,
                window: int = 7) -> Float32[np.ndarray, "H W"]:
    """G = sigmoid(W J) with W = alpha + beta * s / mean(s), in [0.5, 1] for J >= 0."""
    s = local_deviation(J, window)
    W = alpha + beta * s / (s.mean() + 1e-8)
    return 1 / (1 + np.exp(-W * J))


def confident_mean(d2: Float[np.ndarray, "*shape"], d3: Float[np.ndarray, "*shape"], B: float = 0.3,
                   confidence: str = "on") -> Float[np.ndarray, "*shape"]:
    """(w2 d2 + w3 d3) / (w2 + w3) with w = exp(-B d): below the plain mean, as the larger error weighs less."""
    rate = CONFIDENCE[confidence] * B
    w2, w3 = np.exp(rate * d2), np.exp(rate * d3)
    return (w2 * d2 + w3 * d3) / (w2 + w3 + 1e-8)


def fuse(parts: Mapping[str, Float32[np.ndarray, "H W"]], seen: Bool[np.ndarray, "H W"],
         s: FusionSettings) -> Float32[np.ndarray, "H W"]:
    """Psi before its smoothing, from the distance maps; zero outside `seen`.

    Without the mapping errors (one modality) it is the one reconstruction error, that of RGB smoothed.
    """
    rec = {name: parts[name] for name in ("rec_rgb", "rec_xyz") if name in parts}
    if "rec_rgb" in rec:
        rec["rec_rgb"] = smooth(rec["rec_rgb"], s.rec_smooth)
    A_rec = confident_mean(rec["rec_rgb"], rec["rec_xyz"], s.B, s.confidence) if len(rec) == 2 else next(iter(rec.values()))
    if "map_rgb" not in parts:
        return np.where(seen, A_rec, 0)
    J = parts["map_rgb"] * parts["map_xyz"]
    A_map = reliability(J, s.alpha, s.beta, s.window) * J if s.gate else J
    return np.where(seen, A_map * A_rec, 0)


def finished(parts: Mapping[str, Float32[np.ndarray, "H W"]], seen: Bool[np.ndarray, "H W"], s: FusionSettings) -> Scores:
    """The smoothed Psi, its image score and the distance maps themselves."""
    blur = s.smooth if s.smooth != "auto" else "box_cfm" if "map_rgb" in parts else "none"
    smoothed = smooth(fuse(parts, seen, s), blur)
    return Scores(smoothed, image_score(smoothed, s.image_norm), dict(parts))
