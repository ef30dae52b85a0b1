"""Speed and size of the front end beside plain implementations, in one run: python benchmarks/front_end.py

(a) grouping: farthest points, neighbours and interpolation of one cloud of 17,000 points, against a plain loop of torch
    operations over whole arrays; (b) the size of a cache entry against dense float32 maps; (c) all metrics of 120 maps of
    224 x 224, against the published routine and scikit-learn. Both sides of (a) and (c) are checked to agree.
Times are medians of wall-clock seconds; the two sides take turns.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import torch
from scipy.ndimage import gaussian_filter, label
from sklearn.metrics import roc_auc_score

from mmadlib.features.entry import encode
from mmadlib.features.grouping import farthest_points, nearest, three_nearest
from mmadlib.features.tokens import Groups, Patches, Tokens, Truth
from mmadlib.metrics import evaluate_maps
from mmadlib.metrics.evaluate import LIMITS

GROUPS, GROUP_SIZE, WIDTH, SIZE = 1024, 128, 1152, 224
K, K_FINE = 99, 20_000  # thresholds as published, and enough of them to stand for all (three decimals)


def cloud(points: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A curved part seen by a camera half a metre away: float32 (224, 224, 3) metres, and its valid pixels."""
    rng = np.random.default_rng(seed)
    v, u = np.mgrid[:SIZE, :SIZE] - SIZE / 2
    height = 0.01 * np.sin(u / 20) * np.cos(v / 25) + rng.normal(0, 1e-4, u.shape)
    xyz = np.stack([8e-4 * u, 8e-4 * v, 0.5 - height], -1).astype(np.float32)
    valid = np.zeros(SIZE * SIZE, bool)
    valid[np.argsort((u**2 + v**2).ravel(), kind="stable")[:points]] = True
    valid = valid.reshape(SIZE, SIZE) & (xyz != 0).all(-1)
    return xyz * valid[..., None], valid


def plain_grouping(points: torch.Tensor, tokens: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Centres, neighbours and interpolated features (N, 1152), as one would write them in torch."""
    distance, chosen = torch.full((len(points),), torch.inf), torch.zeros(GROUPS, dtype=torch.long)
    current = torch.tensor(0)
    for i in range(GROUPS):
        chosen[i] = current
        distance = torch.minimum(distance, ((points - points[current]) ** 2).sum(-1))
        current = distance.argmax()
    centres = points[chosen]
    members = torch.cdist(centres, points, compute_mode="donot_use_mm_for_euclid_dist").topk(GROUP_SIZE, largest=False).indices
    apart, index = torch.cdist(points, centres, compute_mode="donot_use_mm_for_euclid_dist").topk(3, largest=False)
    weight = 1 / (apart**2 + 1e-8)
    return chosen, members, (tokens[index] * (weight / weight.sum(1, keepdim=True))[..., None]).sum(1)


def our_grouping(points: np.ndarray, tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The same by the library: interpolation is one sparse product, `FeatureMap.interp @ tokens` before the pooling."""
    chosen = farthest_points(points, GROUPS)
    members = nearest(points, points[chosen], GROUP_SIZE)
    index, weight = three_nearest(points, points[chosen])
    rows = Groups(tokens, index, weight).canvas(np.ones((1, len(points)), bool))
    return chosen, members, rows @ tokens


def maps_and_masks(n: int = 120, seed: int = 0) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Blurred noise with a brighter spot on the anomalous half; two components each."""
    rng = np.random.default_rng(seed)
    maps, masks = [], []
    for i in range(n):
        mask = np.zeros((SIZE, SIZE), bool)
        for r, c in rng.integers(20, SIZE - 40, (2 * (i % 2), 2)):
            mask[r:r + 16, c:c + 20] = True
        noise = gaussian_filter(rng.normal(size=mask.shape), 4) * 10
        maps.append((noise + gaussian_filter(mask * 2.0, 4)).astype(np.float32))
        masks.append(mask)
    return maps, masks


def plain_aupro(maps: list[np.ndarray], masks: list[np.ndarray], thresholds: int) -> list[float]:
    """AUPRO at all limits by the published steps: one sweep over the thresholds, counting in every component."""
    components, normal = [], []
    for scores, mask in zip(maps, masks, strict=True):
        labelled, n = label(mask, structure=np.ones((3, 3)))
        normal.append(scores[labelled == 0])
        components += [np.sort(scores[labelled == k + 1]) for k in range(n)]
    normal = np.sort(np.concatenate(normal))
    ranks = np.linspace(0, len(normal) - 1, thresholds).astype(int)
    fpr, pro = [1.0], [1.0]
    for rank in ranks:
        above = [1 - np.searchsorted(c, normal[rank], side="right") / len(c) for c in components]
        fpr.append(1 - (rank + 1) / len(normal))
        pro.append(float(np.mean(above)))
    x, y = np.array(fpr[::-1]), np.array(pro[::-1])
    return [area_to(x, y, limit) / limit for limit in LIMITS.values()]


def area_to(x: np.ndarray, y: np.ndarray, limit: float) -> float:
    """Trapezoid area from 0 to `limit`, the end interpolated."""
    inside = x < limit
    return float(np.trapezoid(np.append(y[inside], np.interp(limit, x, y)), np.append(x[inside], limit)))


def plain_metrics(maps: list, masks: list, scores: np.ndarray, labels: np.ndarray, exact: bool = True) -> dict[str, float]:
    """Published AUPRO, the same with many thresholds for the exact one, and scikit-learn's AUROCs."""
    result = {"i_auroc": roc_auc_score(labels, scores)}
    result["p_auroc"] = roc_auc_score(np.concatenate([m.ravel() for m in masks]), np.concatenate([m.ravel() for m in maps]))
    for suffix, thresholds in (("", K), ("_exact", K_FINE))[: 1 + exact]:
        values = plain_aupro(maps, masks, thresholds)
        result |= {f"aupro_{name}{suffix}": value for name, value in zip(LIMITS, values, strict=True)}
    return result


def compare(title: str, ours: Callable, plain: Callable, repeats: int) -> tuple:
    """Run both by turns, print median seconds and their ratio, return both results."""
    times: dict[str, list[float]] = {"ours": [], "plain": []}
    results = {}
    for _ in range(repeats):
        for name, run in (("ours", ours), ("plain", plain)):
            start = time.perf_counter()
            results[name] = run()
            times[name].append(time.perf_counter() - start)
    a, b = np.median(times["ours"]), np.median(times["plain"])
    print(f"{title}: {a:.3f} s, plain {b:.3f} s, {b / a:.1f} times faster (median of {repeats})")
    return results["ours"], results["plain"]


def main() -> None:
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads")
    xyz, valid = cloud(17_000)
    points, tokens = xyz[valid], torch.randn(GROUPS, WIDTH, generator=torch.Generator().manual_seed(0))
    ours, plain = compare(f"(a) grouping of {len(points)} points", lambda: our_grouping(points, tokens.numpy()),
                          lambda: plain_grouping(torch.from_numpy(points), tokens), 7)
    centres = float((torch.from_numpy(ours[0]) == plain[0]).float().mean())
    close = float(((torch.from_numpy(ours[2]) - plain[2]).abs().amax(1) < 0.01).float().mean())
    print(f"    same centres {centres:.1%}; same features to 0.01 at {close:.2%} of points (the rest: ties in float32)")

    xyz, valid = cloud(20_000)
    index, weight = three_nearest(xyz[valid], xyz[valid][:GROUPS])
    entry = encode(Tokens(Patches(np.ones((784, 768), np.float32)), Groups(tokens.numpy(), index, weight), xyz, valid,
                          Truth(valid), {"rgb": "dino_vitb8", "xyz": "point_mae", "standardise": []}))
    dense = SIZE * SIZE * (768 + WIDTH) * 4
    print(f"(b) cache of a sample with {valid.sum()} points: {len(entry) / 1e6:.2f} MB, dense maps {dense / 1e6:.0f} MB")

    maps, masks = maps_and_masks()
    scores, labels = np.array([m.max() for m in maps]), np.array([int(m.any()) for m in masks])
    ours, plain = compare(f"(c) all metrics of {len(maps)} maps", lambda: evaluate_maps(maps, masks, scores, labels),
                          lambda: plain_metrics(maps, masks, scores, labels), 3)
    compare("    ours as above, plain without the exact AUPRO", lambda: evaluate_maps(maps, masks, scores, labels),
            lambda: plain_metrics(maps, masks, scores, labels, exact=False), 3)
    print(f"    largest difference over {len(plain)} metrics {max(abs(ours[k] - plain[k]) for k in plain):.1e}")


if __name__ == "__main__":
    main()
