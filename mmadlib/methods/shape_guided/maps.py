"""From distances of points and cells to maps: the minimum over patches, cells explained by a dictionary, their enlargement."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float32, Int64

from mmadlib.methods.shape_guided.pursuit import explain


def pixel_minimum(distance: Float32[torch.Tensor, "P n"], cells: Int64[np.ndarray, "P n"],
                  raster: tuple[int, int]) -> Float32[torch.Tensor, " cells"]:
    """The smallest distance that any patch gives to a cell; infinite where there is no patch."""
    found = torch.full((raster[0] * raster[1],), torch.inf)
    return found.scatter_reduce(0, torch.from_numpy(cells).flatten(), distance.flatten(), "amin")


def cell_distances(rgb: Float32[torch.Tensor, "G C"], cells: Bool[torch.Tensor, " G"],
                   dictionary: Float32[torch.Tensor, "D C"], k: int, nonzeros: int, atoms: str = "raw",
                   skip: int = 0) -> Float32[torch.Tensor, " G"]:
    """Distance of these cells of the raster to what the dictionary rebuilds of them; 0 elsewhere."""
    found = torch.zeros(len(rgb))
    found[cells] = (rgb[cells] - explain(rgb[cells], dictionary, k, nonzeros, atoms, skip)[0]).norm(dim=1)
    return found


def enlarged(values: Float32[torch.Tensor, " G"], grid: tuple[int, int],
             size: tuple[int, int]) -> Float32[np.ndarray, "H W"]:
    """A raster on the pixels, bilinear."""
    return F.interpolate(values.reshape(1, 1, *grid), size, mode="bilinear", align_corners=False)[0, 0].numpy()
