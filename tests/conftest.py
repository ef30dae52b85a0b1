"""Fixtures that several test files share, the order of the files, and the check of shapes."""

import os

import pytest
from jaxtyping import install_import_hook
from shapes import modules

from mmadlib.pinned import SWITCH, pinned, state

if not pinned(state()):  # pytest has loaded numpy: what a test starts is to compute as the test itself
    os.environ[SWITCH] = "no"
install_import_hook(modules(), "shapes.check")  # before the first of them is imported
# what takes minutes starts first, so that both processes end together
LONG = ("test_workflow.py", "test_paper_pipeline.py", "test_controlled.py", "test_saving.py", "test_installed.py")


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: LONG.index(item.path.name) if item.path.name in LONG else len(LONG))


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
