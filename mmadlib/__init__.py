"""mmadlib: a reproducible companion to five papers on few-shot RGB+3D industrial anomaly detection."""

import os

from mmadlib.sample import Sample

os.environ.setdefault("OPEN3D_DISABLE_WEB_VISUALIZER", "true")  # or Open3D prints a banner into every notebook

__all__ = ["Sample"]
__version__ = "0.1.0"
