"""Pre-training of the SDF network: noisy copies of a patch's points are pulled back onto its surface.

Source: jayliu0313/Shape-Guided cut_patches.py, train_3Dmodel.py.
"""

from __future__ import annotations

import torch
from jaxtyping import Float

from mmadlib.methods.shape_guided.network import SDF

NEIGHBOUR = 0.1  # of a patch's points lie within a copy's standard deviation: the 51st of 500, a point itself is the first
NEAR, NEAR_SHARE = 0.5, 13 / 20  # this share of the copies has so much of that deviation, the others all of it


def noisy(points: Float[torch.Tensor, "P n 3"], q: int) -> tuple[Float[torch.Tensor, "P q 3"], Float[torch.Tensor, "P q 3"]]:
    """q noisy copies of each patch's points, and the surface point that each is nearest to.

    Drawn anew by torch's generator; officially 20 copies of every point are drawn once and kept, 13 of them near. The points
    are drawn, too, unless q is at least n, which is one copy of each point.
    """
    P, n, _ = points.shape
    apart = torch.cdist(points, points).sort(dim=-1).values[..., min(n - 1, int(NEIGHBOUR * n))]
    pick = torch.rand(P, n).argsort(dim=1)[:, :q]
    sigma = apart.gather(1, pick) * torch.where(torch.rand(pick.shape) < NEAR_SHARE, NEAR, 1.0)
    chosen = points.gather(1, pick[..., None].expand(-1, -1, 3))
    queries = chosen + sigma[..., None] * torch.randn(chosen.shape)
    surface = torch.cdist(queries, points).argmin(-1)
    return queries, points.gather(1, surface[..., None].expand(-1, -1, 3))


def pull_loss(net: SDF, points: Float[torch.Tensor, "P n 3"], queries: Float[torch.Tensor, "P q 3"],
              surface: Float[torch.Tensor, "P q 3"]) -> Float[torch.Tensor, ""]:
    """Mean distance of the pulled queries to the surface points that they are nearest to, in units of a patch's extent."""
    pulled = net.pulled(net.encoder(points), queries)
    return (pulled.float() - surface).norm(dim=-1).mean()
