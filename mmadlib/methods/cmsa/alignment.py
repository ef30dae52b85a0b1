"""Alignment of two modalities in one latent: heads, what they are trained on, and canonical correlations without training.

All of it is CMSA's (reconstruction): the abstract asks for latent consistency of normal samples across modalities and prints
neither heads nor objective. Ancestors: the patch loss of M3DM (nomewang/M3DM models/feature_fusion.py, one direction, no
temperature) and CLIP's symmetric one; VICReg (Bardes et al., ICLR 2022); ridged canonical correlations (Hotelling; Vinod).

Symbols: x2 (n, C2), x3 (n, C3) features of the same n cells, z2, z3 (n, d) their latents, tau temperature.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Float32, Float64, Int
from torch import nn

from mmadlib.methods.distances import cosine_loss, prediction_error
from mmadlib.methods.training import Terms

VICREG = {"agree": 25.0, "variance": 25.0, "covariance": 1.0}  # weights of the terms, as published there


class Head(nn.Sequential):
    """phi: LayerNorm -> Linear(C, hidden) -> exact GELU -> Linear(hidden, d), not normalised: (n, C) -> (n, d)."""

    def __init__(self, width: int, hidden: int = 512, d: int = 256) -> None:
        super().__init__(nn.LayerNorm(width), nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, d))


class Canonical(nn.Module):
    """A head in closed form: (x - mean) @ matrix, each canonical pair weighted by its correlation. Nothing to train.

    correlations  in [0, 1], largest first; all three are zeros until `canonical` has set them
    """

    mean: Float32[torch.Tensor, " C"]
    matrix: Float32[torch.Tensor, "C d"]
    correlations: Float32[torch.Tensor, " d"]

    def __init__(self, width: int, d: int = 64) -> None:
        super().__init__()
        for name, shape in {"mean": (width,), "matrix": (width, d), "correlations": (d,)}.items():
            self.register_buffer(name, torch.zeros(shape))

    def variates(self, x: Float[torch.Tensor, "n C"]) -> Float[torch.Tensor, "n d"]:
        """Of unit variance and without correlations on the cells that they were found on."""
        return (x - self.mean) @ self.matrix

    def forward(self, x: Float[torch.Tensor, "n C"]) -> Float[torch.Tensor, "n d"]:
        return self.variates(x) * self.correlations


def misalignment(z2: Float[torch.Tensor, "n d"], z3: Float[torch.Tensor, "n d"]) -> Float32[torch.Tensor, " n"]:
    """A_x = 1 - <z2, z3> of the normalised latents, in [0, 2]: half the squared distance, exact near zero.

    A latent of length zero is at .5 from all others.
    """
    return prediction_error(z2.float(), z3.float()) ** 2 / 2


def close(cells: Int[torch.Tensor, " n"], width: int, radius: int) -> Bool[torch.Tensor, "n n"]:
    """Pairs of cells, flat indices of a raster with `width` columns, within a Chebyshev distance."""
    row, column = cells // width, cells % width
    return torch.maximum((row[:, None] - row).abs(), (column[:, None] - column).abs()) <= radius


def alike(x: Float[torch.Tensor, "n C"], share: float) -> Bool[torch.Tensor, "n n"]:
    """Pairs of cells whose features lie as near as the nearest `share` of all n^2 pairs, ties among them; 0: none.

    Where x3_j is like x3_i, the picture of i beside the shape of j is as normal as beside its own: it is no negative.
    """
    nearest = int(share * len(x) ** 2)
    if nearest == 0:
        return torch.zeros(len(x), len(x), dtype=torch.bool, device=x.device)
    distance = torch.cdist(x.float(), x.float())
    return distance <= distance.flatten().kthvalue(nearest).values


def infonce(z2: Float[torch.Tensor, "n d"], z3: Float[torch.Tensor, "n d"], tau: float = 0.1,
            left_out: Bool[torch.Tensor, "n n"] | None = None) -> Float32[torch.Tensor, ""]:
    """.5 [CE(S, diag) + CE(S^T, diag)], S = <z2_i, z3_j> / tau, in float32; log n when all latents coincide.

    left_out  symmetric: pairs that do not count as negatives. A positive pair always counts.
    """
    with torch.autocast(z2.device.type, enabled=False):
        S = F.normalize(z2.float(), dim=-1) @ F.normalize(z3.float(), dim=-1).T / tau
    own = torch.arange(len(S), device=S.device)
    if left_out is not None:
        S = S.masked_fill(left_out & (own[:, None] != own), -torch.inf)
    return (F.cross_entropy(S, own) + F.cross_entropy(S.T, own)) / 2


def variance_hinge(z: Float[torch.Tensor, "n d"]) -> Float32[torch.Tensor, ""]:
    """Mean over the d latents of max(0, 1 - deviation), eps 1e-4 under the root: 0 when all deviations are 1 or more."""
    return F.relu(1 - (z.float().var(0, correction=0) + 1e-4).sqrt()).mean()


def covariance_penalty(z: Float[torch.Tensor, "n d"]) -> Float32[torch.Tensor, ""]:
    """Sum of the squared covariances of different latents, divided by d."""
    z = z.float() - z.float().mean(0)
    with torch.autocast(z.device.type, enabled=False):
        covariance = z.T @ z / len(z)
    return (covariance**2).sum().sub((covariance.diagonal() ** 2).sum()) / z.shape[1]


def vicreg(z2: Float[torch.Tensor, "n d"], z3: Float[torch.Tensor, "n d"]) -> Terms:
    """Weighted terms over all n cells, the last two summed over both sides: 1 - mean cos, variance hinge, covariances.

    Published with the squared distance in place of the cosine, which is what the map measures here.
    """
    terms = {"agree": cosine_loss(z2, z3), "variance": variance_hinge(z2) + variance_hinge(z3),
             "covariance": covariance_penalty(z2) + covariance_penalty(z3)}
    return {name: VICREG[name] * term for name, term in terms.items()}


def whitener(x: Float64[torch.Tensor, "n C"], ridge: float) -> Float64[torch.Tensor, "C C"]:
    """Symmetric W with W (covariance + ridge v I) W = I for centred x; v is the mean variance."""
    covariance = x.T @ x / len(x)
    floor = ridge * covariance.diagonal().mean().clamp_min(1e-12)
    values, vectors = torch.linalg.eigh(covariance + floor * torch.eye(len(covariance), dtype=x.dtype))
    return vectors / values.clamp_min(floor).sqrt() @ vectors.T


def canonical(x2: Float[torch.Tensor, "n C2"], x3: Float[torch.Tensor, "n C3"], d: int,
              ridge: float = 1e-3) -> tuple[Canonical, Canonical]:
    """Canonical correlations of x2 (n, C2) and x3 (n, C3): whiten both, decompose their cross-covariance, keep d pairs.

    In float64 on the CPU. A pair's sign is that of its largest coefficient in x2, made positive. d is at most min(C2, C3).
    """
    x2, x3 = (x.detach().cpu().double() for x in (x2, x3))
    mean2, mean3 = x2.mean(0), x3.mean(0)
    x2, x3 = x2 - mean2, x3 - mean3
    W2, W3 = whitener(x2, ridge), whitener(x3, ridge)
    U, s, Vh = torch.linalg.svd(W2 @ (x2.T @ x3 / len(x2)) @ W3, full_matrices=False)
    matrix2, matrix3 = W2 @ U[:, :d], W3 @ Vh[:d].T
    largest = matrix2.gather(0, matrix2.abs().argmax(0, keepdim=True))
    sign, heads = torch.where(largest < 0, -1.0, 1.0), []
    for mean, matrix in ((mean2, matrix2 * sign), (mean3, matrix3 * sign)):
        head = Canonical(*matrix.shape)
        head.load_state_dict({"mean": mean, "matrix": matrix, "correlations": s[:d].clamp(0, 1)})
        heads.append(head)
    return heads[0], heads[1]
