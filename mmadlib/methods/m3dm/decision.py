"""Decision-layer fusion: one score of several banks' scores, in M3DM by a one-class SVM, in truth by as many weights.

The score of a linear one-class SVM is x . w, its offset is not used: so every rule here gives weights and nothing else.
Source: nomewang/M3DM feature_extractors/multiple_features.py (run_late_fusion), scikit-learn's SGDOneClassSVM.
"""

from __future__ import annotations

import warnings

import numpy as np
from jaxtyping import Float, Float64
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import SGDOneClassSVM

RULES = ("sgd_ocsvm", "linear", "zsum", "none")
NU, MAX_ITER, RANDOM_STATE = 0.5, 1000, 42  # as published
STEPS, TOLERANCE = 300, 1e-6  # of the exact solution


def weights(x: Float[np.ndarray, "n k"], rule: str = "sgd_ocsvm") -> Float64[np.ndarray, " k"]:
    """Weights of k scores from n vectors of normal scores.

    sgd_ocsvm  the SVM's, by stochastic gradient descent as published
    linear     the same SVM solved exactly, see `one_class`
    zsum       1 / deviation of each score: a sum of z-scores up to a constant
    none       1
    A rule that finds none, because all normal scores are zero (a bank that holds every patch), gives ones.
    """
    x = np.asarray(x, np.float64)
    if rule == "none" or not x.any():
        return np.ones(x.shape[1])
    if rule == "zsum":
        spread = x.std(axis=0)
        return 1 / np.where(spread > 0, spread, 1.0)
    if rule == "linear":
        return one_class(x)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # as published it may stop at MAX_ITER
        return SGDOneClassSVM(nu=NU, max_iter=MAX_ITER, random_state=RANDOM_STATE).fit(x).coef_.ravel()


def one_class(x: Float64[np.ndarray, "n k"], nu: float = NU) -> Float64[np.ndarray, " k"]:
    """w of the linear one-class SVM: the point nearest the origin among the means of a share nu of the vectors.

    That is its dual problem; Frank-Wolfe steps with exact line search solve it, each towards the mean of those that project
    least on w.
    """
    share, w = max(1, round(nu * len(x))), x.mean(0)
    for _ in range(STEPS):
        least = x[np.argpartition(x @ w, share - 1)[:share]].mean(0)
        towards = least - w
        gap = -(w @ towards)
        if gap <= TOLERANCE * (w @ w):
            break
        w = w + min(1.0, gap / (towards @ towards)) * towards
    return w
