"""Image scores on one test split side by side: AUROC by the modality that shows a defect, and what a gap settles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from mmadlib.features.tokens import Truth
from mmadlib.metrics import auroc_gap, image_auroc
from mmadlib.report.tables import SUBSET_ORDER
from mmadlib.report.verdicts import verdict


class Split:
    """The truths of a test split. labels (n,): 0 good, 1 defect; modality (n,): what shows it; subsets: name -> (n,) bool, the
    good parts with the defects of one modality, those alone that the split has, "all" first."""

    def __init__(self, truths: Sequence[Truth]) -> None:
        self.labels, self.modality = np.array([t.label for t in truths]), np.array([t.modality for t in truths])
        bad = set(self.modality[self.labels == 1])
        self.subsets = {"all": self.labels >= 0} | {m: (self.labels == 0) | (self.modality == m)
                                                    for m in SUBSET_ORDER[1:] if m in bad}

    def auroc(self, images: np.ndarray) -> dict[str, float]:
        """Image AUROC of scores (n,) by subset."""
        return {subset: image_auroc(images[keep], self.labels[keep]) for subset, keep in self.subsets.items()}

    def against(self, ours: np.ndarray, theirs: np.ndarray) -> dict[str, str]:
        """The difference of two image AUROCs, its 95 % interval over redrawn images, and what these images settle."""
        d, low, high = auroc_gap(ours, theirs, self.labels)
        return {"first row minus this": f"{d:+.3f} [{low:+.3f}, {high:+.3f}]", "verdict": verdict(low, high, len(self.labels))}

    def compared(self, rows: Mapping[str, np.ndarray]) -> pd.DataFrame:
        """Image AUROC by subset of several image scores, to three decimals, and the gap of the first to each other as text."""
        (_, ours), *others = rows.items()
        gaps = pd.DataFrame({other: self.against(ours, images) for other, images in others}).T
        return pd.DataFrame({row: self.auroc(images) for row, images in rows.items()}).T.round(3).join(gaps).fillna("")
