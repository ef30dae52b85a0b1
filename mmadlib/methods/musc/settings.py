"""Settings of MuSc-V2 and its variants: the published forms, and the clean ones that are the defaults."""

from __future__ import annotations

from dataclasses import dataclass

from mmadlib.checks import check_fields
from mmadlib.errors import SettingsError
from mmadlib.methods.musc.enhance import TIES
from mmadlib.methods.scoring import SMOOTHINGS

MODALITIES = {"both": ("rgb", "xyz"), "rgb": ("rgb",), "xyz": ("xyz",)}
CHOICES = {"modality": MODALITIES, "scale": ("standard", "unit"), "aggregate": ("none", "clean", "published"), "ties": TIES,
           "fusion": ("balanced", "plain"), "rescore": ("none", "clean", "published"), "smooth": SMOOTHINGS}


@dataclass(frozen=True)
class Settings:
    """Where a switch has a "published" form, it is that of the released code; "clean" leaves out its slips."""

    modality: str = "both"  # both | rgb | xyz
    share: float = 0.3  # of the other parts: the lowest distances that are averaged
    grid: int = 56  # tokens are compared on a grid x grid raster of cells; 0: every pixel
    every: int = 1  # 2: every second cell, as on a chessboard, a quarter of the time; 3: every third
    masked: bool = True  # compare cells of the foreground alone; published: all
    scale: str = "standard"  # tokens / sqrt(C), standardised where the family is | unit: of length 1 (ViT, Point-MAE)
    anchor: float = 1.0  # of the directions of standardised tokens (unit, RsCon); Euclidean distances do not change
    rgb_layers: int = 1  # layers of the encoder that lie side by side in the channels; each is scored on its own
    xyz_layers: int = 1  # 3 for Point-MAE
    aggregate: str = "none"  # SNAMD: none | clean: scaled tokens of the foreground | published: raw tokens, zeros beyond
    degrees: str = "1 3 5"  # of SNAMD, odd
    # cross-modal enhancement, of modality "both"; image AUROC on learned features, data seed 0, mean of keyed, free, organic
    # and plain, all parts at once, every second cell: with it .904, without .841
    cae: bool = True
    ties: str = "mean"  # of CAE's rankings, see enhance.ranked
    fusion: str = "balanced"  # sum of the maps, each over its mean in the batch | plain: as they are
    corners: bool = False  # the outermost cells lie on the outermost pixels, as published
    rescore: str = "none"  # RsCon: none | clean | published: min-max of the batch, lengths of tokens weigh
    window: int = 7  # parts that RsCon looks at, besides a part alone
    smooth: str = "gauss4_reflect"  # of the sum; see mmadlib.methods.scoring

    def __post_init__(self) -> None:
        check_fields(self, least={"grid": 0, "every": 1, "rgb_layers": 1, "xyz_layers": 1, "window": 1}, choices=CHOICES,
                     shares=["share"], not_negative=["anchor"])
        if self.every > 3:
            raise SettingsError(f"setting every={self.every}: beyond 3 some pixels have no cell near; take a smaller grid")
        if not self.windows or any(r % 2 == 0 for r in self.windows):
            raise SettingsError(f"setting degrees={self.degrees!r}: odd whole numbers are needed, such as '1 3 5'")
        if self.cae and self.modality == "both" and self.rgb_layers != self.xyz_layers:
            raise SettingsError(f"cae=True pairs the layers of both sides, but rgb_layers={self.rgb_layers} and "
                                f"xyz_layers={self.xyz_layers}; make them equal")

    @property
    def windows(self) -> tuple[int, ...]:
        """The degrees as numbers; empty where they are none."""
        parts = self.degrees.split()
        return tuple(map(int, parts)) if all(part.isdecimal() for part in parts) else ()


PUBLISHED = {"masked": False, "scale": "unit", "anchor": 0.0, "aggregate": "published", "cae": True, "ties": "stable",
             "fusion": "plain", "corners": True, "rescore": "published", "smooth": "none"}
VARIANTS: dict[str, dict] = {
    "default": {}, "published": PUBLISHED, "rgb": {"modality": "rgb"}, "xyz": {"modality": "xyz"},
    "plain": {"fusion": "plain"}, "no_cae": {"cae": False}, "snamd": {"aggregate": "clean"}, "rscon": {"rescore": "clean"},
    "rscon_published": {"rescore": "published"}, "unit": {"scale": "unit"}, "every_2": {"every": 2},
    "share_0.1": {"share": 0.1}, "share_0.5": {"share": 0.5}, "share_1": {"share": 1.0},
}
