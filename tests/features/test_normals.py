"""Surface normals: exact on planes, close on a ball, towards the camera; then the picture, its tokens, the pair of sides."""

import numpy as np
import pytest
from samples import TINY_VIT as TINY
from samples import dome

from mmadlib.errors import DataError, SettingsError, UnknownName
from mmadlib.features import Extractor, dino, extract, extract_all, extractor, networks
from mmadlib.features.cache import FeatureSet
from mmadlib.features.dino import Dino
from mmadlib.features.normals import RADIUS, RECIPES, normal_image, normal_picture, surface_normals
from mmadlib.prepare.grid import to_grid
from mmadlib.sample import Sample

PAIR = {"rgb": TINY, "xyz": f"normals_{TINY}", "rgb_weights": "random", "rgb_blocks": 2, "size": 64}
recipes = pytest.mark.parametrize("recipe", RECIPES)


def rays(size=(80, 96), pitch=5e-4, distance=0.5):
    """Directions (H, W, 3) with z = 1 through a grid of this pitch at that distance, no coordinate zero."""
    v, u = (np.indices(size).T - (np.array(size) - 1) / 2).T * pitch / distance
    return np.stack([u, v, np.ones(size)], -1)


def plane(tilt=(0.0, 0.0), **grid):
    """Cloud of the plane z = 0.5 + a x + b y, and its unit normal towards the camera."""
    normal = np.array([*tilt, -1]) / np.linalg.norm([*tilt, 1])
    direction = rays(**grid)
    return (direction * (-0.5 * abs(normal[2]) / (direction @ normal))[..., None]).astype(np.float32), normal


def ball(radius=0.03):
    """Cloud of a ball half a metre away seen by the camera, zero beside it, with its valid pixels and outward normals."""
    direction = rays((160, 160))
    centre, square = np.array([0, 0, 0.5]), (direction**2).sum(-1)
    reach = direction @ centre / square
    root = reach**2 - (centre @ centre - radius**2) / square
    valid = root > 0
    points = direction * (reach - np.sqrt(root.clip(0)))[..., None] * valid[..., None]
    return points.astype(np.float32), valid, (points - centre) / radius


def step(height):
    """Two flat halves, the right one farther away by `height`."""
    direction = rays()
    depth = np.where(np.arange(96) < 48, 0.5, 0.5 + height)
    return (direction * depth[:, None]).astype(np.float32)


def everywhere(xyz):
    return np.ones(xyz.shape[:2], bool)


def degrees(a, b):
    """Angles between unit vectors, exact for small ones."""
    return np.degrees(2 * np.arcsin(np.clip(np.linalg.norm(a - b, axis=-1) / 2, 0, 1)))


@recipes
@pytest.mark.parametrize("tilt", [(0, 0), (0.5, 0), (-0.3, 0.8), (0, -2)])
def test_a_plane_has_its_normal_everywhere(recipe, tilt):
    xyz, want = plane(tilt)
    found = surface_normals(xyz, everywhere(xyz), recipe)
    assert found.dtype == np.float32 and found.shape == xyz.shape
    assert degrees(found, want).max() < 0.05, "up to the rounding of float32"


@recipes
def test_a_ball_within_degrees_and_towards_the_camera(recipe):
    xyz, valid, want = ball()
    found = surface_normals(xyz, valid, recipe)
    has = found.any(-1)
    assert has[valid].mean() > 0.98 and not found[~valid].any()
    error = degrees(found, want)
    facing = has & ((want * -xyz).sum(-1) > 0.3 * np.linalg.norm(xyz, axis=-1))
    assert np.median(error[has]) < 1 and error[facing].max() < 8
    assert ((found * -xyz).sum(-1)[has] > 0).all()
    np.testing.assert_allclose(np.linalg.norm(found[has], axis=-1), 1, atol=1e-6)


@recipes
def test_towards_the_camera_on_a_mirrored_grid_too(recipe):
    xyz, want = plane((0.4, 0.2))
    found = surface_normals(xyz[:, ::-1], everywhere(xyz), recipe)
    assert degrees(found, want).max() < 0.05


@recipes
def test_the_same_cloud_gives_the_same_bits(recipe):
    rng = np.random.default_rng(0)
    xyz, valid, _ = ball()
    xyz += rng.normal(0, 2e-4, xyz.shape).astype(np.float32) * valid[..., None]
    before = xyz.copy()
    one, two = (surface_normals(xyz, valid, recipe) for _ in range(2))
    np.testing.assert_array_equal(one, two)
    np.testing.assert_array_equal(xyz, before)


@recipes
@pytest.mark.parametrize("scale", [1, 0.01], ids=["far", "so near that (0, 0, 0) lies within the radius"])
def test_what_is_not_valid_has_no_part(recipe, scale):
    xyz, want = plane((0.3, 0.1))
    xyz *= scale
    valid = np.random.default_rng(1).random(xyz.shape[:2]) < 0.9
    one, other = (surface_normals(np.where(valid[..., None], xyz, fill).astype(np.float32), valid, recipe)
                  for fill in (0, np.nan))
    np.testing.assert_array_equal(one, other)
    assert not one[~valid].any()
    has = one.any(-1)
    assert has[valid].mean() > (0.999 if recipe == "neighbours" else 0.97) and degrees(one[has], want).max() < 0.05


def test_neighbours_are_the_nearest_thirty_within_a_centimetre():
    """Against a plain least-squares plane of every point's neighbours."""
    xyz = ball()[0][60:100, 60:100].reshape(-1, 3) + np.random.default_rng(0).normal(0, 1e-4, (1600, 3))
    xyz = np.concatenate([xyz, [[0.02, 0.02, 0.47], [0.026, 0.02, 0.47], [0.02, 0.025, 0.472]]])  # few points of their own
    found = surface_normals(xyz[None], np.ones((1, len(xyz)), bool))[0]
    for i in (0, 777, len(xyz) - 2, len(xyz) - 1):
        distance = np.linalg.norm(xyz - xyz[i], axis=1)
        near = np.argsort(distance, kind="stable")[:30]
        near = near[distance[near] <= 0.01]
        axis = np.linalg.svd(xyz[near] - xyz[near].mean(0))[2][2]
        assert len(near) in (3, 30)
        assert abs(found[i] @ axis) > 1 - 1e-6


@recipes
def test_too_few_points_or_a_line_have_no_normal(recipe):
    xyz, _ = plane()
    valid = np.zeros(xyz.shape[:2], bool)
    valid[10, 10] = valid[30, 30:32] = True  # alone, a pair
    valid[60, 20:70] = True  # a line
    assert not surface_normals(xyz, valid, recipe).any()
    valid[61, 40] = True
    assert surface_normals(xyz, valid, recipe)[60, 40].any(), "three points off a line are a plane"


@recipes
def test_a_depth_jump_beyond_the_radius_is_no_surface(recipe):
    """Both sides keep the normal of their own half, up to the edge; across less than the radius they blend, as documented."""
    xyz = step(1.5 * RADIUS)
    found = surface_normals(xyz, everywhere(xyz), recipe)
    assert degrees(found, [0, 0, -1]).max() < 0.05
    xyz = step(0.1 * RADIUS)
    tilted = degrees(surface_normals(xyz, everywhere(xyz), recipe), [0, 0, -1])
    assert tilted[:, 47:49].min() > 10 and tilted[:, :40].max() < 0.05


def test_differences_are_central_and_one_sided_beside_a_hole():
    """On z = 0.5 + 30 x^2 a central difference is exact and a one-sided one is off by the slope over half a pixel."""
    y, x = (np.indices((9, 41)) - [[[4]], [[20]]] + 0.25) * 5e-4
    xyz = np.stack([x, y, 0.5 + 30 * x**2], -1)
    valid = everywhere(xyz)
    valid[4, 10] = False
    slope = np.divide(*np.moveaxis(surface_normals(xyz, valid, "grid")[..., [0, 2]], -1, 0) * [[[1]], [[-1]]],
                      out=np.zeros(valid.shape), where=valid)
    want = 60 * x
    want[:, 0] += 30 * 5e-4
    want[:, -1] -= 30 * 5e-4
    want[4, 9] -= 30 * 5e-4
    want[4, 11] += 30 * 5e-4
    np.testing.assert_allclose(slope[valid], want[valid], atol=1e-5)


def test_clouds_that_are_none():
    xyz, _ = plane()
    for cloud, valid in ((xyz.reshape(-1, 3), np.ones(xyz.shape[0] * xyz.shape[1], bool)), (xyz[..., :2], everywhere(xyz)),
                         (xyz, everywhere(xyz)[1:]), (xyz, everywhere(xyz).astype(int))):
        with pytest.raises(DataError, match="organised cloud"):
            surface_normals(cloud, valid)
    with pytest.raises(DataError, match="NaN or infinite"):
        surface_normals(np.where(xyz == xyz.max(), np.nan, xyz), everywhere(xyz))
    with pytest.raises(UnknownName, match="neighbours"):
        surface_normals(xyz, everywhere(xyz), "neighbors")


def test_eight_bits_of_a_normal():
    normals = np.array([[[0, 0, -1], [1, 0, 0], [0, -1, 0], [0, 0, 0], [0.28, 0, -0.96]]])
    want = [[[128, 128, 0], [255, 128, 128], [128, 0, 128], [0, 0, 0], [163, 128, 5]]]
    image = normal_image(normals)
    assert image.dtype == np.uint8
    np.testing.assert_array_equal(image, want)
    corner = -np.ones((1, 1, 3)) / np.sqrt(3)
    assert normal_image(corner).any(), "the darkest normal is not black"


@recipes
@pytest.mark.parametrize(("size", "pad", "rows"), [((60, 90), "edge", (15, 75)), ((60, 90), "zero", (15, 75)),
                                                   ((60, 90), "none", (0, 90)), ((60, 60), "edge", (0, 90))])
def test_the_picture_is_padded_by_black(size, pad, rows, recipe):
    xyz, _ = plane(size=size)
    sample = Sample(np.zeros((*size, 3), np.uint8), xyz)
    picture = normal_picture(sample, 90, pad, recipe)
    want = np.zeros((90, 90, 3), np.uint8)
    want[slice(*rows)] = (128, 128, 0)
    np.testing.assert_array_equal(picture, want)


def test_the_picture_lies_on_the_colour_picture():
    """A white patch and the same patch of the cloud meet on the same pixels, at double the size too."""
    xyz, _ = plane(size=(60, 90))
    rgb, valid = np.zeros((60, 90, 3), np.uint8), np.zeros((60, 90), bool)
    rgb[20:40, 10:30] = 255
    valid[20:40, 10:30] = True
    sample = Sample(rgb, np.where(valid[..., None], xyz, 0))
    for size in (180, 90, 30):
        colour = to_grid(sample, size).rgb[..., 0]
        red = normal_picture(sample, size)[..., 0]
        np.testing.assert_array_equal(red > 64, colour > 127)
        assert red.max() == 128, "bilinear: nothing rises above the patch"


def test_a_cloud_without_surface_is_named(tmp_path):
    sample = dome(path=tmp_path / "x.tiff")
    with pytest.raises(DataError, match=r"x\.tiff: only 0 of \d+ valid points.*metres"):
        normal_picture(sample.with_(xyz=sample.xyz * 1000))
    order = np.random.default_rng(0).permutation(np.flatnonzero(sample.valid))
    shuffled = sample.xyz.reshape(-1, 3).copy()
    shuffled[np.flatnonzero(sample.valid)] = shuffled[order]
    with pytest.raises(DataError, match="organised"):
        normal_picture(sample.with_(xyz=shuffled.reshape(sample.xyz.shape)), recipe="grid")
    with pytest.raises(DataError, match="frame='camera'"):
        normal_picture(sample.with_(extra={"frame": "literature"}))


def test_both_sides_share_one_frozen_encoder(monkeypatch):
    made = []
    monkeypatch.setattr(dino, "create", lambda *given, **options: made.append(networks.create(*given, **options)) or made[-1])
    pair = Extractor(**PAIR)
    model, = made
    assert not model.training and not any(p.requires_grad for p in model.parameters())
    alone = Extractor(**PAIR | {"rgb": "descriptors"})
    features, single = pair(dome()), alone(dome())
    assert not features.xyz.tokens.requires_grad
    np.testing.assert_array_equal(features.xyz.tokens, single.xyz.tokens)
    assert features.meta["family"] == "paper" and single.meta["family"] == "mixed"


def test_tokens_are_those_of_the_normal_picture():
    sample = dome()
    features = extract(sample, **PAIR)
    want = Dino(TINY, 2, 64, "random").encode(normal_picture(sample, 64)).tokens
    np.testing.assert_array_equal(features.xyz.tokens, want)
    assert not np.array_equal(features.rgb.tokens, want)
    np.testing.assert_array_equal(features.foreground, (features.cloud != 0).all(-1))


def test_normals_come_from_the_native_cloud_without_its_background(monkeypatch):
    seen = []
    monkeypatch.setattr("mmadlib.features.normals.surface_normals",
                        lambda *given: seen.append(given) or surface_normals(*given))
    sample = dome(96)
    v, u = np.mgrid[:96, :96] - 47.5
    table = np.stack([8e-4 * u, 8e-4 * v, np.full(u.shape, 0.5)], -1).astype(np.float32)
    whole = sample.with_(xyz=np.where(sample.valid[..., None], sample.xyz, table), valid=None, isolated=False,
                         dataset="rendered")
    extract(whole, **PAIR)
    (xyz, valid, recipe), = seen
    assert xyz.shape == (96, 96, 3) and recipe == "neighbours"
    assert 0.05 < valid.mean() < 0.4 and not valid[0].any()


def test_recipes_and_layers_are_options_that_name_the_features():
    base = Extractor(**PAIR)
    others = [Extractor(**PAIR, normals="grid"), Extractor(**PAIR, rgb_layers="0-1"), Extractor(**PAIR, rgb_layers="1-1")]
    tokens = [e.tokens(dome()).xyz.tokens for e in (base, *others)]
    assert len({e.key for e in (base, *others)}) == 4
    assert not any(np.array_equal(tokens[0], t) for t in tokens[1:])
    named = Extractor(**PAIR, normals="neighbours", rgb_layers="")
    assert named.key == base.key and not {"normals", "rgb_layers"} & set(base.settings)
    assert others[0].settings == base.settings | {"normals": "grid"}


@pytest.mark.parametrize(("given", "error", "match"), [
    ({"xyz": "normals_dinov2_vitb15"}, UnknownName, "'normals_dinov2_vitb15': did you mean 'normals_dinov2_vitb14'"),
    ({"xyz": "normals_"}, UnknownName, "normals_dinov2_vitb14"), ({"xyz": "normal"}, UnknownName, "normals_dinov2_vitb14"),
    ({"rgb": f"normals_{TINY}"}, UnknownName, "normals_<any of timm>"), ({"normals": "gird"}, UnknownName, "grid"),
    ({"rgb_layers": "9"}, SettingsError, "first-last"), ({"rgb_layers": "9-2"}, SettingsError, "first-last"),
    ({"rgb_layers": "1-2"}, SettingsError, r"rgb_layers='1-2'.*the 2 that rgb_blocks")])
def test_wrong_names_and_layers(given, error, match):
    with pytest.raises(error, match=match):
        Extractor(**PAIR | given)


def test_the_cache_keeps_both_sides(tmp_path):
    made, samples = Extractor(**PAIR), [dome(seed=s) for s in range(2)]
    first = extract_all(samples, made, tmp_path, progress=False)
    again = FeatureSet(samples, made, tmp_path)
    assert again.folder.name.startswith(f"{TINY}+normals_{TINY}-") and len(list(again.folder.iterdir())) == 2
    for one, two, sample in zip(first, again, samples, strict=True):
        np.testing.assert_array_equal(one.xyz.tokens, two.xyz.tokens)
        np.testing.assert_allclose(one.xyz.tokens, made(sample).xyz.tokens, atol=2e-3)
        assert one.meta["xyz"] == f"normals_{TINY}"


def test_a_sample_without_geometry():
    sample = dome()
    blind = sample.with_(xyz=np.zeros_like(sample.xyz), missing="xyz")
    features = extract(blind, **PAIR)
    assert features.missing == "xyz" and features.xyz.channels == 0 and features.rgb.channels == 192
    with pytest.raises(DataError, match="only 0 of"):
        normal_picture(blind)


def test_dinov2_at_224_px_has_256_tokens_of_width_768():
    features = extract(dome(), "dinov2_vitb14", "normals_dinov2_vitb14", rgb_weights="random", rgb_blocks=1, rgb_layers="0-0")
    assert features.rgb.tokens.shape == features.xyz.tokens.shape == (256, 768)
    extractor._extractor.cache_clear()  # 86 million parameters less
