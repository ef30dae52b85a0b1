"""Parts of which nobody has said yet whether they are good: label -1, neither normal nor anomalous."""

from __future__ import annotations

from dataclasses import dataclass

from mmadlib.data.files import Entry

UNLABELLED = "unlabelled"
LABEL = -1


@dataclass(frozen=True)
class Unlabelled(Entry):
    """An entry without a verdict: its mask is all False and means nothing; it is scored and enters no metric."""

    defect: str = UNLABELLED

    @property
    def label(self) -> int:
        return LABEL
