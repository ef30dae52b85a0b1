"""Procedural parts under a ray-cast camera and depth sensor: the pictures and clouds of the rendered dataset.

noise -> parts -> defects -> scene -> shading, sensor -> photograph. Lengths are millimetres until the cloud is written.
"""

from mmadlib.render.photograph import Shot, take

__all__ = ["Shot", "take"]
