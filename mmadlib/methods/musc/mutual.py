"""Mutual scoring (MSM): how far every token of a part is from its nearest token in each other part of the batch.

Source: MuSc-V2 (TPAMI 2026, arXiv 2511.10047; HUST-SLOW/MuSc-V2 models/modules/_MSM.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import torch
from jaxtyping import Float, Float32

from mmadlib.errors import SettingsError
from mmadlib.progress import bar

TABLE = 2**19  # distances held at once: a table of 2 MiB stays in the cache of a core
NEAR = 1e-3  # squared distance, in units of the token's own square, below which products have lost their digits
MOST = 2**33  # bytes of the distances of one side


def terms(x: Float32[torch.Tensor, "T C"]) -> tuple[Float32[torch.Tensor, "T D"], Float32[torch.Tensor, "T D"]]:
    """(p, q) of the rows x, D = C + 2, with |x_i - y_j|^2 = p(x)_i . q(y)_j: a matrix product is the table."""
    squares, one = (x**2).sum(1, keepdim=True), torch.ones_like(x[:, :1])
    return torch.cat([-2 * x, squares, one], 1), torch.cat([x, one, squares], 1)


def both_minima(x: Float32[torch.Tensor, "T C"],
                y: Float32[torch.Tensor, "U C"]) -> tuple[Float32[torch.Tensor, " T"], Float32[torch.Tensor, " U"]]:
    """Euclidean distance of each row of x to the nearest row of y, and of each row of y to that of x, from one table.

    In chunks of rows, so that at most about TABLE distances exist. Products lose digits far from zero, so tokens are counted
    from their mean; and near zero, so a small distance is taken from the difference to the nearest row: it is exactly 0 for
    equal rows.
    """
    centre = y.mean(0)
    x, y = x - centre, y - centre
    (p, mine), (theirs, q), size = terms(x), terms(y), max(1, TABLE // len(y))
    columns, rows = torch.full_like(q[:, 0], torch.inf), []
    for some in p.split(size):
        table = some @ q.T
        rows.append(table.amin(1))
        columns = torch.minimum(columns, table.amin(0))
    return refined(x, p, y, q, torch.cat(rows)), refined(y, theirs, x, mine, columns)


def refined(x: Float32[torch.Tensor, "T C"], p: Float32[torch.Tensor, "T D"], y: Float32[torch.Tensor, "U C"],
            q: Float32[torch.Tensor, "U D"], squares: Float32[torch.Tensor, " T"]) -> Float32[torch.Tensor, " T"]:
    """Distances from their squares, small ones from the difference to the nearest row of y."""
    found = squares.clamp_min(0).sqrt()
    near = squares < NEAR * p[:, -2]
    for some in near.nonzero()[:, 0].split(max(1, TABLE // len(y))):
        found[some] = (x[some] - y[(p[some] @ q.T).argmin(1)]).norm(dim=1)
    return found


def mutual_distances(parts: Sequence[Float32[torch.Tensor, "_T C"]], progress: bool = False,
                     label: str = "musc") -> list[Float32[torch.Tensor, "_T R"]]:
    """A_i of every part: distance of each of its T_i tokens to the nearest one in each of the R = N - 1 others, in order.

    One pass over unordered pairs. Raises SettingsError where the distances of a batch would not fit into memory.
    """
    n = len(parts)
    if (size := 4 * (n - 1) * sum(map(len, parts))) > MOST:
        raise SettingsError(f"the distances of {n} parts with {sum(map(len, parts)) // n} tokens take {size / 2**30:.1f} GiB "
                            f"a side, more than {MOST / 2**30:.0f}; score smaller batches, or set every=2 or a smaller grid")
    A = [x.new_empty(len(x), n - 1) for x in parts]
    for i, j in bar(list(combinations(range(n), 2)), label, progress):
        A[i][:, j - 1], A[j][:, i] = both_minima(parts[i], parts[j])
    return A


def lowest(A: Float[torch.Tensor, "T R"], share: float) -> Float[torch.Tensor, " T"]:
    """Mean of the k = int(share R) smallest distances of each token, k at least 1 (the released code gives NaN below that)."""
    k = max(1, int(share * A.shape[1]))
    return A.topk(k, dim=1, largest=False).values.mean(1)
