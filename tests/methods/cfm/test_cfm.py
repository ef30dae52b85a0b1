"""CFM against recorded outputs of the official code (tests/data/golden/cfm_*.npz) and the invariants of the method."""


import numpy as np
import pytest
import torch
from recorded import RECORDED, assert_whole
from synthetic import pixel_features, shared_latent

from mmadlib.errors import SettingsError, TrainingError, UnknownName
from mmadlib.methods import METHODS
from mmadlib.methods.cfm.cfm import aggregate, mapping_losses
from mmadlib.methods.distances import prediction_error
from mmadlib.methods.mapper import Mapper
from mmadlib.methods.scoring import normalise

DATA = RECORDED
CFM = METHODS["cfm"]


def official(net: Mapper, golden, prefix: str) -> Mapper:
    """Load parameters recorded under the official key names (projection, or projection_a..e for the big network)."""
    names = {k: v for k, v in golden.items() if k.startswith(prefix)}
    state = {}
    for key, value in names.items():
        layer, _, kind = key[len(prefix):].strip(".").rpartition(".")
        if layer.startswith("projection"):
            index = 0 if layer == "projection" else "abcde".index(layer[-1])
            layer = f"projection.{index}"
        state[f"{layer}.{kind}"] = torch.from_numpy(value)
    net.load_state_dict(state)
    return net


@pytest.fixture(scope="module")
def nets():
    return dict(np.load(DATA / "cfm_nets.npz"))


@pytest.fixture(scope="module")
def recorded():
    return dict(np.load(DATA / "cfm_score.npz"))


@pytest.mark.parametrize(("name", "side", "kind"), [("CFM_2Dto3D", "rgb", "mlp3"), ("CFM_3Dto2D", "xyz", "mlp3"),
                                                    ("big_2Dto3D", "rgb", "mlp7"), ("big_3Dto2D", "xyz", "mlp7")])
def test_networks_equal_the_official_forward(nets, name, side, kind):
    c_in, c_out = (12, 20) if side == "rgb" else (20, 12)
    net = official(Mapper(c_in, c_out, 16, kind), nets, f"param.{name}")
    out = net(torch.from_numpy(nets[f"in.{side}_patch"]))
    np.testing.assert_allclose(out.detach(), nets[f"out.forward.{name}"], rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize("steps", [1, 3])
def test_fit_equals_the_official_training(nets, steps, monkeypatch):
    names, build = {"G": "CFM_2Dto3D", "M": "CFM_3Dto2D"}, CFM.build

    def recorded_networks(*arguments):
        return {name: official(net, nets, f"param.{names[name]}") for name, net in build(*arguments).items()}

    features = [pixel_features(rgb, xyz, ~mask.reshape(5, 8)) for rgb, xyz, mask in
                zip(nets["in.rgb_patch"], nets["in.xyz_patch"], nets["out.xyz_mask"], strict=True)]
    monkeypatch.setattr(CFM, "build", recorded_networks)
    method = CFM(epochs=steps, batch=2, pixels=0, hidden=0).fit(features, progress=False)
    assert method.optimisers()["adam"].defaults["betas"] == (0.9, 0.999)  # three steps hardly feel the second
    ours = [[losses["RGB to 3D"], losses["3D to RGB"]] for losses in method.losses]
    expected = np.stack([nets["out.loss_2Dto3D"], nets["out.loss_3Dto2D"]], 1)
    np.testing.assert_allclose(ours, expected[:steps], rtol=0, atol=1e-6)
    for key, net in method.networks.items():
        trained = official(build(method, 12, 20)[key], nets, f"out.step{steps}.{names[key]}").state_dict()
        for name, value in net.state_dict().items():
            np.testing.assert_allclose(value, trained[name], rtol=0, atol=1e-5)


def test_score_equals_the_official_inference(recorded):
    foreground = ~np.unpackbits(recorded["xyz_mask"])[:224 * 224].astype(bool).reshape(224, 224)
    rgb, xyz = (recorded[f"{side}_feat_q"].astype(np.float32) / 32 for side in ("rgb", "xyz"))
    features = pixel_features(rgb, xyz, foreground)
    method = CFM(hidden=0)
    method.standardise.fit([features])
    method.make_networks()
    official(method.networks["G"], recorded, "param.CFM_2Dto3D")
    official(method.networks["M"], recorded, "param.CFM_3Dto2D")
    method.fitted = True
    scores = method.score(features)
    assert_whole(scores.parts["rgb"], recorded["psi_2d"], 1e-5)
    assert_whole(scores.parts["xyz"], recorded["psi_3d"], 1e-5)
    assert_whole(scores.map, recorded["psi_blur"], 1e-5)
    assert_whole(normalise(scores.map, "aupro"), recorded["map_aupro"], 1e-5)
    assert_whole(normalise(scores.map, "p_auroc"), recorded["map_pauroc"], 1e-5)
    assert scores.image == pytest.approx(float(recorded["image_score"]), abs=1e-5)
    assert (scores.map != 0).sum() == recorded["n_nonzero"]


@pytest.mark.parametrize(("kind", "g", "m"), [("mlp3", 2_767_872, 2_767_488), ("mlp2", 1_845_312, 1_844_928)])
def test_parameter_counts_at_paper_size(kind, g, m):
    with torch.device("meta"):
        counts = [sum(p.numel() for p in Mapper(*io, 960, kind).parameters()) for io in ((768, 1152), (1152, 768))]
    assert counts == [g, m]


def test_big_network_has_the_published_size():
    with torch.device("meta"):
        assert sum(p.numel() for io in ((768, 1152), (1152, 768)) for p in Mapper(*io, 960, "mlp7").parameters()) == 12_915_840


def test_first_layer_on_tokens_equals_first_layer_on_pixels():
    features = shared_latent(1)[0]
    net = Mapper(10, 8, 6)
    pixels = np.array([0, 30, 200])
    torch.testing.assert_close(net.at(features.rgb, pixels), net(features.rgb.at(pixels)))


def test_error_is_the_chord_of_the_angle_and_ignores_scale():
    p, f = torch.randn(50, 7), torch.randn(50, 7)
    cos = torch.cosine_similarity(p.double(), f.double())
    torch.testing.assert_close(prediction_error(p, f).double(), (2 - 2 * cos).sqrt(), atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(prediction_error(3 * p, f), prediction_error(p, f))
    assert prediction_error(2 * f, f).max() < 1e-6


def test_loss_is_zero_for_positive_multiples():
    class Scaled(torch.nn.Module):
        def forward(self, x):
            return 2.5 * x

    x = torch.randn(20, 5)
    assert max(loss.item() for loss in mapping_losses(Scaled(), Scaled(), x, x).values()) < 1e-6


def test_training_learns_the_shared_latent_and_finds_a_swapped_pixel():
    method = CFM(steps=200, hidden=128, smooth="none", image_norm="none", lr=3e-3)
    method.fit(shared_latent(3), progress=False)
    first, last = sum(method.losses[0].values()), np.mean([sum(step.values()) for step in method.losses[-10:]])
    assert last < 0.05 < first
    test = shared_latent(4)[3]
    pixels = test.pixels
    tokens = test.xyz.tokens.clone()
    tokens[pixels[40]] = -tokens[pixels[40]]
    planted = test.__class__(test.rgb, test.xyz.with_tokens(tokens), test.foreground, test.cloud, test.meta)
    assert method.score(planted).map.argmax() == pixels[40]
    assert method.score(planted).image > method.score(test).image


def test_background_changes_nothing_and_maps_vanish_there():
    train = shared_latent(2)
    method = CFM(steps=5, smooth="none").fit(train, progress=False)
    test = train[0]
    tokens = test.xyz.tokens.clone()
    tokens[~torch.from_numpy(test.foreground.ravel())] = 7.0
    other = test.__class__(test.rgb, test.xyz.with_tokens(tokens), test.foreground, test.cloud, test.meta)
    np.testing.assert_array_equal(method.score(other).map, method.score(test).map)
    assert (method.score(test).map[~test.foreground] == 0).all()
    refitted = CFM(steps=5, smooth="none").fit([other, train[1]], progress=False)
    np.testing.assert_array_equal(refitted.score(test).map, method.score(test).map)


def test_swapping_the_roles_leaves_the_product():
    train = shared_latent(2)
    method = CFM(steps=10).fit(train, progress=False)
    swapped = CFM(steps=10)
    swap = [f.__class__(f.xyz, f.rgb, f.foreground, f.cloud, f.meta) for f in train]
    swapped.standardise.fit(swap)
    swapped.networks, swapped.fitted = {"G": method.networks["M"], "M": method.networks["G"]}, True
    np.testing.assert_array_equal(swapped.score(swap[0]).map, method.score(train[0]).map)


def test_product_is_zero_where_one_error_is_zero_and_rules_differ():
    e2, e3 = np.array([[0.0, 0.5]]), np.array([[1.0, 0.5]])
    assert aggregate(e2, e3, "product").tolist() == [[0, 0.25]]
    assert aggregate(e2, e3, "sum").tolist() == [[1, 1]]
    assert aggregate(e2, e3, "max").tolist() == [[1, 0.5]]
    assert aggregate(e2, e3, "rgb") is e2 and aggregate(e2, e3, "xyz") is e3
    with pytest.raises(UnknownName, match="unknown aggregate 'sun': did you mean 'sum'"):
        aggregate(e2, e3, "sun")


def test_same_seed_same_maps_and_another_seed_others(tmp_path):
    train = shared_latent(2)
    maps = [CFM(seed=s, steps=20).fit(train, progress=False).score(train[0]).map for s in (1, 1, 2)]
    np.testing.assert_array_equal(maps[0], maps[1])
    assert not np.array_equal(maps[0], maps[2])


def test_save_and_load_give_the_same_scores(tmp_path):
    train = shared_latent(2)
    method = CFM(seed=3, steps=5, mapper="mlp2").fit(train, progress=False)
    again = CFM.load(method.save(tmp_path / "model"))
    np.testing.assert_array_equal(again.score(train[1]).map, method.score(train[1]).map)
    assert again.settings == method.settings and again.seed == 3


def test_published_training_uses_all_pixels_by_epochs():
    method = CFM(epochs=3, batch=2, pixels=0, hidden=0).fit(shared_latent(3), progress=False)
    assert len(method.losses) == 6
    F2, _ = method.pairs(shared_latent(3), step=0)
    assert len(F2) == 2 * len(shared_latent(1)[0].pixels)
    assert sorted(method.images_of(0) + method.images_of(1)) == [0, 1, 2]


def test_unmasked_switch_scores_the_background_too():
    train = shared_latent(2)
    assert (CFM(steps=3, masked=False, smooth="none").fit(train, progress=False).score(train[0]).parts["rgb"] > 0).all()


def test_one_shot_and_empty_foreground_work():
    train = shared_latent(1)
    method = CFM(steps=5).fit(train, progress=False)
    f = train[0]
    scores = method.score(f.__class__(f.rgb, f.xyz, np.zeros_like(f.foreground), f.cloud, f.meta))
    assert scores.image == 0 and (scores.map == 0).all()


def test_user_errors():
    with pytest.raises(UnknownName, match="did you mean 'mlp3'"):
        CFM(mapper="mpl3").fit(shared_latent(1), progress=False)
    with pytest.raises(UnknownName, match="did you mean 'hidden'"):
        CFM(hiden=3)
    with pytest.raises(SettingsError, match="expected int"):
        CFM(steps="many")
    with pytest.raises(UnknownName, match="aggregate"):
        CFM(aggregate="prod").fit(shared_latent(1), progress=False)
    with pytest.raises(TrainingError, match="no training samples"):
        CFM().fit([])
    with pytest.raises(TrainingError, match="before score"):
        CFM().score(shared_latent(1)[0])
    broken = shared_latent(1)[0]
    tokens = broken.xyz.tokens.clone()
    tokens[broken.pixels] = float("nan")
    with pytest.raises(TrainingError, match="3D features are not finite"):
        CFM(steps=2).fit([broken.__class__(broken.rgb, broken.xyz.with_tokens(tokens), broken.foreground, broken.cloud,
                                           broken.meta)], progress=False)
    with pytest.raises(SettingsError, match="channels"):
        CFM(steps=1).fit(shared_latent(1), progress=False).score(shared_latent(1, c2=5)[0])


@pytest.mark.parametrize("settings", [
    {"batch": 0}, {"batch": -1}, {"steps": 0}, {"steps": -5}, {"epochs": -1}, {"pixels": -1}, {"hidden": -8}, {"lr": 0.0},
    {"lr": -1e-3}, {"lr": float("nan")}, {"lr": float("inf")}, {"batch": None}, {"lr": None}, {"masked": None},
    {"mapper": None}])
def test_impossible_values_are_refused_when_the_method_is_made(settings):
    (name, value), = settings.items()
    with pytest.raises(SettingsError, match=rf"{name}={value}"):
        CFM(**settings)


@pytest.mark.parametrize("name", ["mapper", "aggregate", "smooth", "image_norm"])
def test_unknown_choices_are_refused_when_the_method_is_made(name):
    with pytest.raises(UnknownName, match=f"unknown {name} 'no'"):
        CFM(**{name: "no"})
