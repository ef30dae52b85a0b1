"""Experiments: from names to numbers, one run, a grid of runs, a notebook, and the tables that they fill.

What is exported stands in __init__.pyi; it is loaded when first used, since an experiment brings torch along.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
