"""Maps of distances: the recorded ones, the minimum rule, the dictionary of linked cells."""

import numpy as np
import torch
from recorded import RECORDED

from mmadlib.methods.shape_guided.maps import cell_distances, enlarged, pixel_minimum
from mmadlib.methods.shape_guided.memory import Memory
from mmadlib.methods.token_grid import to_pixels


def test_the_sdf_map_is_the_recorded_one():
    d = np.load(RECORDED / "shape_guided.npz")
    cells = pixel_minimum(torch.from_numpy(d["out.sdf_at_points"][..., 0]).abs(), d["in.patch_pixel_idx"], (32, 32))
    covered = cells.isfinite()
    found = to_pixels(cells[covered], covered, (32, 32), covered.reshape(32, 32).numpy())
    np.testing.assert_allclose(found, d["out.sdf_map"], atol=1e-5)


def test_the_rgb_map_is_the_recorded_one():
    d = np.load(RECORDED / "shape_guided.npz")
    links, touched = np.zeros((60, 1568), bool), torch.zeros(784, dtype=torch.bool)
    np.put_along_axis(links, d["in.lib_cells"], True, axis=1)
    touched[d["in.query_cells"].ravel()] = True
    memory = Memory.of([torch.from_numpy(d["in.code_lib"])], [torch.from_numpy(d["in.rgb_lib"])], [links])
    assert len(memory.rgb) == d["out.rgb_lib_kept_rows"]
    dictionary = memory.linked(torch.from_numpy(d["out.testing.knn_idx"]).long())
    cells = cell_distances(torch.from_numpy(d["in.rgb_query"]), touched, dictionary, 5, 3)
    assert abs(cells.max().item() - d["out.rgb_score"]) < 1e-4
    np.testing.assert_allclose(enlarged(cells, (28, 28), (32, 32)), d["out.rgb_map"], atol=1e-4)


def test_another_patch_never_raises_a_cell_that_was_covered():
    rng = np.random.default_rng(0)
    cells, distance = rng.integers(0, 30, (9, 6)), torch.from_numpy(rng.random((9, 6))).float()
    before, after = (pixel_minimum(distance[:n], cells[:n], (5, 6)) for n in (8, 9))
    covered = before.isfinite()
    assert (after[covered] <= before[covered]).all() and (after.isfinite() >= covered).all()
    for cell in range(30):
        own = distance[torch.from_numpy(cells == cell)]
        assert after[cell] == (own.min() if len(own) else torch.inf)


def test_cells_that_no_patch_touches_have_no_distance():
    rgb, touched = torch.randn(6, 4), torch.tensor([True, False, True, True, False, False])
    found = cell_distances(rgb, touched, rgb[:1], 5, 0)
    torch.testing.assert_close(found, torch.where(touched, (rgb - rgb[0]).norm(dim=1), 0.0))
