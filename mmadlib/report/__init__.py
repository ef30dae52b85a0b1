"""Report: what a reader sees, tables, verdicts and figures; `from mmadlib.report import Row, charts, plots, tables`.

What is exported stands in __init__.pyi; a part is loaded when first used, since figures need no methods and tables no plots.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
