"""Shape-Guided as a whole: what each branch sees, what it does without colour or shape, alignment, links, image scores."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import sparse
from synthetic import shared_latent

from mmadlib.errors import MissingModality
from mmadlib.features.field import FeatureMap, Features
from mmadlib.methods.scoring import smooth
from mmadlib.methods.shape_guided import ShapeGuided
from mmadlib.methods.shape_guided.alignment import interval

QUICK = {"grid": 0, "points": 16, "width": 16, "code": 8, "layers": 2, "steps": 60, "batch": 8, "queries": 16, "rgb_grid": 12}
FAST = QUICK | {"steps": 5}
SIZE, MIDDLE = 32, slice(12, 20)
BOX = np.zeros((SIZE, SIZE), bool)
BOX[MIDDLE, MIDDLE] = True


def part(seed: int, bump: float = 0.0, stain: float = 0.0) -> Features:
    """A gently curved round part with a smooth colour, a token a 2 x 2 cell; maybe with a rough place or a stain."""
    rng = np.random.default_rng(seed)
    row, column = np.indices((SIZE, SIZE))
    foreground = (row - 15.5)**2 + (column - 15.5)**2 < 14**2
    z = 0.5 + 0.004 * np.cos((row + seed) / 9) * np.cos(column / 9) + rng.normal(0, 2e-5, row.shape)
    z = z + bump * BOX * np.where((row + column) % 4 < 2, 1, -1)
    cloud = np.where(foreground[..., None], np.stack([column / 1000, row / 1000, z], -1), 0).astype(np.float32)
    cell = (row // 2 * (SIZE // 2) + column // 2).ravel()
    interp = sparse.csr_array((np.ones(cell.size, np.float32), (np.arange(cell.size), cell)), shape=(cell.size, SIZE**2 // 4))
    y, x = np.indices((SIZE // 2, SIZE // 2)).reshape(2, -1)
    colour = np.stack([np.sin(y / 5), np.cos(x / 5), np.sin((x + y) / 7), np.ones(len(x))], -1)
    colour = colour + rng.normal(0, 0.05, (len(x), 4)) + stain * BOX[::2, ::2].ravel()[:, None] * [1, -1, 1, 1]
    rgb, xyz = (FeatureMap(torch.from_numpy(v).float(), interp, SIZE) for v in (colour, np.zeros((len(x), 3))))
    return Features(rgb, xyz, foreground, cloud, {"family": "descriptors", "standardise": ["rgb", "xyz"]})


def lacking(features: Features, side: str) -> Features:
    """The sample without one modality, as the extractor gives it."""
    none = FeatureMap(torch.zeros(1, 0), np.ones((features.foreground.size, 1), np.float32), features.size)
    cloud = np.zeros_like(features.cloud) if side == "xyz" else features.cloud
    return replace(features, **{side: none}, cloud=cloud, meta=features.meta | {"missing": side})


def fitted(n: int = 3, **settings) -> ShapeGuided:
    return ShapeGuided(**QUICK | settings).fit([part(i) for i in range(n)], progress=False)


@pytest.fixture(scope="module")
def model() -> ShapeGuided:
    return fitted()


@pytest.fixture(scope="module")
def scores(model):
    return {name: model.score(sample) for name, sample in
            {"good": part(9), "rough": part(9, bump=1e-3), "stained": part(9, stain=3.0)}.items()}


def test_each_part_sees_its_own_defect(scores):
    good = scores["good"]
    for name, seeing, blind in (("rough", "sdf", "rgb"), ("stained", "rgb", "sdf")):
        found = scores[name]
        assert found.parts[seeing][BOX].mean() > 2 * good.parts[seeing][BOX].mean(), name
        peak = np.array(np.unravel_index(found.map.argmax(), BOX.shape))
        assert (abs(peak - 15.5) < 6).all(), name
        assert found.image > good.image
        if name == "stained":
            np.testing.assert_array_equal(found.parts[blind], good.parts[blind])


def test_maps_are_not_negative_and_the_background_of_the_parts_is_0(scores):
    outside = ~part(9).foreground
    for found in scores.values():
        assert found.map.dtype == np.float32 and (found.map >= 0).all()
        assert all(not values[outside].any() and values[~outside].any() for values in found.parts.values())


def test_the_map_is_the_larger_of_the_smoothed_parts_once_aligned(model, scores):
    found, (a, b) = scores["stained"], model.align
    sdf, rgb, inside = (smooth(m) for m in (*found.parts.values(), part(9).foreground.astype(np.float32)))
    np.testing.assert_allclose(found.map, np.maximum(sdf, np.maximum(a * rgb + b * inside, 0)), rtol=1e-5)
    assert a > 0 and found.image == pytest.approx(sdf.max() * rgb.max(), rel=1e-5)


@pytest.mark.parametrize("align", ["image", "first"])
def test_alignment_brings_normal_maps_to_one_interval(model, align):
    made = ShapeGuided(**QUICK, align=align)
    made.__dict__.update({k: v for k, v in model.__dict__.items() if k != "settings"})
    samples, values = [part(i) for i in range(3)], {"sdf": [], "rgb": []}
    a, b = made.alignment(samples, progress=False)
    for i, sample in enumerate(samples):
        memory = model.memory.without(i) if align == "image" else model.memory
        maps, _ = model.judge(sample, ("sdf", "rgb"), memory, skip=int(align == "first"))
        for name, found in maps.items():
            values[name].append(smooth(found))
    sdf, rgb = (np.stack(found).ravel() for found in values.values())
    assert interval(a * rgb[rgb != 0] + b) == pytest.approx(interval(sdf))


def test_alignment_looks_at_so_many_images_and_can_be_left_out(model):
    samples = [part(i) for i in range(3)]
    some = ShapeGuided(**QUICK, align_images=1)
    some.__dict__.update({k: v for k, v in model.__dict__.items() if k != "settings"})
    assert some.alignment(samples, progress=False) != model.align
    assert fitted(2, align="off", steps=1).align == (1, 0)


def test_one_shot_is_aligned_without_first_neighbours():
    one = fitted(1, steps=5)
    assert one.align != (1, 0) and one.align == fitted(1, steps=5, align="first").align
    assert one.score(part(9, stain=3.0)).image > one.score(part(9)).image


def test_a_product_is_0_where_a_factor_is_and_a_sum_is_not(model, monkeypatch):
    maps = {"sdf": np.zeros((SIZE, SIZE), np.float32), "rgb": np.ones((SIZE, SIZE), np.float32)}
    for image, rgb in (("patch", 3.0), ("map", 1.0)):
        for fusion, expected in (("product", 0.0), ("sum", rgb)):
            made = ShapeGuided(**QUICK, image=image, fusion=fusion, smooth="none")
            made.__dict__.update({k: v for k, v in model.__dict__.items() if k != "settings"})
            monkeypatch.setattr(made, "judge", lambda *_, **__: (maps, {"sdf": 0.0, "rgb": 3.0}))
            assert made.score(part(9)).image == expected


def test_patch_scores_are_the_largest_distances_of_codes_and_cells(model):
    maps, scores = model.judge(part(9), ("sdf", "rgb"), model.memory)
    seen = model.look(part(9), ("sdf", "rgb"))
    assert scores["rgb"] >= maps["rgb"].max() > 0, "before it is enlarged"
    assert 0 < scores["sdf"] <= torch.cdist(seen.codes, model.memory.codes).max()


def test_shape_alone_needs_no_colour_and_keeps_none():
    samples = [part(i) for i in range(2)]
    with_colour = ShapeGuided(**FAST, branch="sdf").fit(samples, progress=False)
    without = ShapeGuided(**FAST, branch="sdf").fit([lacking(f, "rgb") for f in samples], progress=False)
    one, other = with_colour.score(part(9)), without.score(lacking(part(9), "rgb"))
    np.testing.assert_array_equal(one.map, other.map)
    assert list(one.parts) == ["sdf"] and with_colour.memory.rgb.numel() == 0
    assert one.image == one.map.max() == smooth(one.parts["sdf"]).max()


def test_colour_alone_is_judged_by_the_cells_that_shape_chooses(model):
    alone = fitted(branch="rgb")
    both, one = model.score(part(9)), alone.score(part(9))
    np.testing.assert_array_equal(one.parts["rgb"], both.parts["rgb"])
    assert list(one.parts) == ["rgb"] and alone.align == (1, 0) and alone.needs == ("rgb", "xyz")


def test_a_sample_without_colour_is_judged_by_shape_and_none_without_shape(model):
    found = model.score(lacking(part(9), "rgb"))
    np.testing.assert_array_equal(found.parts["sdf"], model.score(part(9)).parts["sdf"])
    assert list(found.parts) == ["sdf"] and found.image == found.map.max()
    with pytest.raises(MissingModality, match="no 3D features"):
        model.score(lacking(part(9), "xyz"))
    colour = fitted(2, branch="rgb", steps=1)
    with pytest.raises(MissingModality, match="no RGB features"):
        colour.score(lacking(part(9), "rgb"))
    for branch in ("both", "rgb", "sdf"):
        with pytest.raises(MissingModality, match="no 3D features"):
            ShapeGuided(**QUICK, branch=branch).fit([lacking(part(0), "xyz")], progress=False)


def test_a_sample_without_a_point_is_judged_normal(model):
    for empty in (replace(part(9), foreground=np.zeros((SIZE, SIZE), bool)), replace(part(9), cloud=0 * part(9).cloud)):
        found = model.score(empty)
        assert found.image == 0 and not found.map.any() and list(found.parts) == ["sdf", "rgb"]


def test_the_memory_holds_all_patches_and_the_cells_they_link_to(model):
    patches = [model.cut(part(i), 5.0) for i in range(3)]
    assert len(model.memory.codes) == sum(len(p.cells) for p in patches) and np.diff(model.memory.links.indptr).all()
    wide = fitted(steps=1, rgb_link="dilate2")
    assert wide.memory.links.nnz > model.memory.links.nnz


def test_scale_and_origin_of_a_channel_are_undone_before_the_pursuit_and_there_is_no_anchor(model):
    scaled = [replace(f, rgb=f.rgb.with_tokens(f.rgb.tokens * torch.tensor([100.0, 1, 0.1, 7]) + 5))
              for f in (*(part(i) for i in range(3)), part(9))]
    other = ShapeGuided(**QUICK).fit(scaled[:3], progress=False)
    assert other.standardise.anchor == {"rgb": 0, "xyz": 0}
    np.testing.assert_allclose(other.score(scaled[3]).parts["rgb"], model.score(part(9)).parts["rgb"], atol=2e-2)


def test_a_rasters_own_cells_are_taken_as_they_are_others_are_means(model):
    own = ShapeGuided(**QUICK | {"rgb_grid": 16})
    own.standardise = model.standardise
    tokens = model.standardise(part(9), "rgb").tokens
    np.testing.assert_allclose(own.rgb_cells(part(9), (16, 16))[100], tokens[100], atol=1e-6)
    assert own.rgb_cells(part(9), (12, 12)).shape == (144, 4)


def test_a_part_with_fewer_points_than_a_patch_is_judged():
    small = replace(part(9), foreground=BOX & (np.arange(SIZE) < 15))
    model = fitted(2, points=40)
    found = model.score(small)
    assert np.isfinite(found.map).all() and found.parts["sdf"][small.foreground].any()


def test_the_same_seed_gives_the_same_bits_and_another_does_not():
    one, again, other = (ShapeGuided(seed=s, **FAST).fit([part(i) for i in range(2)], progress=False) for s in (0, 0, 1))
    found = one.score(part(9))
    np.testing.assert_array_equal(again.score(part(9)).map, found.map)
    assert again.align == one.align and not np.array_equal(other.score(part(9)).map, found.map)


def test_another_cloud_is_another_training():
    a, b = shared_latent(2)
    made = [ShapeGuided(**QUICK) for _ in range(2)]
    for method, samples in zip(made, ([a, b], [a, replace(b, cloud=b.cloud * np.float32([1, 1, 1.01]))]), strict=True):
        method.usable, method._maps = [0, 1], {}
        method.start_fit(samples)
    assert made[0].identity([a, b], "fit") != made[1].identity([a, b], "fit")
