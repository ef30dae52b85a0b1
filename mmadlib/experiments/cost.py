"""What a run costs: peaks of memory, size of the fitted model."""

from __future__ import annotations

import math
import resource
import sys
from pathlib import Path

import torch

from mmadlib.methods import Method

MIB = 2**20
PEAK = Path("/proc/self/clear_refs")  # Linux: writing 5 starts the peak of resident memory anew


def reset_peaks(device: torch.device) -> None:
    """Start the peaks anew, where the system can; elsewhere `peaks` counts from the start of the process."""
    try:
        PEAK.write_text("5")
    except OSError:
        pass
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def peaks(device: torch.device) -> dict[str, float]:
    """peak_mb: MiB of resident memory of the process; peak_gpu_mb: MiB that torch held on the GPU, NaN on the CPU."""
    unit = 1 if sys.platform == "darwin" else 1024
    gpu = torch.cuda.max_memory_allocated(device) / MIB if device.type == "cuda" else math.nan
    return {"peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / MIB, "peak_gpu_mb": gpu}


def model_mb(model: Method) -> float:
    """MiB of what `save` writes: parameters, banks and the statistics of standardised features."""
    tensors = (model.standardise.state() | model.state()).values()
    return sum(t.numel() * t.element_size() for t in tensors) / MIB
