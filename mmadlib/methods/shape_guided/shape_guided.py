"""Shape-Guided: dual memory of signed-distance shape codes and RGB features (Chu et al., ICML 2023).

A PointNet turns each local patch of the cloud into a shape code f, whose decoder is a local signed distance field (network.py,
pre-trained in pretraining.py). The memory holds the codes of normal patches and, linked to each, the RGB cells around it
(memory.py, links.py). A patch of a new part is explained by few of the codes nearest to its own, f_dict (pursuit.py): s_sdf is
the largest ||f - f_dict||, the SDF map |sdf| of the points under the field of f_dict. The codes retrieved choose the RGB cells
that may explain the part's colour: the RGB map is the distance of a cell to what few of these rebuild of it, s_rgb its largest
value. The image score is s_sdf * s_rgb; the map is the larger of the two, once the RGB map is brought to the scale of the
other (alignment.py).

Distances are Euclidean and so is the pursuit: they take features that we standardise as they are, without an anchor.
Source: the paper and, where it is silent, the behaviour of jayliu0313/Shape-Guided (core/features.py,
core/rgb_sdf_feature.py). Unlike there, the network is trained on the category's own normal samples alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float32

from mmadlib.errors import TrainingError
from mmadlib.features.field import Features
from mmadlib.methods.base import Scores
from mmadlib.methods.scoring import smooth
from mmadlib.methods.shape_guided.alignment import aligned, fuse
from mmadlib.methods.shape_guided.links import linked, touched
from mmadlib.methods.shape_guided.memory import Memory
from mmadlib.methods.shape_guided.network import SDF
from mmadlib.methods.shape_guided.patches import Patches, cut
from mmadlib.methods.shape_guided.pretraining import noisy, pull_loss
from mmadlib.methods.shape_guided.pursuit import explain
from mmadlib.methods.shape_guided.settings import VARIANTS, Settings
from mmadlib.methods.token_grid import grid_size, on_grid, on_raster, to_pixels
from mmadlib.methods.trained import CHUNK, ORDER, Trained
from mmadlib.methods.training import Terms
from mmadlib.progress import bar

ALIGNED = 8  # stream of random numbers: the training images of the alignment


@dataclass(frozen=True, eq=False)
class Seen:
    """What the method sees of one sample: patches, their codes, the RGB raster and the cells that each patch touches."""

    patches: Patches
    codes: Float32[torch.Tensor, "P code"]
    grid: tuple[int, int]
    rgb: Float32[torch.Tensor, "G C"]
    under: Bool[np.ndarray, "P G"]


class ShapeGuided(Trained):
    """Shape codes and the colour that belongs to them. parts: "sdf", "rgb", raw, those in use.

    With branch "both" a test sample without colour is judged by its shape alone, on another scale: compare it with samples
    that miss the same. Nothing is judged without 3D.
    """

    name = "shape_guided"
    SETTINGS = Settings
    VARIANTS = VARIANTS
    settings: Settings  # type: ignore[assignment]  # all that Trained asks for, but no anchor, because nothing is a cosine
    networks: Mapping[str, SDF]

    @property
    def needs(self) -> tuple[str, ...]:
        return ("rgb", "xyz") if "rgb" in self.settings.parts else ("xyz",)

    def build(self, c2: int, c3: int) -> Mapping[str, SDF]:
        s = self.settings
        return {"sdf": SDF(s.width, s.code, s.layers)}

    @property
    def net(self) -> SDF:
        return self.networks["sdf"]

    def seen(self, features: Features) -> Bool[np.ndarray, "H W"]:
        """The pixels that count: of the object, with a point."""
        return features.foreground & (features.cloud != 0).any(-1)

    def cut(self, features: Features, mult: float) -> Patches:
        s = self.settings
        return cut(features.cloud, self.seen(features), s.grid, s.points, mult, s.fps_start, self.seed)

    # pre-training

    def start_fit(self, features: Sequence[Features]) -> None:
        super().start_fit(features)
        if not self.usable:
            raise TrainingError(f"{self.name}: no training sample has 3D points on its foreground, and patches are cut from "
                                "these; give samples with a cloud")
        patches = [self.cut(features[i], self.settings.mult_train).points for i in self.usable]
        self.surface = torch.from_numpy(np.concatenate(patches))

    def identity(self, features: Sequence[Features], label: str) -> str:
        patches = hashlib.sha256(self.surface.numpy().tobytes()).hexdigest()
        return f"{super().identity(features, label)} {patches}"

    def n_steps(self, epochs: int, steps: int) -> int:
        """`epochs` passes over the training patches in whole batches, at least one a pass; `steps` when epochs is 0."""
        return epochs * self.batches or steps

    @property
    def batches(self) -> int:
        """Whole batches of training patches; one, in which they are repeated, where there are fewer than a batch."""
        return max(1, len(self.surface) // self.settings.batch)

    def terms(self, features: Sequence[Features], step: int) -> Terms:
        """The pull loss of a step."""
        s, (epoch, turn) = self.settings, divmod(step, self.batches)
        order = np.random.default_rng([self.seed, ORDER, epoch]).permutation(len(self.surface))
        points = self.surface[np.resize(order[turn * s.batch:], s.batch)]
        queries, surface = noisy(points, s.queries)
        return {"pull": pull_loss(self.net, *(x.to(self.device) for x in (points, queries, surface)))}

    @torch.no_grad()
    def finish(self, features: Sequence[Features], progress: bool, checkpoint: Path | None) -> None:
        """The memory of all normal samples, then the alignment of both maps on some of them."""
        s, codes, rgb, links = self.settings, [], [], []
        for i in bar(self.usable, f"{self.name}: memory", progress):
            seen = self.look(features[i], s.parts)
            valid = seen.under.any(0)
            link = linked(seen.under, seen.grid, s.rgb_link) & valid
            link[~link.any(1)] = seen.under[~link.any(1)]  # all of them off the object: its own cells are better than none
            codes, rgb, links = [*codes, seen.codes], [*rgb, seen.rgb], [*links, link]
        self.memory, self.align = Memory.of(codes, rgb, links), (1.0, 0.0)
        if s.align != "off" and len(s.parts) == 2:
            self.align = self.alignment(features, progress)

    def alignment(self, features: Sequence[Features], progress: bool) -> tuple[float, float]:
        """a, b from some normal samples, each judged without itself (align "image"), as one sample can not be and with
        "first" none is: then without the first neighbour of each code and cell, which is the very same one."""
        s, values = self.settings, {part: [] for part in self.settings.parts}
        some = np.random.default_rng([self.seed, ALIGNED]).permutation(len(self.usable))[:s.align_images]
        alone = s.align == "first" or len(self.usable) == 1
        for j in bar(some, f"{self.name}: alignment", progress):
            sample = features[self.usable[j]]
            parts, _ = self.judge(sample, s.parts, self.memory if alone else self.memory.without(j), skip=int(alone))
            for part, found in parts.items():
                values[part].append(smooth(found, s.smooth).ravel())
        return aligned(*(np.concatenate(values[part]) for part in ("sdf", "rgb")))

    # what is seen of a sample, and what is made of it

    def look(self, features: Features, parts: Sequence[str]) -> Seen:
        """Patches and codes; the RGB features, too, where these are asked for."""
        s, patches = self.settings, self.cut(features, self.settings.mult)
        codes = torch.cat([self.net.encoder(some) for some in self.chunked(torch.from_numpy(patches.points))]).cpu()
        grid = grid_size(features.size, s.rgb_grid)
        under = touched(patches.cells, patches.raster, grid)
        rgb = self.rgb_cells(features, grid) if "rgb" in parts else torch.zeros(grid[0] * grid[1], 0)
        return Seen(patches, codes, grid, rgb, under)

    def rgb_cells(self, features: Features, grid: tuple[int, int]) -> Float32[torch.Tensor, "G C"]:
        """Standardised RGB features on the raster: an encoder's own cells if it has them, else means over the object."""
        fmap = self.standardise(features, "rgb")
        return fmap.tokens if on_raster(fmap, grid) else on_grid({"rgb": fmap}, self.seen(features), grid).tokens("rgb")

    def chunked(self, patches: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Rows of patches on the device, about CHUNK points at once."""
        return patches.to(self.device).split(max(1, CHUNK // self.settings.points))

    def judge(self, features: Features, parts: Sequence[str], memory: Memory, skip: int = 0
              ) -> tuple[dict[str, Float32[np.ndarray, "H W"]], dict[str, float]]:
        """The raw maps asked for and the image scores s_sdf, s_rgb, by part. skip: see pursuit.explain."""
        s, maps, scores = self.settings, {}, {}
        seen = self.look(features, parts)
        f_dict, codes = explain(seen.codes, memory.codes, s.k, s.nonzeros, s.atoms, skip)
        if "sdf" in parts:
            distance = self.distances(f_dict, seen.patches)
            cells = pixel_minimum(distance, seen.patches.cells, seen.patches.raster)
            maps["sdf"] = to_pixels(cells[cells.isfinite()], cells.isfinite(), seen.patches.raster, self.seen(features))
            scores["sdf"] = float((seen.codes - f_dict).norm(dim=1).max())
        if "rgb" in parts:
            cells = torch.from_numpy(seen.under.any(0))
            distance = cell_distances(seen.rgb, cells, memory.linked(codes), s.k_rgb, s.nonzeros, s.atoms, skip)
            maps["rgb"] = np.where(self.seen(features), enlarged(distance, seen.grid, features.size), 0)
            scores["rgb"] = float(distance.max())
        return maps, scores

    def distances(self, codes: Float32[torch.Tensor, "P code"], patches: Patches) -> Float32[torch.Tensor, "P n"]:
        """|sdf| of the points of each patch, in units of its extent, in the field of a code."""
        pairs = zip(self.chunked(codes), self.chunked(torch.from_numpy(patches.points)), strict=True)
        return torch.cat([self.net.decoder(*pair) for pair in pairs]).abs().cpu()

    @torch.no_grad()
    def score(self, features: Features) -> Scores:
        """Anomaly map, image score and the maps it is made of. Raises MissingModality without 3D, or where the branch is RGB
        alone and the sample has none. A sample without any point on its foreground is judged normal."""
        self.check_fitted()
        s, on, zero = self.settings, self.seen(features), np.zeros(features.size, np.float32)
        self.standardise(features, "xyz")  # nothing is taken from there, but a sample without 3D has no cloud
        parts = [part for part in s.parts if part != features.missing] or list(s.parts)
        if not on.any():
            return Scores(zero, 0.0, dict.fromkeys(parts, zero))
        maps, scores = self.judge(features, parts, self.memory)
        smoothed = {part: smooth(found, s.smooth) for part, found in maps.items()}
        if len(parts) == 1:
            return Scores(smoothed[parts[0]], scores[parts[0]], maps)
        image = scores["sdf"] * scores["rgb"] if s.fusion == "product" else scores["sdf"] + scores["rgb"]
        fused = fuse(smoothed["sdf"], smoothed["rgb"], smooth(on.astype(np.float32), s.smooth), *self.align, s.pixel_fusion)
        return Scores(fused, image, maps)

    def state(self) -> dict[str, torch.Tensor]:
        memory = {f"memory.{k}": v for k, v in self.memory.state().items()}
        return super().state() | memory | {"align": torch.tensor(self.align, dtype=torch.float64)}

    def restore(self, state: dict[str, torch.Tensor]) -> None:
        super().restore(state)
        a, b = state["align"].tolist()
        self.align = (a, b)
        self.memory = Memory.restored({k.removeprefix("memory."): v for k, v in state.items() if k.startswith("memory.")})


def pixel_minimum(distance: Float32[torch.Tensor, "P n"], cells: np.ndarray,
                  raster: tuple[int, int]) -> Float32[torch.Tensor, " cells"]:
    """The smallest distance that any patch gives to a cell; infinite where there is no patch."""
    found = torch.full((raster[0] * raster[1],), torch.inf)
    return found.scatter_reduce(0, torch.from_numpy(cells).flatten(), distance.flatten(), "amin")


def cell_distances(rgb: Float32[torch.Tensor, "G C"], cells: Bool[torch.Tensor, " G"], dictionary: Float32[torch.Tensor, "D C"],
                   k: int, nonzeros: int, atoms: str = "raw", skip: int = 0) -> Float32[torch.Tensor, " G"]:
    """Distance of these cells of the raster to what the dictionary rebuilds of them; 0 elsewhere."""
    found = torch.zeros(len(rgb))
    found[cells] = (rgb[cells] - explain(rgb[cells], dictionary, k, nonzeros, atoms, skip)[0]).norm(dim=1)
    return found


def enlarged(values: Float32[torch.Tensor, " G"], grid: tuple[int, int],
             size: tuple[int, int]) -> Float32[np.ndarray, "H W"]:
    """A raster on the pixels, bilinear."""
    return F.interpolate(values.reshape(1, 1, *grid), size, mode="bilinear", align_corners=False)[0, 0].numpy()
