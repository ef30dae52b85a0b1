"""Inspection: own parts: a fitted model with its threshold, verdicts and heat maps for parts without masks."""

from mmadlib.inspection.verdicts import Region, Thresholds, Verdict

__all__ = ["Region", "Thresholds", "Verdict"]
