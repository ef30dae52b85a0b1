"""What the rendered dataset holds: categories, splits, counts, which modality shows each defect. Nothing is rendered here."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from mmadlib.errors import unknown

VERSION = 2  # of the pictures: raise it whenever the renderer gives other bytes
CATEGORIES = ("keyed", "free", "shape", "organic", "plain")
SPLITS = ("train", "validation", "test", "twins")
COUNTS = {"train": 60, "validation": 6, "good": 24, "defect": 12}
MODALITY = {"stain": "rgb", "dent": "xyz", "dent_lit": "both", "crack": "both", "relation": "relation"}
TWINNED = ("stain", "dent")  # one modality shows these: the clean twin makes blindness exact
STRENGTH = {"plain": 1.0, "shape": 1.2, "keyed": 1.3, "free": 1.3, "organic": 1.3}  # more where normal parts vary more


@dataclass(frozen=True)
class Plan:
    """One sample to be: where it goes and what it is drawn from."""

    split: str
    folder: str  # good or the defect
    index: int  # number of the files
    key: tuple[str, str, int]  # split, defect and index that seed it; a twin has those of its partner
    strength: float

    @property
    def partner(self) -> str:
        """Of a twin: split/defect/number of the sample that has the defect; empty otherwise."""
        return "{}/{}/{:03d}".format(*self.key) if self.split == "twins" else ""

    @property
    def path(self) -> str:
        """split/folder/number, the file name of a sample without its kind."""
        return f"{self.split}/{self.folder}/{self.index:03d}"


def defects(category: str) -> list[str]:
    """Defect folders of a category; where colour is independent of shape no relation can be wrong."""
    return [d for d in MODALITY if not (d == "relation" and category == "free")]


@cache
def plan(category: str, split: str) -> tuple[Plan, ...]:
    """Every sample of one split, in reading order. Raises UnknownName."""
    if category not in CATEGORIES:
        raise unknown("rendered category", category, CATEGORIES)
    if split not in SPLITS:
        raise unknown("rendered split", split, SPLITS)
    if split in ("train", "validation"):
        return tuple(Plan(split, "good", i, (split, "good", i), 0.0) for i in range(COUNTS[split]))
    partners = [("test", d, i) for d in TWINNED for i in range(COUNTS["defect"])]
    if split == "twins":
        return tuple(Plan("twins", "good", n, key, 0.0) for n, key in enumerate(partners))
    strength = STRENGTH[category]
    good = [Plan(split, "good", i, (split, "good", i), 0.0) for i in range(COUNTS["good"])]
    return tuple(good + [Plan(split, d, i, (split, d, i), strength) for d in sorted(defects(category))
                         for i in range(COUNTS["defect"])])
