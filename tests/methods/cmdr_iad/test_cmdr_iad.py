"""CMDR-IAD: training against recorded steps of the official code (golden/cmdr_losses.npz), invariants, modalities."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from recipe import recipe
from recorded import RECORDED
from synthetic import pixel_features, shared_latent

from mmadlib.errors import MissingModality, SettingsError, UnknownName
from mmadlib.features.field import FeatureMap
from mmadlib.methods import METHODS
from mmadlib.methods.cmdr_iad.decoders import Dec2D, Dec3D, Mapping
from mmadlib.methods.distances import cosine_loss
from mmadlib.methods.scoring import smooth

CMDR = METHODS["cmdr_iad"]
GOLDEN = dict(np.load(RECORDED / "cmdr_losses.npz"))
LOSSES = {"map_rgb": "map2D", "map_xyz": "map3D", "rec_rgb": "rec2D", "rec_xyz": "rec3D"}
OFFICIAL = {"M": "map3Dto2D", "G": "map2Dto3D", "Dec2D": "Dec2D", "Dec3D": "Dec3D"}


def fitted(n: int = 2, **settings):
    return CMDR(**{"steps": 10} | settings).fit(shared_latent(n), progress=False)


def lacking(features, side):
    """The sample without one modality, as the extractor gives it."""
    everywhere = np.ones((features.foreground.size, 1), np.float32)
    none = FeatureMap(torch.zeros(1, 0), everywhere, features.size)
    return replace(features, **{side: none}, meta=features.meta | {"missing": side})


def changed_outside(features, value=7.0):
    """The sample with other features wherever nothing is to be seen."""
    outside = ~torch.from_numpy(features.foreground.ravel())
    maps = {side: getattr(features, side).tokens.clone() for side in ("rgb", "xyz")}
    for tokens in maps.values():
        tokens[outside] = value
    return replace(features, **{side: getattr(features, side).with_tokens(tokens) for side, tokens in maps.items()})


def test_total_size_at_paper_widths():
    method = CMDR(grid=0)
    method.grid = (224, 224)
    with torch.device("meta"):
        networks = method.build(768, 1152)
    sizes = {name: sum(p.numel() for p in net.parameters()) for name, net in networks.items()}
    assert sizes == {"M": 3_693_888, "G": 3_694_272, "Dec2D": 5_026_176, "Dec3D": 87_840_208}
    assert sum(sizes.values()) == 100_254_544


def test_widths_follow_narrow_features_down_to_the_least():
    method = CMDR(least=16)
    method.grid = (8, 8)
    networks = method.build(96, 288)
    assert networks["G"].input.out_features == (96 + 288) // 2
    assert [networks["Dec2D"].conv_decoder[i].out_channels for i in (0, 3, 6)] == [32, 16, 48]
    assert [networks["Dec3D"].decoder[i].out_channels for i in (0, 3, 6, 9, 12)] == [192, 128, 64, 32, 288]


@pytest.mark.parametrize(("layer", "c", "heads"), [(None, 40, 2), (None, 56, 4), (0, 60, 2), (3, 120, 2)])
def test_widths_of_dec2d_are_the_nearest_whole_heads(layer, c, heads):
    """384, 256 and 128 of 768, in heads of 8; all of these lie half-way, where the even number is taken."""
    method = CMDR(least=8)
    method.grid = (8, 8)
    net = method.build(c, 9)["Dec2D"]
    width = net.projection[0].out_features if layer is None else net.conv_decoder[layer].out_channels
    assert width == 8 * heads


@pytest.mark.parametrize(("layer", "c", "heads"), [(0, 30, 2), (0, 42, 4), (3, 45, 2), (6, 90, 2), (9, 180, 2)])
def test_widths_of_dec3d_are_the_nearest_whole_heads(layer, c, heads):
    """768, 512, 256 and 128 of 1152."""
    method = CMDR(least=8)
    method.grid = (8, 8)
    assert method.build(9, c)["Dec3D"].decoder[layer].out_channels == 8 * heads


@pytest.mark.parametrize("name", LOSSES.values())
def test_losses_equal_the_official_ones(name):
    keep = torch.from_numpy(GOLDEN["in.mask"] == 0)
    predicted = torch.from_numpy(GOLDEN[f"in.pred_{name}"])[keep]
    target = torch.from_numpy(GOLDEN[f"in.target_{name[3:]}"])[keep]
    assert cosine_loss(predicted, target).item() == pytest.approx(float(GOLDEN[f"out.L_{name}"]), abs=1e-6)


class Recorded(CMDR):
    """With the recorded networks."""

    def build(self, c2, c3):
        networks = {"M": Mapping(c3, c2, 12, 0), "G": Mapping(c2, c3, 12, 0),
                    "Dec2D": Dec2D(c2, (8, 8), heads=2, window=32, dropout=0), "Dec3D": Dec3D(c3, 64, dropout=0)}
        for name, net in networks.items():
            prefix = f"train.{OFFICIAL[name]}"
            net.load_state_dict({k: recipe(f"{prefix}.{k}", v.shape, "cmdr/A") for k, v in net.state_dict().items()})
        return networks


@pytest.fixture
def recorded_training():
    """The method with the recorded networks and features, not yet trained."""
    foreground = (GOLDEN["in.train_f3d"].sum(1) != 0).reshape(8, 8)
    features = pixel_features(GOLDEN["in.train_f2d"], GOLDEN["in.train_f3d"], foreground)
    return Recorded(steps=3, dropout=0.0, background="keep"), [features]


@pytest.mark.parametrize("shared", [False, True])
def test_fit_equals_the_official_training(recorded_training, shared):
    method, features = recorded_training
    method.settings = replace(method.settings, shared=shared)
    method.fit(features, progress=False)
    optimisers = method.optimisers()
    assert len(optimisers) == (1 if shared else 4)
    assert all(o.defaults["betas"] == (0.9, 0.999) for o in optimisers.values())  # three steps hardly feel the second
    ours = [[step[name] for name in LOSSES] for step in method.losses]
    np.testing.assert_allclose(ours, GOLDEN["out.train_losses"], rtol=0, atol=2e-6)
    for name, net in method.networks.items():
        prefix = f"out.train_step3.{OFFICIAL[name]}."
        state, stored = net.state_dict(), [key for key in GOLDEN if key.startswith(prefix)]
        assert stored
        for key in stored:
            np.testing.assert_allclose(state[key.removeprefix(prefix)], GOLDEN[key], rtol=0, atol=2e-5)


def test_each_loss_reaches_its_own_network_only(recorded_training):
    method, features = recorded_training
    method.start_fit(features)
    method.usable, method._maps = [0], {}
    method.make_networks()
    for net in method.networks.values():
        net.train()
    for name, own in zip(LOSSES, OFFICIAL, strict=True):
        for net in method.networks.values():
            net.zero_grad()
        method.terms(features, 0)[name].backward()
        reached = [key for key, net in method.networks.items()
                   if any(p.grad is not None and p.grad.abs().max() > 0 for p in net.parameters())]
        assert reached == [own]


def test_training_learns_and_finds_a_planted_defect():
    method = CMDR(steps=100, lr=3e-3, dropout=0.0, smooth="none", rec_smooth="none", least=64)
    method.fit(shared_latent(3), progress=False)
    first, last = method.losses[0], method.losses[-1]
    assert all(last[name] < 0.7 * first[name] for name in LOSSES)
    test = shared_latent(4)[3]
    pixel = test.pixels[120]
    tokens = test.xyz.tokens.clone()
    tokens[pixel] = -4 * tokens[pixel]
    planted = replace(test, xyz=test.xyz.with_tokens(tokens))
    assert method.score(planted).map.ravel()[pixel] > 2 * method.score(test).map.ravel()[pixel]
    assert method.score(planted).image > method.score(test).image


@pytest.mark.parametrize("grid", [0, 8])
def test_background_changes_nothing(grid):
    """With background="zero" the decoders see zeros outside the foreground, so this holds although they see all tokens."""
    train, other = shared_latent(2), [changed_outside(f) for f in shared_latent(2)]
    method = fitted(grid=grid)
    scores = method.score(train[0])
    np.testing.assert_array_equal(method.score(other[0]).map, scores.map)
    again = CMDR(steps=10, grid=grid).fit(other, progress=False)
    np.testing.assert_array_equal(again.score(train[0]).map, scores.map)
    assert all((part[~train[0].foreground] == 0).all() for part in scores.parts.values())


def test_background_reaches_the_reconstructions_alone_when_it_is_kept():
    method, sample = fitted(background="keep"), shared_latent(2)[0]
    seen, other = method.score(sample).parts, method.score(changed_outside(sample)).parts
    for name in ("map_rgb", "map_xyz"):
        np.testing.assert_array_equal(seen[name], other[name])
    assert not np.array_equal(seen["rec_rgb"], other["rec_rgb"]) and not np.array_equal(seen["rec_xyz"], other["rec_xyz"])


def test_same_seed_same_maps_and_another_seed_others():
    sample = shared_latent(1)[0]
    maps = [fitted(seed=seed).score(sample).map for seed in (1, 1, 2)]
    np.testing.assert_array_equal(maps[0], maps[1])
    assert not np.array_equal(maps[0], maps[2])


@pytest.mark.parametrize("settings", [{}, {"modality": "rgb"}, {"grid": 8}])
def test_save_and_load_give_the_same_scores(settings, tmp_path):
    method, sample = fitted(**settings), shared_latent(2)[1]
    again = CMDR.load(method.save(tmp_path / "model"))
    np.testing.assert_array_equal(again.score(sample).map, method.score(sample).map)
    assert again.settings == method.settings and again.grid == method.grid


def test_one_shot_and_empty_foreground_work():
    method, sample = fitted(1), shared_latent(1)[0]
    scores = method.score(replace(sample, foreground=np.zeros_like(sample.foreground)))
    assert scores.image == 0 and (scores.map == 0).all()


def test_one_modality_trains_its_decoder_alone():
    rgb, xyz = fitted(modality="rgb"), fitted(modality="xyz")
    assert (set(rgb.networks), set(xyz.networks)) == ({"Dec2D"}, {"Dec3D"})
    sample = shared_latent(2)[0]
    (d2,), (d3,) = (m.score(sample).parts.values() for m in (rgb, xyz))
    np.testing.assert_array_equal(rgb.score(sample).map, np.where(sample.foreground, smooth(d2, "box_cmdr_rec"), 0))
    np.testing.assert_array_equal(xyz.score(sample).map, d3)


@pytest.mark.parametrize(("side", "modality"), [("rgb", "xyz"), ("xyz", "rgb")])
def test_data_of_one_modality(side, modality):
    train = [lacking(f, side) for f in shared_latent(2)]
    method = CMDR(steps=5, modality=modality).fit(train, progress=False)
    assert list(method.score(train[0]).parts) == [f"rec_{modality}"]
    with pytest.raises(MissingModality, match="cmdr_iad"):
        CMDR(steps=5).fit(train, progress=False)
    with pytest.raises(MissingModality):
        method.score(lacking(shared_latent(1)[0], modality))


@pytest.mark.parametrize("side", ["rgb", "xyz"])
def test_a_test_sample_without_a_modality_is_judged_by_the_other_reconstruction(side):
    method, sample = fitted(), shared_latent(2)[0]
    left = "xyz" if side == "rgb" else "rgb"
    found, whole = method.score(lacking(sample, side)), method.score(sample)
    assert list(found.parts) == [f"rec_{left}"] and np.isfinite(found.image)
    np.testing.assert_allclose(found.parts[f"rec_{left}"], whole.parts[f"rec_{left}"], atol=1e-6)


def test_without_dec3d_a_sample_without_colour_cannot_be_judged():
    method, sample = fitted(dec3d=False), shared_latent(2)[0]
    assert set(method.networks) == {"M", "G", "Dec2D"}
    assert "rec_xyz" not in method.score(sample).parts
    with pytest.raises(MissingModality, match="no RGB features"):
        method.score(lacking(sample, "rgb"))


def test_unmasked_switch_scores_the_background_too():
    scores = fitted(masked=False, rec_smooth="none").score(shared_latent(2)[0])
    assert (scores.parts["rec_rgb"] > 0).all()


@pytest.mark.parametrize("settings", [{"attention_window": 7}, {"background": "keep"}, {"least": 64}, {"dropout": 0.0},
                                      {"optimiser": "adamw"}, {"grid": 12}, {"batch": 2}, {"dec3d": False}])
def test_every_switch_of_the_training_moves_the_map(settings):
    sample = shared_latent(2)[0]
    assert not np.array_equal(fitted(**settings).score(sample).map, fitted().score(sample).map)


def test_four_optimisers_and_one_are_the_same():
    sample = shared_latent(2)[0]
    several, one = fitted(lr=0.02), fitted(lr=0.02, shared=True)
    np.testing.assert_array_equal(one.score(sample).map, several.score(sample).map)
    assert not np.array_equal(several.score(sample).map, fitted().score(sample).map)


def test_maps_of_another_size_are_refused():
    with pytest.raises(SettingsError, match="does not fit the token grid"):
        fitted().score(shared_latent(1, size=32)[0])


@pytest.mark.parametrize("settings", [{"pixels": 64}, {"grid": -1}, {"least": 0}, {"attention_window": 0}, {"dropout": 1.0},
                                      {"dropout": float("nan")}, {"batch": 0}])
def test_impossible_values_are_refused(settings):
    (name, value), = settings.items()
    with pytest.raises(SettingsError, match=rf"{name}={value}"):
        CMDR(**settings)


@pytest.mark.parametrize("name", ["modality", "background", "optimiser"])
def test_unknown_choices_are_refused(name):
    with pytest.raises(UnknownName, match=f"unknown {name} 'no'"):
        CMDR(**{name: "no"})


def test_a_method_without_networks_is_refused():
    with pytest.raises(SettingsError, match="leaves no network"):
        CMDR(modality="xyz", dec3d=False)
