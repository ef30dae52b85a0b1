"""The published sizes from pixels to scores on two samples: both backbones, cache, CFM, in under 4 GB."""

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent

PROGRAM = """
import json, resource, sys
import numpy as np
import torch
from mmadlib.features import Extractor, extract_all, family
from mmadlib.methods import METHODS
from mmadlib.sample import Sample

torch.set_num_threads(2)

def part(seed):
    rng = np.random.default_rng(seed)
    v, u = np.mgrid[:256, :256] - 127.5
    z = 0.5 - 0.01 * np.sin(u / 30) * np.cos(v / 25) + rng.normal(0, 1e-5, u.shape)
    xyz = np.stack([8e-4 * u, 8e-4 * v, z], -1).astype(np.float32)
    xyz[u**2 + v**2 > 88**2] = 0
    return Sample(rng.integers(0, 256, (256, 256, 3), dtype=np.uint8), xyz, isolated=True)

samples = [part(0), part(1)]
extractor = Extractor(*family("paper"), rgb_weights="random", xyz_weights="random")
features = extract_all(samples, extractor, sys.argv[1], progress=False)
again = extract_all(samples, extractor, sys.argv[1], progress=False)
method = METHODS["cfm"](hidden=0, steps=2, batch=2, pixels=1024)
method.fit(features, progress=False)
scores = [method.score(f) for f in again]
print(json.dumps({
    "widths": [features[0].rgb.channels, features[0].xyz.channels],
    "family": features[0].meta["family"],
    "points": int((features[0].cloud != 0).all(-1).sum()),
    "bytes": [features.file(i).stat().st_size for i in range(2)],
    "finite": bool(all(np.isfinite(s.map).all() and np.isfinite(s.image) for s in scores)),
    "differ": bool((scores[0].map != scores[1].map).any()),
    "shape": list(scores[0].map.shape),
    "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024),
}))
"""


def test_published_sizes_run_in_four_gigabytes(tmp_path):
    """In a process of its own, so that the peak memory is that of the pipeline alone."""
    command = [sys.executable, "-c", PROGRAM, str(tmp_path / "cache")]
    run = subprocess.run(command, cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
                         timeout=300, check=False)
    assert run.returncode == 0, run.stderr
    result = json.loads(run.stdout)
    assert result["widths"] == [768, 1152] and result["family"] == "paper" and result["shape"] == [224, 224]
    assert 17_000 < result["points"] <= 20_000
    assert max(result["bytes"]) <= 4.5e6
    assert result["finite"] and result["differ"]
    assert result["peak"] < 4e9
