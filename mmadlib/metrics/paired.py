"""Two methods on the same test images: how far these images settle which of them is better."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from mmadlib.checks import check_seed
from mmadlib.metrics.auroc import classes, image_auroc


def auroc_gap(ours: ArrayLike, theirs: ArrayLike, labels: ArrayLike, n: int = 1000, seed: int = 0,
              level: float = 0.95) -> tuple[float, float, float]:
    """Difference of two image AUROCs and its percentile interval: (ours - theirs, low, high).

    ours, theirs  scores (n,) of the same images by two methods, each on its own scale;   labels (n,) as `image_auroc`

    Images are redrawn `n` times, each class by itself and for both methods alike, so what makes an image hard for both
    cancels: the interval is narrower than those of the two AUROCs suggest. It does not say how training varies. Raises as
    `image_auroc`.
    """
    difference = image_auroc(ours, labels) - image_auroc(theirs, labels)
    rng, sides = np.random.default_rng(check_seed(seed)), [classes(scores, labels) for scores in (ours, theirs)]
    wins, others = (np.sign(values[bad][:, None] - values[~bad][None]) for values, bad in sides)
    gained = (wins - others) / 2  # (P, N): a pair won instead of lost counts 1, a tie in between 1/2
    drawn_bad, drawn_good = (rng.multinomial(k, np.full(k, 1 / k), n) for k in gained.shape)
    values = ((drawn_bad @ gained) * drawn_good).sum(1) / gained.size
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return difference, float(low), float(high)
