"""Shape-Guided: dual memory of signed-distance shape codes and RGB features (Chu et al., ICML 2023).

A PointNet turns each local patch of the cloud into a shape code f, whose decoder is a local signed distance field (network.py,
pre-trained in pretraining.py). The memory holds the codes of normal patches and, linked to each, the RGB cells around it
(memory.py, links.py). A patch of a new part is explained by few of the codes nearest to its own, f_dict (pursuit.py): s_sdf is
the largest ||f - f_dict||, the SDF map |sdf| of the points in the field of f_dict. The codes retrieved choose the RGB cells
that may explain the part's colour: the RGB map is the distance of a cell to what few of these rebuild of it, s_rgb its largest
value (maps.py). The image score is s_sdf * s_rgb; the map is the larger of the two, once the RGB map is brought to the scale
of the other (alignment.py).

Distances are Euclidean and so is the pursuit: features that we standardise are taken as they are, without an anchor. Centred
rows differ more in length than rows with their mean, and the published pursuit prefers long ones; see `atoms` in settings.py.
Source: the paper and, where it is silent, the behaviour of jayliu0313/Shape-Guided (core/features.py,
core/rgb_sdf_feature.py). Unlike there, the network is trained on the category's own normal samples alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float32

from mmadlib.features.field import Features
from mmadlib.methods.base import Scores
from mmadlib.methods.scoring import smooth
from mmadlib.methods.shape_guided.alignment import aligned, fuse
from mmadlib.methods.shape_guided.links import linked, on_object, touched
from mmadlib.methods.shape_guided.maps import cell_distances, enlarged, pixel_minimum
from mmadlib.methods.shape_guided.memory import Memory
from mmadlib.methods.shape_guided.patches import Patches
from mmadlib.methods.shape_guided.pretraining import Pretrained
from mmadlib.methods.shape_guided.pursuit import explain
from mmadlib.methods.shape_guided.settings import VARIANTS, Settings
from mmadlib.methods.token_grid import grid_size, on_grid, on_raster, to_pixels
from mmadlib.methods.trained import CHUNK
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


class ShapeGuided(Pretrained):
    """Shape codes and the colour that belongs to them. parts: "sdf", "rgb", raw, those in use.

    With branch "both" a test sample without colour is judged by its shape alone, on another scale: compare it with samples
    that miss the same. Nothing is judged without 3D.
    """

    name = "shape_guided"
    SETTINGS = Settings
    VARIANTS = VARIANTS

    @property
    def needs(self) -> tuple[str, ...]:
        return ("rgb", "xyz") if "rgb" in self.settings.parts else ("xyz",)

    def finish(self, features: Sequence[Features], progress: bool, checkpoint: Path | None) -> None:
        """The memory of all normal samples, then the alignment of both maps on some of them."""
        s = self.settings
        codes, rgb, links = [], [], []
        for i in bar(self.usable, f"{self.name}: memory", progress):
            seen = self.look(features[i], s.parts)
            codes.append(seen.codes)
            rgb.append(seen.rgb)
            links.append(on_object(linked(seen.under, seen.grid, s.rgb_link), seen.under) & ("rgb" in s.parts))
        self.memory, self.align = Memory.of(codes, rgb, links), (1.0, 0.0)
        if s.align != "off" and len(s.parts) == 2:
            self.align = self.alignment(features, progress)

    def alignment(self, features: Sequence[Features], progress: bool) -> tuple[float, float]:
        """a, b from normal samples, each measured without its own codes and cells.

        With one sample there would be nothing left, and align "first" (published) leaves the others in, too: then only the
        first neighbour of each code and cell is left out, which is that very code or cell. Both maps are too small then, and
        a, b relate the one to the other.
        """
        s, values = self.settings, {part: [] for part in self.settings.parts}  # type: ignore[var-annotated]
        some = np.random.default_rng([self.seed, ALIGNED]).permutation(len(self.usable))[:s.align_images]
        own = s.align == "first" or len(self.usable) == 1
        for j in bar(some.tolist(), f"{self.name}: alignment", progress):
            memory = self.memory if own else self.memory.without(j)
            maps, _ = self.judge(features[self.usable[j]], s.parts, memory, skip=int(own))
            for part, found in maps.items():
                values[part].append(smooth(found, s.smooth).ravel())
        return aligned(*(np.concatenate(values[part]) for part in ("sdf", "rgb")))

    @torch.no_grad()
    def look(self, features: Features, parts: Sequence[str]) -> Seen:
        """Patches and codes; the RGB features, too, where these are asked for."""
        s, patches = self.settings, self.cut(features, self.settings.mult)
        codes = torch.cat([self.net.encoder(some) for some in self.chunked(torch.from_numpy(patches.points))]).cpu()
        grid = grid_size(features.size, s.rgb_grid)
        rgb = self.rgb_cells(features, grid) if "rgb" in parts else torch.zeros(grid[0] * grid[1], 0)
        return Seen(patches, codes, grid, rgb, touched(patches.cells, patches.raster, grid))

    def rgb_cells(self, features: Features, grid: tuple[int, int]) -> Float32[torch.Tensor, "G C"]:
        """Standardised RGB features on the raster: an encoder's own cells if it has them, else means over the object."""
        fmap = self.standardise(features, "rgb")
        return fmap.tokens if on_raster(fmap, grid) else on_grid({"rgb": fmap}, self.seen(features), grid).tokens("rgb")

    def chunked(self, rows: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Rows, one a patch, on the device: so many at once that they have about CHUNK points."""
        return rows.to(self.device).split(max(1, CHUNK // self.settings.points))

    @torch.no_grad()
    def judge(self, features: Features, parts: Sequence[str], memory: Memory, skip: int = 0
              ) -> tuple[dict[str, Float32[np.ndarray, "H W"]], dict[str, float]]:
        """The raw maps asked for and the scores s_sdf, s_rgb, by part. skip: see pursuit.explain."""
        s, maps, scores, on = self.settings, {}, {}, self.seen(features)
        seen = self.look(features, parts)
        f_dict, codes = explain(seen.codes, memory.codes, s.k, s.nonzeros, s.atoms, skip)
        if "sdf" in parts:
            cells = pixel_minimum(self.distances(f_dict, seen.patches), seen.patches.cells, seen.patches.raster)
            maps["sdf"] = to_pixels(cells[cells.isfinite()], cells.isfinite(), seen.patches.raster, on)
            scores["sdf"] = float((seen.codes - f_dict).norm(dim=1).max())
        if "rgb" in parts:
            under = torch.from_numpy(seen.under.any(0))
            cells = cell_distances(seen.rgb, under, memory.linked(codes), s.k_rgb, s.nonzeros, s.atoms, skip)
            maps["rgb"] = np.where(on, enlarged(cells, seen.grid, features.size), 0)
            scores["rgb"] = float(cells.max())
        return maps, scores

    def distances(self, codes: Float32[torch.Tensor, "P code"], patches: Patches) -> Float32[torch.Tensor, "P n"]:
        """|sdf| of the points of each patch in the field of a code, in units of the patch's extent."""
        pairs = zip(self.chunked(codes), self.chunked(torch.from_numpy(patches.points)), strict=True)
        return torch.cat([self.net.decoder(*pair) for pair in pairs]).abs().cpu()

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
        if s.image == "map":
            scores = {part: float(found.max()) for part, found in smoothed.items()}
        image = sum(scores.values()) if s.fusion == "sum" else float(np.prod(list(scores.values())))
        if len(parts) == 1:
            return Scores(smoothed[parts[0]], image, maps)
        inside = smooth(on.astype(np.float32), s.smooth)
        return Scores(fuse(smoothed["sdf"], smoothed["rgb"], inside, *self.align, s.pixel_fusion), image, maps)

    def state(self) -> dict[str, torch.Tensor]:
        memory = {f"memory.{k}": v for k, v in self.memory.state().items()}
        return super().state() | memory | {"align": torch.tensor(self.align, dtype=torch.float64)}

    def restore(self, state: dict[str, torch.Tensor]) -> None:
        super().restore(state)
        self.memory = Memory.restored({k.removeprefix("memory."): v for k, v in state.items() if k.startswith("memory.")})
        a, b = state["align"].tolist()
        self.align = (a, b)
