"""CPIR: parameter counts, sharing, the four maps and their aggregation; no official code exists to compare with."""

import gc
import weakref
from dataclasses import replace

import numpy as np
import pytest
import torch
from synthetic import shared_latent

from mmadlib.errors import MissingModality, SettingsError, UnknownName
from mmadlib.experiments.grids import PARAMS, read_sweep
from mmadlib.features.field import FeatureMap
from mmadlib.methods import METHODS
from mmadlib.methods.cpir.cpir import VARIANTS, Settings, aggregate, loss, modules, parameters, relative_size
from mmadlib.methods.cpir.lb3m import PARTS, Module, Scorer, chains, run
from mmadlib.methods.scoring import smooth

CPIR = METHODS["cpir"]
COUNTS = {"cfm": (3_690_240, 2), "cfm_recon": (3_837_696, 2), "cfm_dual": (7_527_936, 4), "cfm_dual_star": (3_690_240, 4),
          "ours_pred": (7_454_208, 2), "ours_recon": (7_454_208, 2), "ours_pred_star": (7_454_208, 2),
          "ours_recon_star": (7_454_208, 2), "recon_2mlp": (7_454_208, 2), "pred_mlp_recon_2mlp": (11_144_448, 4),
          "pred_2mlp_recon_2mlp": (14_908_416, 4), "default": (7_454_208, 4), "aggregate_add": (7_454_208, 4),
          "aggregate_max": (7_454_208, 4)}
ROWS = [name for name in VARIANTS if name.partition("_")[0] not in ("power", "beta")]  # the others change no network
PRINTED = {"cfm": 2, "cfm_recon": 2, "cfm_dual": 4, "cfm_dual_star": 2, "recon_2mlp": 4, "pred_mlp_recon_2mlp": 6,
           "pred_2mlp_recon_2mlp": 8, "default": 4}


def fitted(**settings):
    return CPIR(**{"steps": 20, "smooth": "none"} | settings).fit(shared_latent(2), progress=False)


def changed(features, side, pixel, value=5.0):
    tokens = getattr(features, side).tokens.clone()
    tokens[pixel] = value * torch.randn(tokens.shape[1], generator=torch.Generator().manual_seed(1))
    return replace(features, **{side: getattr(features, side).with_tokens(tokens)})


def gradients(method, features, settings):
    """module -> gradient of the sum of the terms that `settings` has, for the networks of `method`."""
    other = CPIR(**settings)
    other.standardise, other.networks, other.usable, other._maps = method.standardise, method.networks, [0, 1], {}
    for net in method.networks.values():
        net.zero_grad()
    sum(other.terms(features, 0).values()).backward()
    return {name: None if net.input.weight.grad is None else net.input.weight.grad.clone()
            for name, net in method.networks.items()}


@pytest.mark.parametrize("name", ROWS)
def test_every_row_of_the_tables_has_its_size_and_number_of_maps(name):
    settings = Settings(**VARIANTS[name])
    assert (parameters(settings, 768, 1152), len(settings.used)) == COUNTS[name]
    scores = CPIR(steps=1, **VARIANTS[name]).fit(shared_latent(2), progress=False).score(shared_latent(2)[1])
    assert list(scores.parts) == settings.used and np.isfinite(scores.image)


@pytest.mark.parametrize(("name", "default"), [("rendered", "default"), ("mvtec3d", "published")])
def test_the_sweeps_of_the_ablation_have_these_rows(name, default):
    cells = {cell.variant: cell for cell in read_sweep(PARAMS / f"30_ablation_cpir/{name}.yaml")}
    for variant, settings in VARIANTS.items():
        cell = cells[default if variant == "default" else variant]
        assert cell.expected().items() >= settings.items() and CPIR(**cell.settings).settings.used == Settings(**settings).used


def test_modules_have_the_published_widths_and_sizes():
    with torch.device("meta"):
        nets = modules(Settings(), 768, 1152)
    sizes = {name: sum(p.numel() for p in net.parameters()) for name, net in nets.items()}
    assert sizes == {"E2": 1_494_816, "E3": 2_232_288, "D2": 1_494_624, "D3": 2_232_480}
    assert [nets[n].input.out_features for n in ("E2", "E3", "D2", "D3")] == [864, 1056, 864, 1056]
    assert nets["E2"].output.out_features == nets["E3"].output.out_features == 960


@pytest.mark.parametrize("name", PRINTED)
def test_relative_sizes_round_to_the_printed_ones(name):
    assert relative_size(Settings(**VARIANTS[name]), 768, 1152) == pytest.approx(PRINTED[name], abs=0.09)


def test_the_maps_in_use_change_no_size():
    assert relative_size(Settings(**VARIANTS["ours_recon_star"]), 768, 1152) == relative_size(Settings(), 768, 1152)


def test_widths_can_be_set_and_narrow_ones_have_a_least_value():
    def widths(**settings):
        nets = modules(Settings(**settings), 11, 8)
        return [nets[name].input.out_features for name in ("E2", "D3")] + [nets["E3"].output.out_features]

    assert widths(hidden=12, latent=5) == [12, 12, 5]
    assert widths(least_width=0) == [10, 8, 9]
    assert widths(least_width=9) == [10, 9, 9]
    assert widths() == [128, 128, 128]


def test_either_task_alone_trains_all_four_modules_and_outputs_ignore_the_other_path():
    train, method = shared_latent(2), fitted(anchor=0)
    for settings in ({"recon_net": "none"}, {"pred_net": "none"}):
        assert all(g is not None and g.abs().sum() > 0 for g in gradients(method, train, settings).values())
    F2, F3 = torch.randn(9, 10), torch.randn(9, 8)
    routes = chains("lb3m", "lb3m")
    before = run(method.networks, routes, F2, F3)
    for module, same in (("E3", "recon2d"), ("D3", "recon2d"), ("E2", "pred2d"), ("D2", "recon3d")):
        nets = dict(method.networks) | {module: modules(Settings(), 10, 8)[module]}
        torch.testing.assert_close(run(nets, routes, F2, F3)[same], before[same], rtol=0, atol=0)
    nets = dict(method.networks) | {"E2": modules(Settings(), 10, 8)["E2"]}
    assert not torch.equal(run(nets, routes, F2, F3)["recon2d"], before["recon2d"])


def test_beta_weighs_the_reconstruction():
    train, method = shared_latent(2), fitted()
    prediction, rebuilding = (gradients(method, train, s) for s in ({"recon_net": "none"}, {"pred_net": "none"}))
    for beta in (0.0, 0.5):
        both = gradients(method, train, {"beta": beta})
        for name, gradient in both.items():
            torch.testing.assert_close(gradient, prediction[name] + beta * rebuilding[name], atol=1e-6, rtol=1e-4)


def test_reconstructions_train_apart():
    train, method = shared_latent(2), fitted()
    other = [changed(f, "xyz", f.pixels) for f in train]
    before, after = (gradients(method, samples, {"pred_net": "none"}) for samples in (train, other))
    assert torch.equal(before["E2"], after["E2"]) and torch.equal(before["D2"], after["D2"])
    assert not torch.equal(before["E3"], after["E3"])


def test_a_shared_beginning_is_run_once():
    method, calls = fitted(anchor=0), []
    for name, net in method.networks.items():
        net.register_forward_hook(lambda *_, name=name: calls.append(name))
    run(method.networks, chains("lb3m", "lb3m"), torch.randn(4, 10), torch.randn(4, 8))
    assert sorted(calls) == ["D2", "D2", "D3", "D3", "E2", "E3"]


@pytest.mark.parametrize("settings", [{}, {"latent_act": "gelu"}, {"act": "tanh"}, VARIANTS["cfm_dual_star"],
                                      VARIANTS["pred_2mlp_recon_2mlp"], {"pred_net": "lb3m", "recon_net": "cycle"}])
def test_scoring_equals_the_plain_composition(settings):
    torch.manual_seed(0)
    s, features = Settings(**settings), shared_latent(1)[0]
    nets, pixels = modules(s, 10, 8), features.pixels[::7]
    plain = run(nets, s.routes, features.rgb.at(pixels), features.xyz.at(pixels))
    with torch.no_grad():
        quick = Scorer(nets, s.routes)({"rgb": features.rgb, "xyz": features.xyz}, pixels)
    assert list(quick) == list(plain) == list(PARTS)
    for part, out in plain.items():
        torch.testing.assert_close(quick[part], out.detach(), atol=1e-5, rtol=1e-4)


def test_predicting_twice_is_what_cfm_dual_star_calls_reconstruction():
    nets = modules(Settings(**VARIANTS["cfm_dual_star"]), 10, 8)
    assert list(nets) == ["G", "M"]
    F2, F3 = torch.randn(5, 10), torch.randn(5, 8)
    out = run(nets, chains("mlp", "cycle"), F2, F3)
    torch.testing.assert_close(out["recon2d"], nets["M"](nets["G"](F2)))
    torch.testing.assert_close(out["recon3d"], nets["G"](nets["M"](F3)))


def test_ours_recon_and_two_mlps_are_the_same_model():
    ours, twice = fitted(**VARIANTS["ours_recon"]), fitted(**VARIANTS["recon_2mlp"])
    test = shared_latent(3)[2]
    np.testing.assert_array_equal(ours.score(test).map, twice.score(test).map)


def test_the_two_distances_and_their_products_agree():
    test = shared_latent(3)[2]
    method = fitted(agg_power=1.0)
    d = method.score(test)
    method.settings = replace(method.settings, map_distance="cosine", agg_power=0.5)
    c = method.score(test)
    for part in PARTS:
        assert d.parts[part].min() >= 0 and max(d.parts[part].max(), c.parts[part].max()) <= 2
        np.testing.assert_allclose(c.parts[part], d.parts[part] ** 2 / 2, atol=1e-6)
    np.testing.assert_allclose(c.map, d.map / 4, atol=1e-6)


def test_maps_vanish_where_the_output_is_a_positive_multiple():
    method, test = fitted(pred_net="none", act="none", anchor=0), shared_latent(3)[2]
    for name, width in (("E2", 10), ("D2", 10)):
        net = Module(width, width, width, "none")
        for layer in (net.input, net.output):
            torch.nn.init.eye_(layer.weight)
            torch.nn.init.zeros_(layer.bias)
        net.output.weight.data *= 1.7
        method.networks[name] = net
    scores = method.score(test)
    assert scores.parts["recon2d"].max() < 1e-5 < scores.parts["recon3d"].max()
    F2 = test.rgb.at(test.pixels)
    assert loss(3 * F2, F2) < 1e-6 and loss(3 * F2, F2, "euclid") < 1e-6


def test_aggregation_rules():
    maps = np.random.default_rng(0).random((4, 6, 6), dtype=np.float32)
    maps[1, 2, 3] = 0
    add, largest, product = (aggregate(list(maps), rule) for rule in ("add", "max", "product"))
    assert (add >= largest).all() and (largest >= maps).all() and (product <= maps.min(0)).all()
    assert product[2, 3] == 0 and product.dtype == np.float32
    np.testing.assert_allclose(aggregate(list(maps)), maps[0] * maps[1] * maps[2] * maps[3])
    np.testing.assert_allclose(add, maps[0] + maps[1] + maps[2] + maps[3], rtol=1e-6)
    for power in (0.5, 0.25):
        root = aggregate(list(maps), "product", power)
        assert root[2, 3] == 0
        np.testing.assert_array_equal(np.argsort(root.ravel()), np.argsort(product.ravel()))
    with pytest.raises(UnknownName, match="aggregate"):
        aggregate(list(maps), "mean")


def test_the_power_acts_before_the_blur_and_changes_the_ranking_of_images():
    sharp, wide = np.zeros((2, 60, 60), np.float32)
    sharp[30, 30], wide[20:40, 20:40] = 16, 0.5
    ranks = {p: [smooth(aggregate([m], "product", p)).max() for m in (sharp, wide)] for p in (1.0, 0.25)}
    assert ranks[1.0][0] < ranks[1.0][1] and ranks[0.25][0] < ranks[0.25][1]
    sharp *= 10
    ranks = {p: [smooth(aggregate([m], "product", p)).max() for m in (sharp, wide)] for p in (1.0, 0.25)}
    assert ranks[1.0][0] > ranks[1.0][1] and ranks[0.25][0] < ranks[0.25][1]


def test_rgb_alone_moves_three_maps_and_leaves_the_fourth():
    method, test = fitted(), shared_latent(3)[2]
    pixel, before = test.pixels[50], method.score(test).parts
    for side, kept in (("rgb", "recon3d"), ("xyz", "recon2d")):
        after = method.score(changed(test, side, pixel)).parts
        moved = {part: np.flatnonzero(after[part] != before[part]).tolist() for part in PARTS}
        assert moved == {part: [] if part == kept else [pixel] for part in PARTS}


def test_background_changes_nothing_and_maps_vanish_there():
    train = shared_latent(2)
    background = np.flatnonzero(~train[0].foreground)
    method = CPIR(steps=5, smooth="none").fit(train, progress=False)
    other = changed(changed(train[0], "rgb", background), "xyz", background)
    np.testing.assert_array_equal(method.score(other).map, method.score(train[0]).map)
    assert (method.score(train[0]).map[~train[0].foreground] == 0).all()
    again = CPIR(steps=5, smooth="none").fit([other, train[1]], progress=False)
    np.testing.assert_array_equal(again.score(train[1]).map, method.score(train[1]).map)


def test_swapping_the_modalities_with_their_modules_swaps_the_parts():
    method, test = fitted(), shared_latent(3)[2]
    swapped, turned = CPIR(smooth="none"), replace(test, rgb=test.xyz, xyz=test.rgb)
    swapped.standardise.fit([replace(f, rgb=f.xyz, xyz=f.rgb) for f in shared_latent(2)])
    swapped.networks = {name: method.networks[name.translate(str.maketrans("23", "32"))] for name in method.networks}
    swapped.fitted = True
    before, after = method.score(test), swapped.score(turned)
    for part in PARTS:
        np.testing.assert_array_equal(after.parts[part.translate(str.maketrans("23", "32"))], before.parts[part])
    np.testing.assert_allclose(after.map, before.map, rtol=1e-6)


def test_training_finds_a_planted_defect():
    method = CPIR(steps=200, smooth="none", hidden=64, latent=16, lr=3e-3).fit(shared_latent(3), progress=False)
    assert sum(method.losses[-1].values()) < 0.2 * sum(method.losses[0].values())
    test = shared_latent(4)[3]
    pixel = test.pixels[40]
    tokens = test.xyz.tokens.clone()
    tokens[pixel] *= -1
    planted = replace(test, xyz=test.xyz.with_tokens(tokens))
    assert method.score(planted).map.argmax() == pixel
    assert method.score(planted).image > method.score(test).image


@pytest.mark.parametrize(("side", "part", "width"), [("rgb", "recon3d", 10), ("xyz", "recon2d", 8)])
def test_a_missing_modality_leaves_the_other_reconstruction(side, part, width):
    method, test = fitted(), shared_latent(3)[2]
    empty = FeatureMap(np.zeros((1, 0), np.float32), np.ones((test.foreground.size, 1), np.float32), test.size)
    without = replace(test, meta=test.meta | {"missing": side}, **{side: empty})
    scores = method.score(without)
    assert list(scores.parts) == [part]
    np.testing.assert_array_equal(scores.map, method.score(test).parts[part])
    with pytest.raises(MissingModality):
        fitted(**VARIANTS["cfm"]).score(without)
    with pytest.raises(MissingModality):
        CPIR(steps=1).fit([without], progress=False)


def test_same_seed_same_maps_and_another_seed_others():
    train = shared_latent(2)
    maps = [CPIR(seed=s, steps=20).fit(train, progress=False).score(train[0]).map for s in (1, 1, 2)]
    np.testing.assert_array_equal(maps[0], maps[1])
    assert not np.array_equal(maps[0], maps[2])


def test_save_and_load_give_the_same_scores(tmp_path):
    method, test = fitted(**VARIANTS["pred_mlp_recon_2mlp"], latent_act="relu", act="tanh"), shared_latent(3)[2]
    again = CPIR.load(method.save(tmp_path / "model"))
    np.testing.assert_array_equal(again.score(test).map, method.score(test).map)
    assert again.settings == method.settings


def test_one_shot_and_empty_foreground_work():
    train = shared_latent(1)
    method = CPIR(steps=5).fit(train, progress=False)
    scores = method.score(replace(train[0], foreground=np.zeros_like(train[0].foreground)))
    assert scores.image == 0 and (scores.map == 0).all() and list(scores.parts) == list(PARTS)


def test_losses_are_weighted_and_the_loss_distance_can_be_euclidean():
    first = {d: fitted(distance=d).losses[0] for d in ("cosine", "euclid")}
    assert list(first["cosine"]) == list(PARTS) and first["cosine"] != first["euclid"]
    half = fitted(beta=0.5).losses[0]
    assert half["recon2d"] == pytest.approx(first["cosine"]["recon2d"] / 2)
    assert half["pred2d"] == pytest.approx(first["cosine"]["pred2d"])


@pytest.mark.parametrize(("settings", "message"), [
    ({"pred_net": "none", "recon_net": "none"}, "no network"), ({"pred_net": "none", "recon_net": "cycle"}, "no network"),
    ({"recon_net": "none", "maps": "recon2d"}, "unknown trained map 'recon2d'"), ({"maps": "rgb"}, "unknown trained map"),
    ({"pred_net": "lbm3"}, "did you mean 'lb3m'"), ({"recon_net": "no"}, "unknown recon_net"), ({"act": "no"}, "unknown act"),
    ({"latent_act": "no"}, "unknown latent_act"), ({"distance": "no"}, "unknown distance"),
    ({"map_distance": "no"}, "unknown map_distance"), ({"aggregate": "prod"}, "unknown aggregate"),
    ({"smooth": "no"}, "unknown smooth"), ({"image_norm": "no"}, "unknown image_norm"), ({"beta": -1.0}, "beta=-1.0"),
    ({"beta": float("nan")}, "beta=nan"), ({"agg_power": 0.0}, "agg_power=0.0"), ({"hidden": -1}, "hidden=-1"),
    ({"latent": -1}, "latent=-1"), ({"least_width": -1}, "least_width=-1"), ({"steps": 0}, "steps=0")])
def test_impossible_settings_are_refused_when_the_method_is_made(settings, message):
    with pytest.raises(SettingsError, match=message):
        CPIR(**settings)


def test_no_features_outlive_their_chunk():
    """Without the garbage collector: gigabytes at the papers' sizes."""
    model, sample = fitted(anchor=0), shared_latent(1)[0]
    maps = {"rgb": sample.rgb, "xyz": sample.xyz}
    gc.disable()
    try:
        found = [run(model.networks, model.settings.routes, sample.rgb.at(sample.pixels), sample.xyz.at(sample.pixels)),
                 Scorer(model.networks, model.settings.routes)(maps, sample.pixels)]
        left = [weakref.ref(out) for outputs in found for out in outputs.values()]
        del found
        assert len(left) == 8 and not any(out() is not None for out in left)
    finally:
        gc.enable()
