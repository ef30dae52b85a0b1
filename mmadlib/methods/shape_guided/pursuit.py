"""Sparse combinations of normal rows that explain a query: orthogonal matching pursuit, all queries at once."""

from __future__ import annotations

import torch
from jaxtyping import Float, Float32, Int64

from mmadlib.methods.banks import Bank

ATOMS = ("raw", "unit")


def pursue(y: Float[torch.Tensor, "m C"], atoms: Float[torch.Tensor, "m k C"], nonzeros: int,
           scale: str = "raw") -> Float32[torch.Tensor, "m C"]:
    """What orthogonal matching pursuit rebuilds of each y from at most `nonzeros` of its own k atoms.

    The atom with the largest product with the residual enters, then the residual is projected anew: here by one
    orthogonal direction more. Equal to scikit-learn's sparse_encode(algorithm="omp") for each y by itself, which takes the
    atoms as they are, so that long ones are preferred: scale "raw". "unit" compares atoms of length 1, and only then is an
    atom that equals y always found, and the residual never above the distance to the nearest atom.
    """
    residual, atoms = y.double(), atoms.double()
    if scale == "unit":
        atoms = torch.nn.functional.normalize(atoms, dim=-1)
    zero = torch.finfo(torch.float32).eps  # below it scikit-learn takes no further atom, nor one that depends on the others
    going, basis = torch.ones(len(y), 1, dtype=torch.bool), []  # type: ignore[var-annotated]
    for _ in range(min(nonzeros, atoms.shape[1])):
        product, best = (atoms @ residual[..., None])[..., 0].abs().max(dim=1, keepdim=True)
        new = atoms.gather(1, best[..., None].expand(-1, -1, atoms.shape[2]))[:, 0]
        for direction in basis:
            new = new - (new * direction).sum(1, keepdim=True) * direction
        square = new.square().sum(1, keepdim=True)
        going = going & (product**2 >= zero) & (square > zero)
        basis.append(torch.where(going, new / square.clamp_min(zero).sqrt(), 0.0))
        residual = residual - (residual * basis[-1]).sum(1, keepdim=True) * basis[-1]
    return (y - residual).float()


def explain(query: Float32[torch.Tensor, "m C"], rows: Float32[torch.Tensor, "n C"], k: int, nonzeros: int,
            scale: str = "raw", skip: int = 0) -> tuple[Float32[torch.Tensor, "m C"], Int64[torch.Tensor, "m _k"]]:
    """What the k rows nearest to each query rebuild of it, and which rows these are, nearest first.

    nonzeros  rows combined at most; 0: no combination, the nearest row itself
    skip      nearest rows that are left out, where there are more of them: a training query finds itself first
    """
    found = Bank(rows).distance(query, k + skip)[1]
    index = found[:, skip:] if found.shape[1] > skip else found
    return pursue(query, rows[index], nonzeros, scale) if nonzeros else rows[index[:, 0]], index
