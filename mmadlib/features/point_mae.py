"""3D tokens of a frozen Point-MAE encoder (Pang et al., ECCV 2022), as the anomaly detection codes run it.

Groups of points around farthest-point centres become tokens of a transformer; three of its depths are concatenated.
Parameter names are those of the official checkpoint. Source of the behaviour: Pang-Yatian/Point-MAE models/Point_MAE.py;
CVLAB-Unibo/crossmodal-feature-mapping models/full_models.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Float32, Int64
from torch import nn

from mmadlib import paths
from mmadlib.checks import check_device
from mmadlib.errors import SettingsError, WeightsError, explain, unknown
from mmadlib.features.grouping import farthest_points, first_point, nearest, three_nearest
from mmadlib.features.tokens import Groups
from mmadlib.features.weights import RANDOM, digest, existing, fill, read_state
from mmadlib.prepare.grid import Grid

CHECKPOINT = "pretrain.pth"  # release asset of github.com/Pang-Yatian/Point-MAE
SHA256 = "27ded932bb0a2625d5a8eb006df199b2578598c774aee6d86b985300b6a5fd20"
WIDTH, HEADS, DEPTH = 384, 6, 12
# blocks whose outputs are kept, by depth; else the last one
TAPS: dict[int, tuple[int, ...]] = {12: (3, 7, 11), 8: (1, 4, 7), 4: (1, 2, 3)}
DROP_PATH = torch.linspace(0, 0.1, DEPTH).tolist()


@dataclass(frozen=True)
class Mode:
    """How the encoder runs: BatchNorm on the cloud's own statistics, DropPath alive, cloud brought to the unit sphere."""

    batch: bool
    drop: bool = False
    unit: bool = False


# compat is how the published codes really run: eval() is never called. batch_stats is the same without the dice.
MODES = {"compat": Mode(True, drop=True), "batch_stats": Mode(True), "eval": Mode(False), "eval_unit": Mode(False, unit=True)}


def norm_points(norm: nn.BatchNorm1d, x: Float[torch.Tensor, "n C"], batch: bool) -> Float[torch.Tensor, "n C"]:
    """BatchNorm of x by its own mean and biased variance, or by the stored ones, which are never touched.

    Own statistics do not come from F.batch_norm: of rows it adds up float32 one after the other on a CPU, each thread by
    itself. At 131,072 rows group tokens of spread 0.4 were off by 7e-3, with two threads by 2e-3; this way by 5e-6.
    """
    if not batch:
        return F.batch_norm(x, norm.running_mean, norm.running_var, norm.weight, norm.bias, eps=norm.eps)
    variance, mean = torch.var_mean(x, 0, correction=0)
    return (x - mean).mul_(norm.weight * (variance + norm.eps).rsqrt()).add_(norm.bias)


class LocalEncoder(nn.Module):
    """A group of points to one token: two shared perceptrons, each followed by a maximum over the group."""

    def __init__(self) -> None:
        super().__init__()
        self.first_conv = nn.Sequential(nn.Conv1d(3, 128, 1), nn.BatchNorm1d(128), nn.ReLU(), nn.Conv1d(128, 256, 1))
        self.second_conv = nn.Sequential(nn.Conv1d(512, 512, 1), nn.BatchNorm1d(512), nn.ReLU(), nn.Conv1d(512, WIDTH, 1))

    def forward(self, groups: Float[torch.Tensor, "G M 3"], batch: bool) -> Float[torch.Tensor, "G 384"]:
        """A token of each group from its points minus their centre."""
        g, m, _ = groups.shape
        c1, n1, _, c2 = self.first_conv
        c3, n3, _, c4 = self.second_conv
        assert isinstance(c1, nn.Conv1d) and isinstance(n1, nn.BatchNorm1d) and isinstance(c2, nn.Conv1d)
        assert isinstance(c3, nn.Conv1d) and isinstance(n3, nn.BatchNorm1d) and isinstance(c4, nn.Conv1d)
        x = F.linear(groups.reshape(g * m, 3), c1.weight[..., 0], c1.bias)
        x = F.linear(norm_points(n1, x, batch).relu_(), c2.weight[..., 0], c2.bias).reshape(g, m, 256)
        # a linear layer of [maximum, point] is one of the maximum, computed once per group, plus one of the point
        of_max, of_point = c3.weight[..., 0].split(256, dim=1)
        x = F.linear(x, of_point) + F.linear(x.amax(1), of_max, c3.bias)[:, None]
        x = norm_points(n3, x.reshape(g * m, 512), batch).relu_()
        return F.linear(x, c4.weight[..., 0], c4.bias).reshape(g, m, WIDTH).amax(1)


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.qkv, self.proj = nn.Linear(WIDTH, 3 * WIDTH, bias=False), nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Float[torch.Tensor, "G 384"]) -> Float[torch.Tensor, "G 384"]:
        """Every token attends to all."""
        q, k, v = self.qkv(x).reshape(len(x), 3, HEADS, -1).permute(1, 2, 0, 3)
        return self.proj(F.scaled_dot_product_attention(q, k, v).transpose(0, 1).reshape(x.shape))


class Block(nn.Module):
    """Pre-norm transformer block."""

    def __init__(self) -> None:
        super().__init__()
        self.norm1, self.attn, self.norm2 = nn.LayerNorm(WIDTH), Attention(), nn.LayerNorm(WIDTH)
        self.mlp = nn.ModuleDict({"fc1": nn.Linear(WIDTH, 4 * WIDTH), "fc2": nn.Linear(4 * WIDTH, WIDTH)})

    def forward(self, x: Float[torch.Tensor, "G 384"], keep: tuple[float, float]) -> Float[torch.Tensor, "G 384"]:
        """`keep` scales the two residual branches: 0 drops one, 1/(1 - rate) makes up for it."""
        x = x + keep[0] * self.attn(self.norm1(x)) if keep[0] else x
        return x + keep[1] * self.mlp["fc2"](F.gelu(self.mlp["fc1"](self.norm2(x)))) if keep[1] else x


class Encoder(nn.Module):
    """Groups and centres to tokens; `depth` blocks are kept."""

    def __init__(self, depth: int = DEPTH) -> None:
        super().__init__()
        self.encoder = LocalEncoder()
        self.pos_embed = nn.Sequential(nn.Linear(3, 128), nn.GELU(), nn.Linear(128, WIDTH))
        self.blocks = nn.ModuleDict({"blocks": nn.ModuleList(Block() for _ in range(depth))})
        self.norm = nn.LayerNorm(WIDTH)

    def forward(self, groups: Float[torch.Tensor, "G M 3"], centres: Float[torch.Tensor, "G 3"], batch: bool = True,
                dice: np.random.Generator | None = None) -> Float[torch.Tensor, "G C"]:
        """C is 1152, or 384 at depths without a tap table. `dice` switches DropPath on."""
        x, position = self.encoder(groups, batch), self.pos_embed(centres)
        blocks, kept = list(self.blocks["blocks"].children()), []
        for i, block in enumerate(blocks):
            alive = dice.random(2) >= DROP_PATH[i] if dice else (True, True)
            keep = tuple(float(a) / (1 - DROP_PATH[i] if dice else 1) for a in alive)
            x = block(x + position, keep)
            if i in TAPS.get(len(blocks), (len(blocks) - 1,)):
                kept.append(self.norm(x))
        return torch.cat(kept, dim=1)


class PointMAE:
    """Grid -> Groups. Clouds stay in metres, as published; centres and neighbours as in mmadlib.features.grouping.

    mode: see MODES. weights: the official pretrain.pth or the same as safetensors; None: data/weights/pretrain.pth;
    "random": random weights from `seed`. sha256: None for the published hash, another one, or "any". In mode compat DropPath
    draws from `seed`, on from call to call: features depend on the order, as published. start: the first centre, see
    grouping.first_point. A cloud with fewer than `groups` points gives one group per point. Raises WeightsError,
    SettingsError.
    """

    def __init__(self, blocks: int = DEPTH, mode: str = "batch_stats", weights: str | None = None, sha256: str | None = None,
                 groups: int = 1024, group_size: int = 128, start: int | str = 0, near_origin: bool = False,
                 device: str = "cpu", seed: int = 0) -> None:
        if mode not in MODES:
            raise unknown("backbone_mode", mode, MODES)
        if not 1 <= blocks <= DEPTH:
            raise SettingsError(f"xyz_blocks={blocks}: Point-MAE has {DEPTH} blocks")
        self.mode, self.groups, self.group_size = MODES[mode], groups, group_size
        self.start, self.seed, self.near_origin = start, seed, near_origin and not self.mode.unit
        self.dice = np.random.default_rng(seed) if self.mode.drop else None
        self.device = check_device(device)
        self.encoder = load_encoder(blocks, weights, sha256, seed).to(self.device)
        self.key = digest(self.encoder)

    def group(self, points: Float32[np.ndarray, "N 3"]) -> tuple[Int64[np.ndarray, " G"], Int64[np.ndarray, "G M"]]:
        """Indices of the centres and of their neighbours."""
        start = first_point(points, self.start, self.seed)
        centres = farthest_points(points, min(self.groups, len(points)), start, self.near_origin)
        return centres, nearest(points, points[centres], min(self.group_size, len(points)))

    @torch.inference_mode()
    def tokens(self, points: Float32[np.ndarray, "N 3"]) -> tuple[Float32[np.ndarray, "G C"], Int64[np.ndarray, " G"]]:
        """Tokens and the indices of their centres."""
        if self.mode.unit:
            points = points - points.mean(0, dtype=np.float64).astype(np.float32)
            points = points / max(float(np.linalg.norm(points, axis=1).max()), 1e-12)
        chosen, members = self.group(points)
        centres = torch.from_numpy(points[chosen]).to(self.device)
        groups = torch.from_numpy(points[members]).to(self.device) - centres[:, None]
        return self.encoder(groups, centres, self.mode.batch, self.dice).cpu().numpy(), chosen

    def __call__(self, grid: Grid) -> Groups:
        points = np.ascontiguousarray(grid.xyz[grid.valid])
        tokens, chosen = self.tokens(points)
        index, weight = three_nearest(points, points[chosen])
        return Groups(tokens, index, weight.astype(np.float32))


def weights_file(weights: str | None) -> Path | None:
    """The checkpoint to be read; None for random weights. Raises WeightsError when it is missing."""
    if weights == RANDOM:
        return None
    path = paths.here(weights) if weights else paths.WEIGHTS / CHECKPOINT
    if not path.exists():
        raise WeightsError(explain(paths.shown(path), "there are no Point-MAE weights", f"download {CHECKPOINT} from the "
                                   "releases of github.com/Pang-Yatian/Point-MAE to that place, or give its path as "
                                   "xyz_weights, or use features='descriptors', which need none"))
    return existing(path)


def load_encoder(blocks: int, weights: str | None, sha256: str | None, seed: int) -> Encoder:
    """The frozen encoder with `blocks` blocks; see PointMAE."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        encoder = Encoder(blocks)
    if path := weights_file(weights):
        fill(encoder, read_state(path, sha256 or SHA256, "xyz_sha256"), path)
    return encoder.eval().requires_grad_(False)
