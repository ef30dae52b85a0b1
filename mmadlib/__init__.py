"""mmadlib: a reproducible companion to five papers on few-shot RGB+3D industrial anomaly detection."""

__version__ = "0.1.0"
