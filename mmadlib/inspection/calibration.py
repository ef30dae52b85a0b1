"""From scores of good parts that a model did not see to p-values and thresholds, and what these promise.

A part is compared with n good parts that were scored as it is: by a model that had not seen them. Its p-value is

    p = (1 + number of held-out scores >= its own) / (n + 1)

and it is bad where p <= alpha, that is above the k-th largest held-out score, k = floor(alpha (n + 1)). If it is good, and
exchangeable with the n parts given the model, all n + 1 ranks are equally likely (ties only raise p), so this happens with
probability k / (n + 1) <= alpha: split conformal prediction (Vovk, Gammerman, Shafer 2005; Papadopoulos 2002). No p is below
1 / (n + 1), so with fewer than 1/alpha - 1 parts alpha cannot be promised, and the largest held-out score is all there is.

**What is exact.** With `calibration=`, further good parts that no model saw, the above is a theorem. It speaks of the average
over draws of the good parts; of one draw, the rate has the law Beta(k, n + 1 - k), which for k = 1 deviates by its mean.
**What is an approximation.** Held-out scores by leaving out one part, or a K-th of them, come from other models than the one
that judges. That is the jackknife, for which no rate can be proved for every method (Barber, Candes, Ramdas, Tibshirani 2021,
"Predictive inference with the jackknife+"); their jackknife+ and CV+, which keep all models, prove 2 alpha. Held-out models
learned from fewer parts, so their scores of unseen good parts tend to be higher and the threshold too high: fewer false alarms
than stated, unless a method's scores have another scale in each training. benchmarks/false_alarms.py measures it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from jaxtyping import Float64

from mmadlib.errors import SettingsError, TrainingError
from mmadlib.inspection.verdicts import Thresholds


def check_rate(rate: float) -> float:
    """The false alarm rate that is asked for. Raises SettingsError unless it is above 0 and below 1."""
    if isinstance(rate, bool) or not isinstance(rate, int | float) or not 0 < rate < 1:
        raise SettingsError(f"false_alarms={rate!r}: a share above 0 and below 1 is needed, such as 0.05")
    return float(rate)


def rank(rate: float, parts: int) -> int:
    """k = floor(rate (parts + 1)): bad is what lies above the k-th largest of so many held-out scores; 0: too few parts.

    Counted with the decimal number that was written: 0.29 of 100 is 29.
    """
    return math.floor(Fraction(repr(rate)) * (parts + 1))


def needed(rate: float) -> int:
    """Good parts that a rate needs: the least n with 1 / (n + 1) <= rate.

    >>> needed(0.05), needed(0.01)
    (19, 99)
    """
    return math.ceil(1 / Fraction(repr(rate))) - 1


def p_value(score: float, held: Float64[np.ndarray, " n"]) -> float:
    """(1 + number of held-out scores >= score) / (n + 1)."""
    return float(1 + np.count_nonzero(held >= score)) / (len(held) + 1)


def cut(held: Float64[np.ndarray, " n"], rate: float) -> float:
    """The k-th largest held-out score: `score > cut` and `p_value <= rate` say the same; with too few parts the largest."""
    return float(np.sort(held)[-max(1, rank(rate, len(held)))])


@dataclass(frozen=True, eq=False)
class Calibration:
    """Held-out values of good parts. image: their scores; peak: the largest value of the map on each.

    folds  0: of further good parts, which no model saw;   n: as many models left parts out
    """

    image: Float64[np.ndarray, " n"]
    peak: Float64[np.ndarray, " n"]
    folds: int

    def __post_init__(self) -> None:
        if len(self.image) == 0 or not (np.isfinite(self.image).all() and np.isfinite(self.peak).all()):
            raise TrainingError("held-out scores of the good parts are not finite; check these parts, or use another method")

    def p_value(self, score: float) -> float:
        return p_value(score, self.image)

    def thresholds(self, asked: float) -> Thresholds:
        """Of score and map, and what they promise."""
        n, enough = len(self.image), rank(asked, len(self.image)) > 0
        promised = asked if enough else 1 / (n + 1)
        return Thresholds(cut(self.image, asked), cut(self.peak, asked), asked, promised, n, needed(asked),
                          self.words(asked, promised))

    def words(self, asked: float, promised: float) -> str:
        """One sentence for people."""
        n = len(self.image)
        source = (f"{n} further good parts that no model has seen" if self.folds == 0 else
                  f"{n} good parts, each scored by a model that had not seen it ({self.folds} models)")
        rate = "proven" if self.folds == 0 else "an approximation: the final model has seen more parts"
        most = "at most" if self.folds == 0 else "about"
        share = f"{most} {promised:.1%} of good parts like these are called bad for their score ({rate})."
        if promised == asked:
            return f"From {source}: {share}"
        return (f"Above the largest held-out good score, from {source}: {share} The {asked:.1%} asked for takes "
                f"{needed(asked)} good parts.")
