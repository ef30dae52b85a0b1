"""MuSc-V2: mutual scoring of unlabelled parts (Li, Xue, Zhou, TPAMI 2026, arXiv 2511.10047), on RGB, 3D or both.

No good parts and no training: a batch of parts, good and bad mixed, is its own reference. Normal tokens have a close partner
in most parts, defects in few: a token's score is the mean of the lowest 30 % of its distances to the other parts.

Symbols: A_i (T_i, R) distance of each token of part i to the nearest token of each of the R = N - 1 others (mutual.py); CAE
(enhance.py), SNAMD (aggregate.py) and RsCon (rescore.py) are switches. Both sides lie on one raster of cells, so token t of
one side belongs to token t of the other, and the paper's grouping of points (IPG) and its match of groups with patches are
not needed: features hold no centres of groups, and IPG changes the groups before the encoder sees them. Source of the
published forms: HUST-SLOW/MuSc-V2 (MIT); of the paper only the abstract was at hand.

The setting is transductive: a score depends on the batch. Known limits: the same defect in more than about `share` of the
parts counts as normal; a rare but legal variant scores high; a normal patch in a wrong place is normal; values do not carry
over to another batch.
"""

from __future__ import annotations

import hashlib
import warnings
import weakref
from collections.abc import Mapping, Sequence
from typing import Self

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float32, Float64

from mmadlib.errors import SettingsError, TrainingError
from mmadlib.features.field import Features
from mmadlib.methods.base import Method, Scores
from mmadlib.methods.musc.enhance import enhanced
from mmadlib.methods.musc.mutual import both_minima, lowest, mutual_distances
from mmadlib.methods.musc.raster import chosen, cornered, scaled, spread
from mmadlib.methods.musc.rescore import min_max, rescored
from mmadlib.methods.musc.settings import MODALITIES, VARIANTS, Settings
from mmadlib.methods.scoring import smooth
from mmadlib.methods.token_grid import grid_size, on_grid, on_raster, to_pixels

LEAST = 3  # parts: of two, nobody can say which one is odd
Tokens = dict[str, list[Float32[torch.Tensor, "T _C"]]]  # of a part: by side, layer by layer


class MuSc(Method):
    """`score_batch` judges a batch as a whole. parts: "rgb", "xyz", the token scores of a side on the pixels, raw.

    As a Method, `fit` keeps a batch and `score` compares one part with it: a part of the batch without itself, a new one
    with all. A bank of good parts alone makes it a nearest-neighbour bank, part by part. Re-scoring is of a batch: `score`
    gives the maximum of the map. Tokens are compared by Euclidean distance, for which the anchor does nothing; it serves the
    directions of scale="unit" and of RsCon.
    """

    name = "musc"
    SETTINGS = Settings
    VARIANTS = VARIANTS
    settings: Settings

    @property
    def needs(self) -> tuple[str, ...]:
        return MODALITIES[self.settings.modality]

    def fit(self, features: Sequence[Features], progress: bool = True) -> Self:
        """Keep a batch of unlabelled parts and the mean of its scores; returns self. Raises as score_batch."""
        self.judge(features, progress)
        return self

    def score_batch(self, features: Sequence[Features], progress: bool = True) -> list[Scores]:
        """Scores of the parts of a batch, good and bad mixed, in order; the batch is kept, as by `fit`.

        `image` is the maximum of the map, with rescore what RsCon makes of it; for "published" in [0, 1], a rank within this
        batch. Raises TrainingError for fewer than LEAST parts with foreground, SettingsError for parts that were made
        differently or too many for the memory, MissingModality; warns of parts that are copies of each other.
        """
        found = self.judge(features, progress)
        scores = [self.scores(f, found.get(i, {})) for i, f in enumerate(features)]
        if self.settings.rescore == "none":
            return scores
        image = torch.tensor([s.image for s in scores], dtype=torch.float64)
        image = rescored(min_max(image) if self.settings.rescore == "published" else image,
                         torch.stack([self.salient(i, found.get(i, {})) for i in range(len(features))]), self.settings.window)
        return [Scores(s.map, float(value), s.parts) for s, value in zip(scores, image, strict=True)]

    def judge(self, features: Sequence[Features], progress: bool) -> dict[int, dict[str, Float32[torch.Tensor, " T"]]]:
        """Token scores by side of every part with tokens; keeps the batch."""
        self.start_fit(features)
        every = [self.tokens(f)[0] for f in features]
        self.bank = {i: t for i, t in enumerate(every) if len(t[self.needs[0]][0])}  # parts with foreground, by place
        if len(self.bank) < LEAST:
            raise TrainingError(f"{self.name}: {len(self.bank)} parts with foreground; mutual scoring compares the parts of a "
                                f"batch, give at least {LEAST}, better 10 or more, most of them good")
        self.own = [weakref.ref(f) for f in features]
        self.warn_of_copies()
        places, layers = list(self.bank), {side: len(t) for side, t in self.bank[min(self.bank)].items()}
        A = {side: [mutual_distances([self.bank[i][side][layer] for i in places], progress, f"{self.name}: {side}")
                    for layer in range(n)] for side, n in layers.items()}
        found = {i: self.token_scores({side: [of_layer[at] for of_layer in A[side]] for side in A})
                 for at, i in enumerate(places)}
        self.typical = {side: torch.cat([scores[side] for scores in found.values()]).mean().cpu() for side in self.needs}
        self.fitted = True
        return found

    def warn_of_copies(self) -> None:
        """Identical parts score near 0 everywhere, whatever is wrong with them."""
        seen: dict[bytes, int] = {}
        for i, tokens in self.bank.items():
            key = hashlib.sha256(b"".join(x.cpu().numpy().tobytes() for t in tokens.values() for x in t)).digest()
            if (first := seen.setdefault(key, i)) != i:
                warnings.warn(f"{self.name}: parts {first + 1} and {i + 1} of the batch are the same; a defect that both have "
                              "looks normal, leave one out", stacklevel=4)

    def score(self, features: Features, place: int | None = None) -> Scores:
        """Judge one part against the kept batch.

        A part that is one of the batch is not compared with itself: an object that `fit` was given is known; for features
        that were made anew, or after load, say its `place` in the batch, from 0 on.
        """
        self.check_fitted()
        tokens, valid = self.tokens(features)
        if place is None:
            place = next((i for i, known in enumerate(self.own) if known() is features), None)
        others = [part for i, part in self.bank.items() if i != place]
        if not valid.any():
            return self.scores(features, {})
        A = {side: [torch.stack([both_minima(x, part[side][layer])[0] for part in others], 1)
                    for layer, x in enumerate(layers)] for side, layers in tokens.items()}
        return self.scores(features, self.token_scores(A))

    def token_scores(self, A: Mapping[str, Sequence[Float32[torch.Tensor, "T R"]]]) -> dict[str, Float32[torch.Tensor, " T"]]:
        """Token scores by side from the distances of a part, by side and layer; the layers weigh alike."""
        s, sides = self.settings, {side: list(layers) for side, layers in A.items()}
        if s.cae and len(sides) == 2:
            pairs = [enhanced(a, b, s.ties) for a, b in zip(*sides.values(), strict=True)]
            sides = dict(zip(sides, map(list, zip(*pairs, strict=True)), strict=True))
        return {side: torch.stack([lowest(a, s.share) for a in layers]).mean(0) for side, layers in sides.items()}

    def tokens(self, features: Features) -> tuple[Tokens, Bool[torch.Tensor, " cells"]]:
        """Scaled tokens by side and layer at the cells of a part that count, and which those are."""
        s, grid = self.settings, grid_size(features.size, self.settings.grid)
        maps = {side: self.standardise(features, side, self.device) for side in self.needs}
        coarse = on_grid({side: m for side, m in maps.items() if not on_raster(m, grid)}, self.seen(features), grid)
        valid, found = chosen(coarse.valid, grid, s.every), Tokens()
        for side, fmap in maps.items():
            x, n = coarse.tokens(side) if side in coarse.maps else fmap.tokens, getattr(s, f"{side}_layers")
            if x.shape[1] % n:
                raise SettingsError(f"{side}_layers={n}: {x.shape[1]} channels are not so many equal layers; set it to 1")
            width = getattr(features, side).channels // n
            found[side] = [scaled(layer, coarse.valid, grid, width, s)[valid] for layer in x.chunk(n, dim=1)]
        return found, valid

    def seen(self, features: Features) -> Bool[np.ndarray, "H W"]:
        """The pixels that count."""
        return features.foreground if self.settings.masked else np.ones_like(features.foreground)

    def scores(self, features: Features, found: Mapping[str, Float32[torch.Tensor, " T"]]) -> Scores:
        """The maps of a part from its token scores by side; none for a part without foreground."""
        s, grid = self.settings, grid_size(features.size, self.settings.grid)
        if not found:
            nothing = np.zeros(features.size, np.float32)
            return Scores(nothing, 0.0, dict.fromkeys(self.needs, nothing))
        seen = self.seen(features)
        valid, up = on_grid({}, seen, grid).valid, cornered if s.corners else to_pixels
        some = chosen(valid, grid, s.every)
        parts = {side: up(*spread(values.cpu(), some, valid, grid), grid, seen) for side, values in found.items()}
        weight = {side: 1 / float(self.typical[side].clamp_min(1e-12)) if s.fusion == "balanced" else 1.0 for side in parts}
        smoothed = smooth(np.sum([parts[side] * np.float32(weight[side]) for side in parts], axis=0), s.smooth)
        return Scores(smoothed, float(smoothed.max()), parts)

    def salient(self, place: int, found: Mapping[str, Float32[torch.Tensor, " T"]]) -> Float64[torch.Tensor, " F"]:
        """What RsCon compares of a part: of each side the token with the largest score, of its middle layer.

        Each side of length 1 but for "published", where tokens are as they are.
        """
        rows = []
        for side in self.needs:
            layers = self.bank[min(self.bank)][side]
            middle = len(layers) // 2
            row = self.bank[place][side][middle][found[side].argmax()] if found else torch.zeros_like(layers[middle][0])
            rows.append(row if self.settings.rescore == "published" else F.normalize(row, dim=0))
        return torch.cat(rows).double().cpu()

    def state(self) -> dict[str, torch.Tensor]:
        kept = {f"tokens.{side}.{layer}": torch.cat([part[side][layer] for part in self.bank.values()])
                for side, layers in self.bank[min(self.bank)].items() for layer in range(len(layers))}
        sizes = torch.tensor([len(part[self.needs[0]][0]) for part in self.bank.values()])
        return kept | {f"typical.{side}": mean for side, mean in self.typical.items()} | {
            "sizes": sizes, "places": torch.tensor(list(self.bank))}

    def restore(self, state: dict[str, torch.Tensor]) -> None:
        sizes, places, self.own = state["sizes"].tolist(), state["places"].tolist(), []
        split = {side: [state[f"tokens.{side}.{layer}"].to(self.device).split(sizes)
                        for layer in range(getattr(self.settings, f"{side}_layers"))] for side in self.needs}
        self.bank = {place: {side: [layer[i] for layer in layers] for side, layers in split.items()}
                     for i, place in enumerate(places)}
        self.typical = {side: state[f"typical.{side}"] for side in self.needs}
