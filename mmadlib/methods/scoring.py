"""From distances to a score map: smoothing, per-image normalisation."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Float32
from PIL import Image, ImageFilter
from scipy.ndimage import gaussian_filter

from mmadlib.errors import unknown

# widths of successive zero-padded mean filters; variance of a w x w mean is (w^2 - 1) / 12 per axis
BOX_CHAINS = {
    "box_cfm": (5, 5, 5, 5, 5, 7, 7, 7),  # 22 px^2; CVLAB-Unibo/crossmodal-feature-mapping cfm_inference.py
    "box_cmdr_rec": (5, 5, 5, 7, 7),  # 14 px^2; ECGAI-Research/CMDR-IAD
    "box_cfr": (5,),  # 2 px^2; Yuan-Honoka-Guo/CFR
}
SMOOTHINGS = ("none", "gauss4", "gauss4_reflect", "pil4", *BOX_CHAINS)
NORMALISATIONS = ("aupro", "p_auroc", "image")
# image_norm -> how a smoothed map is rescaled for AUPRO, for P-AUROC and for the image score; see `normalise`
IMAGE_NORMS = {
    "none": None,
    "cfm": ("aupro", "p_auroc", "image"),  # CFM, CFR and CMDR-IAD
    "figure": ("aupro", "aupro", "aupro"),  # the figure of CMDR-IAD; its "mean over valid" is read as mean over non-zero
    "root": ("image", "image", "image"),  # the polyurethane experiment of CMDR-IAD
}


def _box_chain(amap: np.ndarray, widths: tuple[int, ...]) -> np.ndarray:
    """Zero-padded mean filters one after the other.

    Direct convolution on purpose: the CFM normalisations test the blurred map for exact zeros, and running sums or an FFT
    leave round-off outside the support.
    """
    x = torch.from_numpy(np.ascontiguousarray(amap, dtype=np.float32))[None, None]
    for w in widths:
        x = F.conv2d(x, torch.full((1, 1, w, w), 1.0 / w**2), padding=w // 2)
    return x[0, 0].numpy()


def _pil4(amap: np.ndarray) -> np.ndarray:
    """The 8-bit blur of BTF, M3DM and Shape-Guided: about 218 grey levels survive."""
    top = amap.max()
    if top <= 0:
        return np.zeros_like(amap, dtype=np.float32)
    # torchvision's ToPILImage truncates, it does not round
    grey = Image.fromarray((amap / top * 255).astype(np.uint8))
    return np.asarray(grey.filter(ImageFilter.GaussianBlur(radius=4)), dtype=np.float32) / 255 * top


def smooth(amap: Float[np.ndarray, "H W"], name: str = "gauss4") -> Float32[np.ndarray, "H W"]:
    """Blur an anomaly map by one of the published rules. Nothing is masked again afterwards.

    name: none | gauss4 (Gaussian, sigma 4 px, zero outside) | gauss4_reflect (the same, mirrored outside) | box_cfm |
    box_cmdr_rec | box_cfr | pil4. Source: the papers' text for sigma 4, the official code for the box chains and the 8-bit
    blur; the border of the Gaussian is our choice.
    """
    amap = np.asarray(amap, dtype=np.float32)
    if name == "none":
        return amap.copy()
    if name in ("gauss4", "gauss4_reflect"):
        return gaussian_filter(amap, sigma=4, mode="reflect" if name == "gauss4_reflect" else "constant")
    if name == "pil4":
        return _pil4(amap)
    if name in BOX_CHAINS:
        return _box_chain(amap, BOX_CHAINS[name])
    raise unknown("smoothing", name, SMOOTHINGS)


def normalise(amap: Float[np.ndarray, "H W"], kind: str) -> Float32[np.ndarray, "H W"]:
    """CFM's per-image rescaling of a smoothed map A: the three metrics see three differently scaled maps.

    aupro    A / mean(A[A != 0])
    p_auroc  A / sqrt(mean of A over all pixels)
    image    A / sqrt(mean(A[A != 0]))

    An all-zero map is returned as zeros. Source: CVLAB-Unibo/crossmodal-feature-mapping cfm_inference.py.
    """
    if kind not in NORMALISATIONS:
        raise unknown("normalisation", kind, NORMALISATIONS)
    amap = np.asarray(amap, dtype=np.float32)
    nonzero = amap[amap != 0]
    if nonzero.size == 0:
        return np.zeros_like(amap)
    if kind == "aupro":
        return amap / nonzero.mean()
    return amap / np.sqrt(amap.mean() if kind == "p_auroc" else nonzero.mean())
