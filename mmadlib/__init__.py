"""mmadlib: a reproducible companion to five papers on few-shot RGB+3D industrial anomaly detection.

Sample is loaded when first used: it brings numpy along, and the command line is to be pinned before that (mmadlib.pinned).
"""

import os

import lazy_loader

os.environ.setdefault("OPEN3D_DISABLE_WEB_VISUALIZER", "true")  # or Open3D prints a banner into every notebook

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
__version__ = "0.1.0"
