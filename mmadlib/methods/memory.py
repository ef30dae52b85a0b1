"""Memory: bounded memory banks of features on any device, built in two passes, with an estimate before anything is allocated.

Many rows are never gathered whole unless they are kept whole: a first pass projects every image's rows for the coreset search
(banks.greedy_coreset), a second gathers the chosen ones. Source of the rules: see mmadlib.methods.banks;
the projection of the search is M3DM's and BTF's (scikit-learn, eps .9) or PatchCore's (an untrained linear layer).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import psutil  # type: ignore[import-untyped]
import torch
from jaxtyping import Float, Float32, Int64
from sklearn.random_projection import SparseRandomProjection, johnson_lindenstrauss_min_dim

from mmadlib.errors import TrainingError
from mmadlib.methods.banks import CHUNK, PRODUCTS, Bank, dense_projection, greedy_coreset, mean_reach, norm_reach

SAMPLINGS = ("greedy", "approximate", "exact")  # start at row 0 (BTF, M3DM) | at 10 random rows | at the norms (PatchCore)
PROJECTIONS = ("sparse", "linear", "none")
EPS = 0.9  # of the sparse projection
LINEAR = 128  # dimensions of the linear one
STARTS = 10  # random rows of the approximate search
FLOAT = 4  # bytes of a number
WHOLE = 2**30  # bytes of rows up to which they are gathered whole and made once
Rows = Callable[[], Float32[torch.Tensor, "n C"]]  # the rows of one image, made anew at every call


def free_bytes(device: torch.device | str = "cpu") -> int:
    """Memory of a device that this process may still take."""
    device = torch.device(device)
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else int(psutil.virtual_memory().available)


def projected_width(n: int, width: int, projection: str) -> int:
    """Dimensions in which the coreset of n rows is searched; their own where a projection would not shorten them."""
    narrow = {"sparse": int(johnson_lindenstrauss_min_dim(max(n, 2), eps=EPS)), "linear": LINEAR}.get(projection, width)
    return min(narrow, width)


def needed_bytes(n: int, width: int, keep: int, sampling: str = "greedy", projection: str = "sparse") -> int:
    """Bytes that a bank of `keep` of n rows takes at most while it is built: the kept rows and the index over them, and where
    rows are chosen the projected ones, three times over (as they are, centred, squared), and few rows as they are."""
    search = 0 if keep >= n else 3 * n * projected_width(n, width, projection)
    search += CHUNK * n if keep < n and sampling == "exact" else 0
    search += n * width if keep < n and FLOAT * n * width <= WHOLE else 0
    return FLOAT * (2 * min(keep, n) * width + search)


def check_memory(name: str, n: int, width: int, keep: int, sampling: str = "greedy", projection: str = "sparse",
                 device: torch.device | str = "cpu") -> None:
    """Raise TrainingError, which names a coreset that fits, where a bank needs more memory than is free."""
    need, free = needed_bytes(n, width, keep, sampling, projection), free_bytes(device)
    if need <= free:
        return
    rest = free - needed_bytes(n, width, 0, sampling, projection)
    share = rest / (2 * FLOAT * n * width)
    fits = next((s for s in (0.5, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005, 0.002, 0.001) if s <= share and s * n < keep), 0)
    remedy = f"use coreset={fits:g}" if fits else "fit on fewer samples or a coarser grid"
    raise TrainingError(f"{name}: this bank needs {need / 1e9:.3g} GB, {free / 1e9:.3g} GB are free: {remedy}")


def projector(n: int, width: int, projection: str,
              seed: int = 0) -> Callable[[Float32[torch.Tensor, "m C"]], Float32[torch.Tensor, "m c"]]:
    """The seeded projection of n rows, a part at a time: banks.project of the whole, to the same numbers, or PatchCore's."""
    to = projected_width(n, width, projection)
    if to == width:
        return lambda x: x
    if projection == "linear":
        layer = dense_projection(width, to, seed)
        return lambda x: x @ layer
    sparse = SparseRandomProjection(to, random_state=seed % 2**32, dense_output=True).fit(np.zeros((1, width), np.float32))
    return lambda x: torch.from_numpy(sparse.transform(x.numpy()).astype(np.float32))


def choose(thin: Float32[torch.Tensor, "n c"], keep: int, sampling: str = "greedy", seed: int = 0) -> Int64[np.ndarray, " k"]:
    """Rows of a coreset in the order in which they are found, see banks.greedy_coreset; `seed` draws PatchCore's starts."""
    if sampling == "exact":
        reach = norm_reach(thin)
    elif sampling == "approximate":  # numpy's legacy generator, as published
        starts = np.random.RandomState(seed % 2**32).choice(len(thin), min(STARTS, len(thin)), replace=False)
        reach = mean_reach(thin, starts)
    else:
        reach = torch.full((len(thin),), torch.inf)
    return greedy_coreset(thin, keep, reach=reach)


def search(rows: Float32[torch.Tensor, "n C"], query: Float32[torch.Tensor, "m C"],
           k: int = 1) -> tuple[Float32[torch.Tensor, "m k"], Int64[torch.Tensor, "m k"]]:
    """Distances and indices of the k nearest rows, nearest first, by torch on their device in chunks of bounded size.

    As in banks.Bank products choose the neighbours and differences measure them.
    """
    k, centre, found = min(k, len(rows)), rows.mean(0), []
    x = rows - centre
    squares = (x**2).sum(1)
    for some in query.split(max(1, PRODUCTS // len(rows))):
        index = (squares - 2 * (some - centre) @ x.T).topk(k, dim=1, largest=False).indices
        distance = torch.stack([(some - rows[column]).norm(dim=1) for column in index.T], dim=1)
        order = distance.argsort(dim=1, stable=True)
        found.append((distance.gather(1, order), index.gather(1, order)))
    distances, indices = zip(*found, strict=True)
    return torch.cat(distances), torch.cat(indices)


class Memory:
    """Rows (M, C) float32 and their exact Euclidean nearest neighbours: by faiss on a CPU, by torch on a GPU.

    owner  the image that each row is of, int64 (M,); -1 for rows of no image. `rows` and `owner` are the tensors to save.
    """

    def __init__(self, rows: Float[torch.Tensor, "M C"], owner: Int64[torch.Tensor, " _"] | None = None,
                 device: torch.device | str = "cpu") -> None:
        self.rows = rows.detach().float().to(device).contiguous()
        self.owner = torch.zeros(len(rows), dtype=torch.int64) if owner is None else owner.cpu()
        if self.rows.ndim != 2 or len(self.owner) != len(self.rows):
            raise ValueError(f"rows {tuple(self.rows.shape)} and owner {tuple(self.owner.shape)} of a bank do not fit")
        self.bank = Bank(self.rows) if self.rows.device.type == "cpu" else None

    def __len__(self) -> int:
        return len(self.rows)

    def nearest(self, query: Float[torch.Tensor, "m C"],
                k: int = 1) -> tuple[Float32[torch.Tensor, "m k"], Int64[torch.Tensor, "m k"]]:
        """Distances and row indices of the k nearest rows, nearest first; k is clipped to the size of the bank."""
        if self.bank is not None or not len(query):
            return (self.bank or Bank(self.rows)).distance(query, k)
        return search(self.rows, query.detach().float().to(self.rows.device), k)

    def without(self, image: int) -> Memory | None:
        """The bank without the rows of one image; None where nothing is left."""
        others = self.owner != image
        return Memory(self.rows[others.to(self.rows.device)], self.owner[others], self.rows.device) if others.any() else None


def build(name: str, images: Sequence[Rows], about: int, width: int, *, share: float = 1.0, limit: int = 0,
          sampling: str = "greedy", projection: str = "sparse", seed: int = 0,
          device: torch.device | str = "cpu") -> Memory:
    """A bank of all images' rows of width C: a `share` of them, rounded down, or `limit` of them; at least one.

    about  how many rows there are at most, known before any is made; it decides the width of the projection
    Raises TrainingError before any allocation when the memory does not suffice, and when there are no rows.
    """
    device, most = torch.device(device), limit or max(1, int(share * about))
    check_memory(name, about, width, most, sampling, projection, device)
    whole = most >= about or FLOAT * about * width <= WHOLE  # else every image's rows are made twice
    thinner = projector(about, width, projection, seed)
    parts = [rows().cpu() if whole else thinner(rows().cpu()) for rows in images]
    counts = [len(part) for part in parts]
    if not sum(counts):
        raise TrainingError(f"{name}: no training sample has cells with features; check the preprocessing")
    owner = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    x, keep = torch.cat(parts), limit or max(1, int(share * sum(counts)))
    del parts
    if keep >= len(x) and whole:
        return Memory(x, owner, device)
    chosen = choose((thinner(x) if whole else x).to(device), keep, sampling, seed)
    at = torch.from_numpy(chosen)
    return Memory(x[at] if whole else _again(images, counts, chosen, width), owner[at], device)


def _again(images: Sequence[Rows], counts: Sequence[int], chosen: Int64[np.ndarray, " k"],
           width: int) -> Float32[torch.Tensor, "k C"]:
    """The chosen rows, each image's made once more, in the order of the search."""
    out, first = torch.empty(len(chosen), width), np.concatenate([[0], np.cumsum(counts)])
    for rows, start, stop in zip(images, first, first[1:], strict=False):
        place = np.flatnonzero((chosen >= start) & (chosen < stop))
        if len(place):
            out[torch.from_numpy(place)] = rows().cpu()[torch.from_numpy(chosen[place] - start)]
    return out
