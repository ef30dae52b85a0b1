"""Distances between a predicted and an observed feature, and the image score that the CFM family takes from a map."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Float32

from mmadlib.checks import one_of
from mmadlib.methods.scoring import IMAGE_NORMS, normalise


def cosine_loss(predicted: Float[torch.Tensor, "*n C"], observed: Float[torch.Tensor, "*n C"]) -> Float32[torch.Tensor, ""]:
    """1 - mean cos over n pixels, eps 1e-6, in float32 whatever the precision of the networks; in [0, 2]."""
    return 1 - F.cosine_similarity(predicted.float(), observed.float(), dim=-1, eps=1e-6).mean()


def prediction_error(predicted: Float[torch.Tensor, "*n C"],
                     observed: Float[torch.Tensor, "*n C"]) -> Float[torch.Tensor, "*n"]:
    """|| p/|p| - f/|f| ||_2 per pixel, in [0, 2].

    The difference of unit vectors, not sqrt(2 - 2 cos), which is wrong by up to 5e-4 near zero in float32.
    """
    return (F.normalize(predicted, dim=-1) - F.normalize(observed, dim=-1)).norm(dim=-1)


def image_score(smoothed: Float[np.ndarray, "H W"], image_norm: str) -> float:
    """Maximum of the map rescaled as scoring.IMAGE_NORMS says: of A / sqrt(mean(A[A != 0])) for "cfm", of A for "none".

    0 for an all-zero map.
    """
    one_of("image_norm", image_norm, IMAGE_NORMS)
    kinds = IMAGE_NORMS[image_norm]
    return float((normalise(smoothed, kinds[2]) if kinds else smoothed).max())
