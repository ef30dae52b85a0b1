"""The renderer: one key one picture, exact masks, and defects that stay in their modality."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from scipy.ndimage import binary_dilation

from mmadlib.data.rendered_plan import CATEGORIES, defects
from mmadlib.prepare.isolate import isolate_object
from mmadlib.render import take
from mmadlib.render.catalogue import CATALOGUE
from mmadlib.render.defects import RESIDUES, Defect, draw_defect
from mmadlib.render.materials import Surface, encoded, lab, linear, surface
from mmadlib.render.noise import field, lookup, step
from mmadlib.render.parts import Feature, Kind, Part
from mmadlib.render.photograph import draw_pose
from mmadlib.render.scene import CENTRE, FOCUS, PIXEL, Pose, Scene
from mmadlib.render.sensor import camera_parameters, cloud, noise
from mmadlib.sample import Sample

KEY = (0, "keyed", "test", "any", 0)
PAIRS = [(c, d) for c in CATALOGUE for d in defects(c)]


@cache
def shot(category: str, defect: str = "good", strength: float = 1.0, number: int = 0):
    return take((0, category, number), category, defect, strength)


def puck(features: tuple = ()) -> Part:
    """A bare disc of 30 mm radius, 10 mm high."""
    return Part("round", 30.0, 10.0, features, "moulded", (0.5, 0.5, 0.5), {})


def test_noise_is_standardised_and_repeats():
    noise = field(np.random.default_rng(0), 64, 3.0)
    assert noise.dtype == np.float32 and abs(noise.mean()) < 1e-4 and abs(noise.std() - 1) < 1e-4
    x = np.array([1.3, -7.0])
    np.testing.assert_allclose(lookup(noise, x, x, 0.5), lookup(noise, x + 32, x - 64, 0.5), atol=1e-5)
    assert field(np.random.default_rng(0), 64, 9.0, 0.5).std(1).mean() < noise.std(1).mean(), "stretched along x"


def test_step_and_lookup_at_their_ends():
    np.testing.assert_allclose(step(np.array([-1.0, 0.0, 1.0, 2.0, 5.0]), 2.0), [0, 0, 0.5, 1, 1])
    ramp = np.tile(np.arange(5, dtype=np.float32), (5, 1))
    np.testing.assert_allclose(lookup(ramp, np.array([0.0, 0.5, 90.0]), np.zeros(3), 1.0, wrap=False), [2, 2.5, 4])


def test_colours_survive_encoding():
    colours = np.random.default_rng(0).random((50, 3)).astype(np.float32)
    np.testing.assert_allclose(encoded(linear(colours)), colours, atol=1e-5)
    np.testing.assert_allclose(lab(np.ones((1, 3))), [[100, 0, 0]], atol=0.1)


def test_height_of_a_part():
    part = puck((Feature(0, 0, 5, Kind(2.0)), Feature(15, 0, 4, Kind(-3.0), length=3, angle=np.pi / 2)))
    x, y = np.array([0.0, -15, 15, 15, 40]), np.array([0.0, 0, 0, 4.5, 0])
    np.testing.assert_allclose(part.height(x, y), [12, 10, 7, 7, 0], atol=1e-6)
    assert part.reach > 30 and tuple(CATALOGUE) == CATEGORIES


def test_swapping_changes_one_feature_and_nothing_else():
    part = CATALOGUE["keyed"](np.random.default_rng(1))
    other = part.swap(0)
    assert other.features[1:] == part.features[1:] and other.swap(0) == part
    side = np.linspace(-45, 45, 200)
    x, y = np.meshgrid(side, side)
    changed = part.height(x, y) != other.height(x, y)
    assert changed.any() and (part.features[0].distance(x[changed], y[changed]) < 0).all()
    assert part.features[0].kind.paint != other.features[0].kind.paint


@pytest.mark.parametrize("category", CATALOGUE)
def test_every_part_rises_above_the_threshold_of_plane_removal_and_varies(category):
    parts = [CATALOGUE[category](np.random.default_rng(i)) for i in range(20)]
    for part in parts:
        side = np.linspace(-part.reach, part.reach, 120)
        x, y = np.meshgrid(side, side)
        inside = part.depth_inside(x, y) > 5
        assert part.height(x, y)[inside].min() > 6.0
        assert part.height(x, y)[part.depth_inside(x, y) < 0].max() == 0
    assert len({f.kind.lift > 0 for p in parts for f in p.features[:1]}) == 2 or category == "organic"
    assert any(f.other for f in parts[0].features) or category == "free"


def test_colour_says_shape_on_keyed_but_not_on_free():
    def paints(category, sign):
        parts = [CATALOGUE[category](np.random.default_rng(i)) for i in range(20)]
        return {f.kind.paint for p in parts for f in p.features if sign * f.kind.lift > 0 and abs(f.kind.lift) < 3}

    assert not paints("keyed", 1) & paints("keyed", -1)
    assert paints("free", 1) == paints("free", -1) and len(paints("free", 1)) >= 4


def test_scene_measures_the_table_and_the_top():
    scene = Scene(puck().height, puck().reach, Pose(0.3, 0.0, 0.0, np.deg2rad(15)))
    depth, points, normals, on_part = scene.cast()
    assert abs(np.median(points[on_part][:, 2]) - 10) < 0.05 and abs(points[~on_part][:, 2]).max() < 1.1
    assert abs(normals[on_part][:, 2]).max() > 0.999 and on_part.mean() > 0.1
    assert abs(depth[111, 111] - (500 - 10 / np.cos(np.deg2rad(15)))) < 1.0
    ground = scene.ground(60.0, 41)
    assert ground[20, 20, 2] == pytest.approx(10, abs=0.01) and ground[0, 0, 2] == pytest.approx(0, abs=0.01)


def test_a_place_beside_the_wall_is_shadowed_from_the_far_side_only():
    scene = Scene(puck().height, puck().reach, Pose(0.0, 0.0, 0.0, 0.2))
    low = np.array([[33.0, 0, 0], [33.0, 0, 0], [0, 0, 10.0]], np.float32)
    towards = np.array([[-1, 0, 0.3], [1, 0, 0.3], [-1, 0, 0.3]], np.float32)
    assert scene.blocked(low, towards).tolist() == [True, False, False]


def test_pose_maps_back_and_forth():
    pose = draw_pose(np.random.default_rng(3))
    x, y = np.random.default_rng(0).normal(size=(2, 50)) * 30
    np.testing.assert_allclose(pose.to_part(*pose.to_table(x, y)), [x, y], atol=1e-9)
    np.testing.assert_allclose(pose.camera[:, :3].T @ pose.camera[:, :3], np.eye(3), atol=1e-6)


def test_cloud_projects_back_onto_its_pixels_and_steps_in_disparity():
    depth = np.linspace(480, 520, 224 * 224).reshape(224, 224)
    missing = np.zeros((224, 224), bool)
    missing[5, 7] = True
    xyz = cloud(depth, np.zeros_like(depth), missing)
    assert xyz.dtype == np.float32 and (xyz[5, 7] == 0).all() and (xyz[~missing] != 0).all()
    ok = camera_parameters()
    v, u = np.mgrid[:224, :224][:, ~missing]
    x, y, z = xyz[~missing].T
    np.testing.assert_allclose(x / z * ok["focus"] / ok["sx"] + ok["cx"], u, atol=0.02)
    np.testing.assert_allclose(y / z * ok["focus"] / ok["sy"] + ok["cy"], v, atol=0.02)
    assert abs(z * 1000 - depth[~missing]).max() < 0.06 and len(np.unique(z)) < 600
    assert (FOCUS, PIXEL, CENTRE) == (ok["focus"], ok["sx"], (ok["cx"], ok["cy"]))


def test_a_stain_has_the_wanted_colour_difference_and_is_matt():
    part = puck()
    x = y = np.zeros(1)
    defect = draw_defect(np.random.default_rng(0), "stain", part, 1.0)
    for strength in (0.5, 1.0):
        s = Surface(linear([[0.5, 0.5, 0.5]]), np.full(1, 0.8), np.full(1, 0.4), np.zeros((1, 2)))
        there = replace(defect, x=0.0, y=0.0, strength=strength, fine=np.zeros((8, 8)))
        clean = s.albedo.copy()
        there.colour(s, x, y)
        assert np.linalg.norm(lab(s.albedo) - lab(clean)) == pytest.approx(42 * 0.85 * strength, rel=0.25)
        assert s.metal[0] < 0.8
    assert len(RESIDUES) >= 3


def test_defects_lie_well_inside_the_part_and_dents_sink():
    part = CATALOGUE["shape"](np.random.default_rng(0))
    side = np.linspace(-50, 50, 300)
    x, y = np.meshgrid(side, side)
    for i in range(30):
        defect: Defect = draw_defect(np.random.default_rng(i), "dent", part, 1.0)
        touched = np.abs(defect.lift(x, y)) > 0.1
        assert touched.any() and part.depth_inside(x[touched], y[touched]).min() > 1.0
        if defect.form != "rough":
            assert defect.lift(x, y).min() == pytest.approx(-2.2, rel=0.05) and defect.lift(x, y).max() <= 0
        assert not replace(defect, kind="stain").lift(x, y).any() and not replace(defect, strength=0.0).lift(x, y).any()


def test_the_same_key_gives_the_same_bytes_and_another_key_another_part():
    one, again, other = take(KEY, "keyed"), take(KEY, "keyed"), take((1, *KEY[1:]), "keyed")
    assert all((getattr(one, k) == getattr(again, k)).all() for k in ("rgb", "xyz", "mask"))
    assert (one.rgb != other.rgb).mean() > 0.2 and not one.mask.any()


@pytest.mark.parametrize("category", CATALOGUE)
def test_picture_and_cloud_are_what_preprocessing_needs(category):
    s = shot(category)
    assert s.rgb.shape == s.xyz.shape == (224, 224, 3) and (s.rgb.dtype, s.xyz.dtype) == (np.uint8, np.float32)
    assert 60 < s.rgb.mean() < 170 and s.rgb[s.mask == 0].std() > 10, "neither dark nor blown out"
    invalid = (s.xyz == 0).any(-1)
    assert (s.xyz[invalid] == 0).all() and 0.01 < invalid.mean() < 0.1
    assert (~invalid[:10]).sum() > 1000, "the table fills the rim"
    alone = isolate_object(Sample(s.rgb, s.xyz))
    assert 0.15 < alone.valid.mean() < 0.45
    rim = np.ones((224, 224), bool)
    rim[10:-10, 10:-10] = False
    assert not alone.valid[rim].any()


@pytest.mark.parametrize(("category", "defect"), PAIRS)
def test_a_defect_shows_in_its_modality_only(category, defect):
    bad, clean = shot(category, defect), shot(category, defect, 0.0)
    assert not clean.mask.any() and 10 < bad.mask.sum() < 3000
    near = binary_dilation(bad.mask, iterations=6)
    same_rgb, same_xyz = (bad.rgb == clean.rgb).all(-1), (bad.xyz == clean.xyz).all(-1)
    if defect in ("dent", "relation"):
        assert same_rgb.all(), "the picture is the clean part's"
    else:
        assert not same_rgb[bad.mask].all()
    if defect == "stain":
        assert same_xyz.all() and same_rgb[~near].all()
    else:
        assert not same_xyz[bad.mask].all()
        assert (~same_xyz[~near]).mean() < 0.002
    if defect == "dent":
        assert ((bad.xyz == 0) == (clean.xyz == 0)).all(), "a dent must not show by its missing returns"


def test_a_mask_marks_where_the_depth_changed():
    bad, clean = shot("keyed", "dent"), shot("keyed", "dent", 0.0)
    change = np.abs(bad.xyz - clean.xyz)[..., 2]
    assert change[bad.mask & (clean.xyz[..., 2] > 0)].mean() > 5e-4 and change[~bad.mask].max() < 5e-4


def test_depth_is_noisier_where_the_surface_turns_away():
    flat = noise(np.full((224, 224), 500.0), np.full((224, 224), 1.0), np.random.default_rng(0))
    steep = noise(np.full((224, 224), 500.0), np.full((224, 224), 0.4), np.random.default_rng(0))
    far = noise(np.full((224, 224), 600.0), np.full((224, 224), 1.0), np.random.default_rng(0))
    assert flat.std() == pytest.approx(0.07, rel=0.1)
    assert steep.std() > 2 * flat.std() and far.std() == pytest.approx(1.44 * flat.std(), rel=0.01)


def test_paint_covers_its_feature():
    part = CATALOGUE["keyed"](np.random.default_rng(2))
    f = part.features[0]
    s = surface(part, np.array([f.x, f.x + f.r + 1.0]), np.array([f.y, f.y]))
    assert np.linalg.norm(lab(s.albedo[:1]) - lab(linear(f.kind.paint))) < 12 and s.metal[0] == 0 < s.metal[1]
