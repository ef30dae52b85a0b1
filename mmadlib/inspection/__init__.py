"""Inspection: own parts: a fitted model with its threshold, verdicts and heat maps for parts without masks.

What is exported stands in __init__.pyi; it is loaded when first used, since an Inspector brings torch along.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
