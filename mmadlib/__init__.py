"""mmadlib: a reproducible companion to five papers on few-shot RGB+3D industrial anomaly detection."""

import os

os.environ.setdefault("OPEN3D_DISABLE_WEB_VISUALIZER", "true")  # or Open3D prints a banner into every notebook

__version__ = "0.1.0"
