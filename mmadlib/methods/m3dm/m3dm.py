"""M3DM: memory banks of RGB, 3D and fused patches, their scores brought together by weights (Wang et al., CVPR 2023).

Symbols: x 3D patch, r RGB patch, f fused patch (UFF, see fusion.py); s the image score and A the map of each bank;
l the weights lambda; w the decision layer's (decision.py). Image score sum_i w_i l_i s_i, map sum_i w_i l_i A_i.
Distances are Euclidean and take no anchor; fusion.py says why its cosine needs none. The released code has slips that decide
its numbers; each is a switch here and off by default: statistics of the wrong bank (`bank_norm`), the size of two banks
(`coreset_rule`), a row of zeros (`zero_row`), pairs that do not fit (`uff_pairs`).
Source: nomewang/M3DM feature_extractors/multiple_features.py, dataset.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float32, Float64

from mmadlib.features.field import Features
from mmadlib.methods.banked import Banked
from mmadlib.methods.base import Scores
from mmadlib.methods.m3dm.decision import weights
from mmadlib.methods.m3dm.fusion import Fusion, fitted_fusion, published_order
from mmadlib.methods.m3dm.settings import BANKS, VARIANTS, Settings
from mmadlib.methods.memory import Memory
from mmadlib.methods.patch_rows import Cells, cells_of
from mmadlib.methods.scoring import smooth


class M3DM(Banked):
    """Banks side by side. parts: the distance maps of the banks in use, of "xyz", "rgb" and "fusion"."""

    name = "m3dm"
    SETTINGS = Settings
    VARIANTS = VARIANTS
    settings: Settings

    @property
    def sides(self) -> tuple[str, ...]:
        return BANKS[self.settings.banks]

    @property
    def needs(self) -> tuple[str, ...]:
        return self.sides if self.settings.banks in ("rgb", "xyz") else ("rgb", "xyz")

    @property
    def fuses(self) -> bool:
        """Whether there is a bank of fused patches."""
        return "fusion" in self.sides

    def width(self, side: str) -> int:
        return sum(self.standardise.width(one) for one in (("xyz", "rgb") if side == "fusion" else (side,)))

    def grid_of(self, side: str) -> int:
        return self.settings.rgb_grid if side == "rgb" else self.settings.xyz_grid

    def cells(self, features: Features, side: str) -> Cells:
        found, (shift, scale) = self.fused(features) if side == "fusion" else self.plain(features, side), self.norm[side]
        return Cells((found.values - shift) / scale, found.valid, found.grid)

    def plain(self, features: Features, side: str) -> Cells:
        """x or r: tokens on the grid, or the means of pixels in its cells."""
        seen = features.foreground if self.settings.masked else None
        return cells_of(self.map_of(features, side), seen, self.grid_of(side))

    def pair(self, features: Features) -> tuple[Cells, Cells]:
        """x and the r at the same places: RGB cells are copied to the finer raster of 3D."""
        x, r = self.plain(features, "xyz"), self.plain(features, "rgb")
        if r.grid != x.grid:
            planes = torch.cat([r.image, r.valid.float().reshape(1, *r.grid)])
            planes = F.adaptive_avg_pool2d(planes[None], x.grid)[0].flatten(1).T
            r = Cells(planes[:, :-1].contiguous(), planes[:, -1] == 1, x.grid)
        both = x.valid & r.valid
        return Cells(x.values, both, x.grid), Cells(r.values, both, x.grid)

    @torch.no_grad()
    def fused(self, features: Features) -> Cells:
        """f of every cell."""
        x, r = self.pair(features)
        return Cells(self.uff(x.values.to(self.device), r.values.to(self.device)).cpu(), x.valid, x.grid)

    def learn(self, features: Sequence[Features], progress: bool) -> None:
        """The fusion, if there is one, then shift and scale of every bank."""
        self.losses: list[dict[str, float]] = []
        if self.fuses:
            self.train_fusion(features, progress)
        rule, own = self.settings.bank_norm, torch.tensor([0.0, 1.0])
        self.norm = dict.fromkeys(self.sides, own)
        if rule == "m3dm" and len(self.sides) > 1:
            shared = torch.stack([self.statistics(features, "xyz")[0], self.statistics(features, "rgb")[1]])
            self.norm = dict.fromkeys(self.sides, shared)
        elif rule == "own" or (rule == "m3dm" and self.sides == ("rgb",)):  # the released single 3D and fused banks have none
            self.norm = {side: self.statistics(features, side) for side in self.sides}

    def statistics(self, features: Sequence[Features], side: str) -> Float32[torch.Tensor, " 2"]:
        """Mean and (unbiased) deviation of all numbers of a bank before its coreset, one of each."""
        n, total, squares = 0, 0.0, 0.0
        for f in features:
            rows = (self.fused(f) if side == "fusion" else self.plain(f, side)).rows.double()
            n, total, squares = n + rows.numel(), total + float(rows.sum()), squares + float((rows**2).sum())
        mean = total / max(n, 1)
        std = max(squares - n * mean**2, 0.0) / max(n - 1, 1)
        return torch.tensor([mean, std**0.5 if std > 0 else 1.0])

    def train_fusion(self, features: Sequence[Features], progress: bool) -> None:
        """UFF on pairs of patches of all training images, of each no more than the updates can look at."""
        s, pairs = self.settings, []
        most = -(-s.uff_steps * s.uff_patches // len(features))
        for i, f in enumerate(features):
            x, r = self.pair(f)
            if s.uff_pairs == "published":
                plain = self.plain(f, "rgb").values
                r = Cells(plain[torch.from_numpy(published_order(len(plain), len(x.values)))], x.valid, x.grid)
            n = len(x.rows)
            some = torch.from_numpy(np.sort(np.random.default_rng([self.seed, i]).choice(n, min(most, n), replace=False)))
            pairs.append((x.rows[some].to(self.device), r.rows[some].to(self.device)))
        all_x, all_r = (torch.cat(part) for part in zip(*pairs, strict=True))
        self.uff, self.losses = fitted_fusion(all_x, all_r, s, self.seed, progress)

    def fill(self, features: Sequence[Features], side: str, limit: int = 0) -> Memory:
        """The bank of one side; of 3D, which comes first, the row of zeros is the last one and not counted."""
        s = self.settings
        if side != "xyz" and s.coreset_rule == "m3dm" and "xyz" in self.banks:
            limit = max(1, int(s.coreset * int((self.banks["xyz"].owner >= 0).sum())))
        memory = super().fill(features, side, limit)
        if side != "xyz" or not s.zero_row:
            return memory
        rows = torch.cat([memory.rows.cpu(), torch.zeros(1, memory.rows.shape[1])])
        return Memory(rows, torch.cat([memory.owner, torch.tensor([-1])]), self.device)

    def rows(self, features: Features, side: str) -> Float32[torch.Tensor, "n C"]:
        rows = super().rows(features, side)
        return rows[(rows != 0).all(1)] if side == "xyz" and self.settings.zero_row else rows

    def finish(self, features: Sequence[Features], progress: bool) -> None:
        """The decision layer: weights of image scores and of pixels, from the scores of the training images.

        As published these are measured against banks that hold patches of the same images; `zsum` leaves each image's own
        out (with one image there is nothing else) and takes the pixels' deviations for both, a few images have none.
        """
        s, k = self.settings, len(self.sides)
        if k == 1 or s.dlf == "none":
            self.image_weights, self.map_weights = torch.ones(k), torch.ones(k)
            return
        images, pixels = [], []
        for i, f in enumerate(features):
            maps, scores = self.judged(f, i if s.dlf == "zsum" else None)
            images.append(scores)
            pixels.append(np.stack([self.smoothed(side, amap)[self.seen(f)] for side, amap in maps.items()], 1))
        found = [weights(x, s.dlf) for x in (np.stack(images), np.concatenate(pixels))]
        self.image_weights, self.map_weights = (torch.from_numpy(w).float() for w in found)
        if s.dlf == "zsum":
            self.image_weights = self.map_weights

    def judged(self, features: Features,
               image: int | None = None) -> tuple[dict[str, Float32[np.ndarray, "H W"]], Float64[np.ndarray, " k"]]:
        """A of every bank before smoothing, and l s; image: a training image whose own patches are left out of the banks."""
        found = {side: self.judge(features, side, None if image is None else self.banks[side].without(image))
                 for side in self.sides}
        maps = {side: amap for side, (amap, _) in found.items()}
        return maps, np.array([self.lam(side) * s for side, (_, s) in found.items()])

    def lam(self, side: str) -> float:
        """The lambda of a bank; 1 where it is the only one."""
        return getattr(self.settings, f"weight_{side}") if len(self.sides) > 1 else 1.0

    def smoothed(self, side: str, amap: Float32[np.ndarray, "H W"]) -> Float32[np.ndarray, "H W"]:
        """l A of one bank."""
        return np.float32(self.lam(side)) * smooth(amap, self.settings.smooth)

    def score(self, features: Features) -> Scores:
        """The weighted sums of the banks' maps and image scores."""
        self.check_fitted()
        maps, s = self.judged(features)
        A = np.stack([self.smoothed(side, amap) for side, amap in maps.items()])
        smoothed = np.tensordot(self.map_weights.numpy(), A, 1)
        return Scores(smoothed, self.image(smoothed, float(self.image_weights.double().numpy() @ s)), maps)

    def state(self) -> dict[str, torch.Tensor]:
        kept = {f"norm.{side}": norm.clone() for side, norm in self.norm.items()}
        kept |= {f"uff.{k}": v for k, v in self.uff.state_dict().items()} if self.fuses else {}
        return super().state() | kept | {"image_weights": self.image_weights.clone(), "map_weights": self.map_weights.clone()}

    def restore(self, state: Mapping[str, torch.Tensor]) -> None:
        self.norm = {side: state[f"norm.{side}"] for side in self.sides}
        self.image_weights, self.map_weights = state["image_weights"], state["map_weights"]
        if self.fuses:
            self.uff = Fusion(self.standardise.width("xyz"), self.standardise.width("rgb")).to(self.device).eval()
            self.uff.load_state_dict({k.removeprefix("uff."): v for k, v in state.items() if k.startswith("uff.")})
        super().restore(state)
