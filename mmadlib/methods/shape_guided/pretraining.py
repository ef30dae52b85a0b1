"""Pre-training of the SDF network: noisy copies of a patch's points are pulled back onto its surface.

Source: jayliu0313/Shape-Guided cut_patches.py, train_3Dmodel.py.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float

from mmadlib.errors import TrainingError
from mmadlib.features.field import Features
from mmadlib.methods.shape_guided.network import SDF
from mmadlib.methods.shape_guided.patches import Patches, cut
from mmadlib.methods.shape_guided.settings import Settings
from mmadlib.methods.trained import ORDER, Trained
from mmadlib.methods.training import Terms

NEIGHBOUR = 0.1  # of a patch's points lie within a copy's standard deviation: the 51st of 500, a point itself is the first
NEAR, NEAR_SHARE = 0.5, 13 / 20  # this share of the copies has so much of that deviation, the others all of it


def noisy(points: Float[torch.Tensor, "P n 3"], q: int) -> tuple[Float[torch.Tensor, "P q 3"], Float[torch.Tensor, "P q 3"]]:
    """q noisy copies of each patch's points, and the surface point that each is nearest to.

    Drawn anew by torch's generator; officially 20 copies of every point are drawn once and kept, 13 of them near. The points
    are drawn, too, unless q is at least n, which is one copy of each point.
    """
    P, n, _ = points.shape
    apart = torch.cdist(points, points).kthvalue(1 + min(n - 1, int(NEIGHBOUR * n))).values
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


class Pretrained(Trained):
    """The network of a category, trained on patches of its normal clouds; what is made of it, ShapeGuided says."""

    settings: Settings  # type: ignore[assignment]  # all that Trained asks for, but no anchor, because nothing is a cosine
    networks: Mapping[str, SDF]

    def build(self, c2: int, c3: int) -> Mapping[str, SDF]:
        s = self.settings
        return {"sdf": SDF(s.width, s.code, s.layers, s.sphere)}

    @property
    def net(self) -> SDF:
        return self.networks["sdf"]

    def seen(self, features: Features) -> Bool[np.ndarray, "H W"]:
        """The pixels that count: of the object, with a point."""
        return features.foreground & (features.cloud != 0).any(-1)

    def cut(self, features: Features, mult: float) -> Patches:
        s = self.settings
        return cut(features.cloud, self.seen(features), s.grid, s.points, mult, s.fps_start, self.seed)

    def start_fit(self, features: Sequence[Features]) -> None:
        super().start_fit(features)
        if not self.usable:
            raise TrainingError(f"{self.name}: no training sample has 3D points on its foreground, and patches are cut from "
                                "these; give samples with a cloud")
        patches = [self.cut(features[i], self.settings.mult_train).points for i in self.usable]
        self.surfaces = torch.from_numpy(np.concatenate(patches))

    def identity(self, features: Sequence[Features], label: str) -> str:
        patches = hashlib.sha256(self.surfaces.numpy().tobytes()).hexdigest()
        return f"{super().identity(features, label)} {patches}"

    def n_steps(self, epochs: int, steps: int) -> int:
        """`epochs` passes over the training patches in whole batches, at least one a pass; `steps` when epochs is 0."""
        return epochs * self.batches or steps

    @property
    def batches(self) -> int:
        """Whole batches of training patches; one, in which they are repeated, where there are fewer than a batch."""
        return max(1, len(self.surfaces) // self.settings.batch)

    def terms(self, features: Sequence[Features], step: int) -> Terms:
        """The pull loss of a step."""
        s, (epoch, turn) = self.settings, divmod(step, self.batches)
        order = np.random.default_rng([self.seed, ORDER, epoch]).permutation(len(self.surfaces))
        points = self.surfaces[np.resize(order[turn * s.batch:], s.batch)]
        queries, surface = noisy(points, s.queries)
        return {"pull": pull_loss(self.net, *(x.to(self.device) for x in (points, queries, surface)))}
