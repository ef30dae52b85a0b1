"""How one's own files are to be read reaches runs and plans by `reader`."""

import pandas as pd
import pytest
import tifffile
from stored_scans import dataset

from mmadlib.errors import DataError
from mmadlib.experiments.evaluate import run_experiment


def test_a_sweep_of_unlabelled_parts_in_millimetres(tmp_path):
    """The options reach plans, by `reader`, and features are found again by them."""
    base = dataset(tmp_path / "data", {"good": 2, "dent": 2, "new": 1})
    for path in list(base.rglob("*.tiff")):
        tifffile.imwrite(path, tifffile.imread(path) * 1000)
    common = {"root": base, "features": "descriptors", "options": {"size": 56}, "shots": 2, "base": tmp_path / "runs",
              "cache": tmp_path / "cache", "progress": False}
    with pytest.raises(DataError, match='give units="mm"'):
        run_experiment("folder", "part", "nearest", **common)
    record = run_experiment("folder", "part", "nearest", reader={"units": "mm"}, **common)
    assert record.n_test == 5
    (scores,) = (tmp_path / "runs").rglob("scores.csv")
    assert pd.read_csv(scores).label.tolist() == [0, 0, 1, 1, -1] and "i_auroc" in record.metrics["all"]
