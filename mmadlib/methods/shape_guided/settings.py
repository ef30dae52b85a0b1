"""Settings of Shape-Guided and its variants."""

from __future__ import annotations

from dataclasses import dataclass

from mmadlib.checks import check_fields
from mmadlib.methods.scoring import SMOOTHINGS
from mmadlib.methods.shape_guided.alignment import IMAGE_FUSIONS, PIXEL_FUSIONS
from mmadlib.methods.shape_guided.links import LINKS
from mmadlib.methods.shape_guided.network import SPHERES
from mmadlib.methods.shape_guided.patches import STARTS
from mmadlib.methods.shape_guided.pursuit import ATOMS

BRANCHES = {"both": ("sdf", "rgb"), "sdf": ("sdf",), "rgb": ("rgb",)}
IMAGES = ("map", "patch")
ALIGN = ("image", "first", "off")


@dataclass(frozen=True)
class Settings:
    """Small, so that a category takes seconds; `published` has the sizes of the paper."""

    branch: str = "both"  # both | sdf | rgb: judged by both maps or one; the shape codes choose the RGB cells in either case
    grid: int = 112  # cells a side of the raster that the cloud is sampled on; 0: every pixel
    points: int = 64  # of a patch
    mult: float = 5.0  # patches that a point is in on average: bank and test
    mult_train: float = 5.0  # the same in pre-training
    fps_start: str = "first"  # first | random: the point that farthest point sampling starts at
    width: int = 64  # of the network; see network.Encoder
    code: int = 128  # numbers of a shape code
    layers: int = 7  # weight-normalised layers of the decoder
    sphere: str = "behind"  # behind | centre (published): the field before training; see network.Decoder
    steps: int = 400  # optimiser steps when epochs is 0
    epochs: int = 0  # passes over all training patches, an incomplete last batch left out
    batch: int = 32  # patches per step
    queries: int = 64  # noisy copies of a patch's points per step
    lr: float = 1e-3
    mixed_precision: bool = False  # networks in bfloat16 while training, losses in float32
    k: int = 10  # nearest shape codes
    k_rgb: int = 5  # nearest linked RGB cells
    nonzeros: int = 3  # of these combined; 0: no combination, the nearest one
    atoms: str = "raw"  # raw | unit; see pursuit.pursue
    rgb_grid: int = 56  # cells a side of the RGB raster, 28 in the paper
    rgb_link: str = "published"  # published | dilate2; see links.linked
    align: str = "image"  # image | first | off: which normal codes and cells a training image is measured without
    align_images: int = 25  # training images that the alignment is measured on, at most
    image: str = "map"  # patch: s_sdf and s_rgb, as published | map: the maxima of the smoothed maps in their place
    fusion: str = "product"  # product | sum of the image scores
    pixel_fusion: str = "max"  # max | sum of the aligned maps
    smooth: str = "gauss4"  # of each map before the fusion; see mmadlib.methods.scoring

    def __post_init__(self) -> None:
        check_fields(self, least={"grid": 0, "points": 2, "width": 1, "code": 1, "layers": 0, "steps": 1, "epochs": 0,
                                  "batch": 2, "queries": 1, "k": 1, "k_rgb": 1, "nonzeros": 0, "rgb_grid": 1,
                                  "align_images": 1},
                     choices={"branch": BRANCHES, "fps_start": STARTS, "sphere": SPHERES, "atoms": ATOMS, "rgb_link": LINKS,
                              "align": ALIGN, "image": IMAGES, "fusion": IMAGE_FUSIONS, "pixel_fusion": PIXEL_FUSIONS,
                              "smooth": SMOOTHINGS},
                     positive=["mult", "mult_train", "lr"])

    @property
    def parts(self) -> tuple[str, ...]:
        """The maps that are made."""
        return BRANCHES[self.branch]

    def passes(self, images: int) -> int:
        """Epochs, for any number of training images; 0: `steps` decides."""
        return self.epochs


PUBLISHED = {"grid": 0, "points": 500, "mult": 10.0, "fps_start": "random", "width": 512, "epochs": 601, "queries": 500,
             "sphere": "centre", "lr": 1e-4, "rgb_grid": 28, "align": "first", "image": "patch", "smooth": "pil4"}
VARIANTS: dict[str, dict] = {
    "default": {}, "published": PUBLISHED, "sdf": {"branch": "sdf"}, "rgb": {"branch": "rgb"},
    "dilate2": {"rgb_link": "dilate2"}, "nearest": {"nonzeros": 0},
}
