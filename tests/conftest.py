"""Fixtures that several test files share."""

import os

import pytest
from jaxtyping import install_import_hook
from shapes import modules

from mmadlib.pinned import SWITCH, pinned, state

if not pinned(state()):  # pytest has loaded numpy: what a test starts is to compute as the test itself
    os.environ[SWITCH] = "no"
install_import_hook(modules(), "shapes.check")  # before the first of them is imported


@pytest.fixture
def house_style():
    """Figures in the project's style without a screen; style and figures are gone afterwards."""
    import matplotlib as mpl  # here: most tests draw nothing

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    from mmadlib.report import plots

    with mpl.rc_context():
        plots.style()
        yield
    plt.close("all")
