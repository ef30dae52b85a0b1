"""CMDR-IAD: cross-modal mapping and dual-branch reconstruction (Daci et al., 2026, arXiv 2603.03939).

Two networks map each modality to the other, as in CFM; two decoders reconstruct each modality from itself. A reliability
gate stretches the product of the mapping errors, a confidence weight blends the reconstruction errors, and the two results
are multiplied.

Symbols: F2 (N, C2) RGB tokens, F3 (N, C3) 3D tokens of a grid, G: F2 -> F3, M: F3 -> F2; distance maps map_rgb = d(M(F3), F2),
map_xyz = d(G(F2), F3), rec_rgb = d(Dec2D(F2), F2), rec_xyz = d(Dec3D(F3), F3). What becomes of them is in fusion.py.
Facts: the paper's abstract; ECGAI-Research/CMDR-IAD networks/, train.py, inference.py, polyurethane_experiments/. What the
single-modality variants do on colour-and-3D data is our reading of the figures there. The defaults train in seconds on
learned features; workflow/params/ holds the published settings.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import nn

from mmadlib.checks import check_fields
from mmadlib.errors import SettingsError
from mmadlib.features.field import Features
from mmadlib.methods.base import Scores
from mmadlib.methods.cmdr_iad.decoders import Dec2D, Dec3D, Mapping
from mmadlib.methods.cmdr_iad.fusion import FusionSettings, finished
from mmadlib.methods.distances import cosine_loss, prediction_error
from mmadlib.methods.token_grid import OnGrid, grid_size, on_grid, to_pixels
from mmadlib.methods.trained import Trained
from mmadlib.methods.training import Terms

SIDES = {"both": ("rgb", "xyz"), "rgb": ("rgb",), "xyz": ("xyz",)}
DECODERS = {"rgb": "Dec2D", "xyz": "Dec3D"}
OPTIMISERS = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}
HEADS = 8


@dataclass(frozen=True)
class Settings(FusionSettings):
    """Published: epochs 50, grid 0, background keep, attention_window 128. A step takes whole images, so `pixels` stays 0."""

    steps: int = 200
    batch: int = 1
    pixels: int = 0
    modality: str = "both"  # both | rgb (Dec2D alone) | xyz (Dec3D alone)
    grid: int = 56  # the networks work on the cells of a grid x grid raster; 0: on every pixel, as published
    background: str = "zero"  # what the decoders see where the mask is: zero | keep (its features, as published)
    least: int = 32  # least width of a hidden layer; the published ones are above it
    attention_window: int = 32  # tokens, .57 of a row of the grid; published 128, the same share of 224
    dropout: float = 0.1
    dec3d: bool = True  # False: no 3D reconstruction, rec_rgb alone
    optimiser: str = "adam"  # adam | adamw (the polyurethane experiment)
    shared: bool = False  # one optimiser for all networks in place of four

    def __post_init__(self) -> None:
        super().__post_init__()
        check_fields(self, least={"grid": 0, "least": 1, "attention_window": 1},
                     choices={"modality": SIDES, "background": ("zero", "keep"), "optimiser": OPTIMISERS})
        if not 0 <= self.dropout < 1:
            raise SettingsError(f"setting dropout={self.dropout}: must lie in [0, 1)")
        if self.pixels:
            raise SettingsError(f"setting pixels={self.pixels}: the decoders need whole images; leave it 0")
        if self.modality == "xyz" and not self.dec3d:
            raise SettingsError("modality='xyz' with dec3d=False leaves no network; change one of them")


# one part left out or changed at a time, and the single-modality variants
VARIANTS: dict[str, dict] = {
    "default": {}, "rgb_only": {"modality": "rgb"}, "xyz_only": {"modality": "xyz"}, "without_dec3d": {"dec3d": False},
    "without_gate": {"gate": False}, "without_confidence": {"confidence": "off"}, "shared": {"shared": True},
}


class CMDRIAD(Trained):
    """Four networks, trained independently. parts: the distance maps "map_rgb", "map_xyz", "rec_rgb", "rec_xyz".

    A test sample without one modality is judged by the reconstruction of the other.
    """

    name = "cmdr_iad"
    SETTINGS = Settings
    VARIANTS = VARIANTS
    settings: Settings

    @property
    def needs(self) -> tuple[str, ...]:
        return SIDES[self.settings.modality]

    def start_fit(self, features: Sequence[Features]) -> None:
        super().start_fit(features)
        self.grid = grid_size(features[0].size, self.settings.grid)

    def build(self, c2: int, c3: int) -> dict[str, nn.Module]:
        s = self.settings
        networks: dict[str, nn.Module] = {}

        def like(published: int, share: float) -> int:
            """A published width scaled to features of another width, to whole heads."""
            return max(HEADS * round(published * share / HEADS), -(-s.least // HEADS) * HEADS)

        if s.modality == "both":
            hidden = max((c2 + c3) // 2, s.least)
            networks = {"M": Mapping(c3, c2, hidden, s.dropout), "G": Mapping(c2, c3, hidden, s.dropout)}
        if "rgb" in self.needs:
            inner, *middle = (like(width, c2 / 768) for width in (384, 256, 128))
            networks["Dec2D"] = Dec2D(c2, self.grid, inner, HEADS, s.attention_window, middle, s.dropout)
        if "xyz" in self.needs and s.dec3d:
            middle = [like(width, c3 / 1152) for width in (768, 512, 256, 128)]
            networks["Dec3D"] = Dec3D(c3, self.grid[0] * self.grid[1], middle, s.dropout)
        return networks

    def optimisers(self) -> dict[str, torch.optim.Optimizer]:
        """One per network: no loss reaches another network's parameters, so one backward of their sum serves all."""
        make = OPTIMISERS[self.settings.optimiser]
        if self.settings.shared:
            return {"all": make([p for net in self.networks.values() for p in net.parameters()], lr=self.settings.lr)}
        return {name: make(net.parameters(), lr=self.settings.lr) for name, net in self.networks.items()}

    def on_grid(self, features: Features, sides: Sequence[str]) -> OnGrid:
        """The sample's sides on the token grid. Raises SettingsError for a map of another size."""
        if grid_size(features.size, self.settings.grid) != self.grid:
            raise SettingsError(f"a map of {features.size} pixels does not fit the token grid {self.grid} of the training; "
                                "the decoders take maps of one size only")
        maps = {side: self.standardise(features, side, self.device) for side in sides}
        return on_grid(maps, self.seen(features), self.grid, self.settings.background == "keep")

    def image(self, features: Sequence[Features], i: int) -> OnGrid:
        if i not in self._maps:
            self._maps[i] = self.on_grid(features[i], self.needs)
        return self._maps[i]

    def predictions(self, samples: Sequence[OnGrid]) -> dict[str, tuple[Float[torch.Tensor, "n _C"],
                                                                        Float[torch.Tensor, "n _C"]]]:
        """{distance: (predicted, observed)} at the n valid tokens of the samples."""
        valid = torch.stack([sample.valid for sample in samples]).to(self.device)
        tokens = {side: torch.stack([sample.tokens(side) for sample in samples]) for side in samples[0].maps}
        at, net, found = {side: t[valid] for side, t in tokens.items()}, self.networks, {}
        if len(at) == 2:
            found = {"map_rgb": (net["M"](at["xyz"]), at["rgb"]), "map_xyz": (net["G"](at["rgb"]), at["xyz"])}
        for side, decoder in DECODERS.items():
            if side in at and decoder in net:
                found[f"rec_{side}"] = net[decoder](tokens[side])[valid], at[side]
        return found

    def terms(self, features: Sequence[Features], step: int) -> Terms:
        found = self.predictions([self.image(features, i) for i in self.images_of(step)])
        return {name: cosine_loss(*pair) for name, pair in found.items()}

    def sides(self, features: Features) -> Sequence[str]:
        """The modalities that judge a sample: those of the training, or the one it has if a decoder knows that one."""
        left = [side for side in self.needs if side != features.missing and DECODERS[side] in self.networks]
        return left if features.missing and left else self.needs

    @torch.no_grad()
    def score(self, features: Features) -> Scores:
        """Anomaly map, image score and the distance maps of one sample. Raises MissingModality where none is left."""
        self.check_fitted()
        seen = self.seen(features)
        sample = self.on_grid(features, self.sides(features))
        parts = {name: to_pixels(prediction_error(*pair).cpu(), sample.valid, self.grid, seen)
                 for name, pair in self.predictions([sample]).items()}
        return finished(parts, seen, self.settings)

    def state(self) -> dict[str, torch.Tensor]:
        return super().state() | {"grid": torch.tensor(self.grid)}

    def restore(self, state: dict[str, torch.Tensor]) -> None:
        self.grid = tuple(state["grid"].tolist())
        super().restore(state)
