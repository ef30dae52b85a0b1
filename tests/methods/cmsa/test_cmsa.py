"""CMSA, a reconstruction of the abstract: what each branch sees and does not, calibration, fusion, banks, settings."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from synthetic import pixel_features, shared_latent, stop_training

from mmadlib.errors import MissingModality, SettingsError, UnknownName
from mmadlib.experiments.cost import model_mb
from mmadlib.features.field import FeatureMap
from mmadlib.methods.cmsa import aligner
from mmadlib.methods.cmsa.aligner import folds
from mmadlib.methods.cmsa.alignment import alike, close
from mmadlib.methods.cmsa.calibration import calibrated, normal_range
from mmadlib.methods.cmsa.cmsa import BRANCHES, CMSA
from mmadlib.methods.scoring import smooth
from mmadlib.methods.trained import PICK

ALIGN = ("infonce", "cos_vicreg", "cca")
QUICK = {"align": "cca"}  # for what has nothing to do with the training


def fitted(n: int = 3, size: int = 24, **settings):
    return CMSA(**settings).fit(shared_latent(n, size), progress=False)


def lacking(features, side):
    """The sample without one modality, as the extractor gives it."""
    none = FeatureMap(torch.zeros(1, 0), np.ones((features.foreground.size, 1), np.float32), features.size)
    return replace(features, **{side: none}, meta=features.meta | {"missing": side})


def perturbed(features, side, seed=0):
    """The sample with noise on one modality, in the foreground."""
    fmap = getattr(features, side)
    noise = 3 * torch.randn(fmap.tokens.shape, generator=torch.Generator().manual_seed(seed))
    return replace(features, **{side: fmap.with_tokens(fmap.tokens + noise)})


@pytest.fixture(scope="module", params=ALIGN)
def model(request):
    return fitted(align=request.param)


@pytest.fixture(scope="module")
def quick():
    return fitted(**QUICK)


@pytest.fixture(scope="module")
def pair():
    return shared_latent(5)[3:]


def test_a_swapped_modality_is_seen_by_the_alignment_and_by_no_bank(model, pair):
    """RGB of one normal sample beside 3D of another: the core claim of the paper."""
    a, b = pair
    normal, other, swapped = (model.score(f) for f in (a, b, replace(a, xyz=b.xyz)))
    seen = a.foreground
    assert swapped.parts["inter"][seen].mean() > 2 * normal.parts["inter"][seen].mean()
    assert swapped.image > 1.5 * max(normal.image, other.image)
    np.testing.assert_array_equal(swapped.parts["bank2"], normal.parts["bank2"])
    np.testing.assert_array_equal(swapped.parts["bank3"], other.parts["bank3"])


@pytest.mark.parametrize(("side", "own", "blind"), [("rgb", "bank2", "bank3"), ("xyz", "bank3", "bank2")])
def test_a_perturbed_modality_is_seen_by_its_own_bank_alone(model, pair, side, own, blind):
    normal, odd = model.score(pair[0]), model.score(perturbed(pair[0], side))
    assert odd.parts[own].sum() > 1.2 * normal.parts[own].sum()
    np.testing.assert_array_equal(odd.parts[blind], normal.parts[blind])


def test_training_learns_and_the_rate_falls_to_nothing(model):
    if model.settings.align == "cca":
        assert model.losses == []
        return
    first, last = (sum(step.values()) for step in (model.losses[0], model.losses[-1]))
    assert last < 0.7 * first and len(model.losses) == 100
    rates = [model.rate(step) for step in range(101)]
    assert rates[0] == 1e-3 and rates[50] == pytest.approx(5e-4) and rates[100] == 0 and (np.diff(rates) < 0).all()


def test_no_negative_is_near_or_alike_in_either_modality(monkeypatch):
    genuine, seen = aligner.infonce, []
    monkeypatch.setattr(aligner, "infonce", lambda z2, z3, tau, out: seen.append(out) or genuine(z2, z3, tau, out))
    sample = shared_latent(1)[0]
    method = fitted(1, epochs=1, cells=10**6, alike=0.3)
    x = method.at_cells(method.image([sample], 0))
    cells = torch.from_numpy(np.random.default_rng([0, PICK, 0]).permutation(np.flatnonzero(sample.foreground)))
    place = torch.argsort(torch.argsort(cells))  # of a drawn cell in reading order
    alone = [alike(values[place], 0.3) for values in x.values()]
    assert torch.equal(seen[0], alone[0] | alone[1] | close(cells, 24, 2))
    assert not torch.equal(*alone) and 0.2 < seen[0].float().mean() < 0.7


def test_epochs_by_rule_and_as_given():
    """100, or 20 with more than 50 images; four images a step."""
    def steps(images, **settings):
        method = CMSA(**settings)
        method.usable, method.networks = list(range(images)), {"phi_2": torch.nn.Linear(1, 1)}
        return method.n_steps(method.settings.passes(images), method.settings.steps)

    assert [steps(n) for n in (1, 4, 10, 50, 51, 60)] == [100, 100, 300, 1300, 260, 300]
    assert steps(4, epochs=30) == 30 and steps(60, epochs_full=100) == 1500
    assert steps(4, epochs=0, steps=20) == steps(60, epochs=0, steps=20) == 20


@pytest.mark.parametrize("settings", [QUICK, {"branches": "banks"}, {"branches": "bank2"}])
def test_without_networks_to_train_no_step_is_taken(settings, tmp_path):
    method = CMSA(**settings).fit(shared_latent(2), progress=False, checkpoint=tmp_path / "c")
    assert method.losses == [] and not (tmp_path / "c").exists()
    assert ("phi_2" in method.networks) == (settings == QUICK)


@pytest.mark.parametrize("align", ["infonce", "cos_vicreg"])
def test_a_resumed_training_ends_with_the_same_bits(align, tmp_path, monkeypatch):
    """The rate is a function of the step alone."""
    samples, settings = shared_latent(2), {"align": align, "epochs": 30}
    straight = CMSA(**settings).fit(samples, progress=False)
    stop_training(monkeypatch, at=17)
    with pytest.raises(KeyboardInterrupt):
        CMSA(**settings).fit(samples, progress=False, checkpoint=tmp_path)
    resumed = CMSA(**settings).fit(samples, progress=False, checkpoint=tmp_path)
    assert resumed.losses == straight.losses
    np.testing.assert_array_equal(resumed.score(samples[0]).map, straight.score(samples[0]).map)


@pytest.mark.parametrize("align", ["infonce", "cos_vicreg"])
def test_trained_heads_are_calibrated_on_the_training_cells(align):
    samples = shared_latent(3)
    method = CMSA(align=align, epochs=3).fit(samples, progress=False)
    inter = np.concatenate([calibrated(method.score(f).parts["inter"], method.ranges["inter"])[f.foreground] for f in samples])
    assert inter.mean() == pytest.approx(0, abs=1e-4) and inter.std() == pytest.approx(1, abs=1e-4)


def test_a_closed_form_is_calibrated_without_the_image_of_a_cell():
    """By heads that a method has which never saw that image."""
    samples = shared_latent(3, family="paper")
    method = CMSA(**QUICK).fit(samples, progress=False)
    x, image, _ = method.gather(samples, ("rgb", "xyz"), 0)
    found = method.held_out(x, image)
    for i, f in enumerate(samples):
        other = CMSA(**QUICK).fit(samples[:i] + samples[i + 1:], progress=False)
        np.testing.assert_allclose(found[image == i], other.score(f).parts["inter"][f.foreground], atol=1e-6)
    assert torch.equal(method.ranges["inter"], normal_range(found))
    assert not torch.allclose(found, method.misalignment(x), atol=1e-6)


def wide(n, smooth, size=16):
    """Samples with features about as wide as they have cells: two views of 20 latents, and noise. Smooth: interpolated between
    cells, as an encoder's are."""
    rng, coarse = np.random.default_rng(0), size // 2 if smooth else size
    views = [rng.normal(size=(20, c)) for c in (160, 240)]

    def field(c):
        planes = torch.from_numpy(rng.normal(size=(1, c, coarse, coarse)))
        return torch.nn.functional.interpolate(planes, (size, size), mode="bilinear")[0].flatten(1).T.numpy()

    def sample():
        latent = field(20)
        sides = [(latent @ view + field(view.shape[1])).astype(np.float32) for view in views]
        return pixel_features(*sides, np.ones((size, size), bool))

    return [sample() for _ in range(n)]


@pytest.mark.parametrize("smooth", [False, True])
@pytest.mark.parametrize("shots", [1, 2])
def test_a_closed_form_of_wide_features_keeps_its_promise_on_new_cells(shots, smooth):
    """On the cells that it was solved on, the latents agree to the last digit."""
    samples = wide(shots + 3, smooth)
    method = CMSA(**QUICK, branches="inter").fit(samples[:shots], progress=False)
    old, new = (np.mean([calibrated(method.score(f).parts["inter"], method.ranges["inter"]) for f in some])
                for some in (samples[:shots], samples[shots:]))
    assert abs(new) < 3 and old < new - 1


def test_folds_are_images_tenths_of_images_or_strips_of_one():
    assert folds(np.array([2, 2, 5, 7])).tolist() == [0, 0, 1, 2]
    many = folds(np.repeat(np.arange(24), 3))
    assert np.unique(many).tolist() == list(range(10)) and many[0] == many[3 * 10] == many[3 * 20] != many[3]
    assert folds(np.full(9, 4)).tolist() == [0, 0, 0, 1, 1, 2, 2, 3, 3]
    assert folds(np.zeros(1, int)).tolist() == [0]


def test_banks_are_calibrated_without_the_image_of_a_cell(quick):
    samples = shared_latent(3)
    for part, side in (("bank2", "rgb"), ("bank3", "xyz")):
        x = torch.stack([quick.standardise(f, side).at(f.pixels) for f in samples])
        bank = quick.banks[part]
        unit = torch.nn.functional.normalize((x - bank.mean) @ bank.axes, dim=2)
        own = torch.cdist(bank.bank.rows, unit).min(2).values.argmin(0)  # the image a row was taken from
        nearest = torch.cat([torch.cdist(cells, bank.bank.rows[own != i]).min(1).values for i, cells in enumerate(unit)])
        assert torch.allclose(quick.ranges[part], torch.stack([nearest.mean(), nearest.std(correction=0)]), atol=1e-4)


def test_without_calibration_the_raw_maps_are_added(pair):
    method = fitted(**QUICK, calibrate=False, smooth="none")
    scores = method.score(pair[0])
    expected = scores.parts["inter"] + 0.5 * (scores.parts["bank2"] + scores.parts["bank3"])
    np.testing.assert_allclose(scores.map, expected, rtol=1e-5)


@pytest.mark.parametrize("branch", ["inter", "bank2", "bank3"])
def test_one_weight_and_one_branch_give_the_same_map(quick, pair, branch):
    weights = {f"weight_{part}": float(part == branch) for part in BRANCHES["all"]}
    alone, weighted = (fitted(**QUICK, **s).score(pair[0]) for s in ({"branches": branch}, weights))
    np.testing.assert_allclose(alone.map, weighted.map, atol=1e-5)
    np.testing.assert_array_equal(alone.parts[branch], quick.score(pair[0]).parts[branch])
    single = np.maximum(calibrated(alone.parts[branch], quick.ranges[branch]), 0)
    seen = pair[0].foreground
    np.testing.assert_allclose(alone.map, smooth(np.where(seen, single, 0), "gauss4_reflect"), atol=1e-5)


@pytest.mark.parametrize(("branches", "parts"), BRANCHES.items())
def test_parts_are_those_of_the_branches_and_zero_off_the_object(pair, branches, parts):
    scores = fitted(**QUICK, branches=branches, remask=True).score(pair[0])
    assert tuple(scores.parts) == parts and scores.image == scores.map.max() > 0
    for found in (scores.map, *scores.parts.values()):
        assert found.dtype == np.float32 and found.shape == (24, 24) and not found[~pair[0].foreground].any()


@pytest.mark.parametrize(("settings", "rows"), [({}, 256), ({"bank_floor": 1}, 77), ({"bank_size": 40}, 40),
                                                ({"bank_share": 0.9}, 692), ({"bank_floor": 5000}, 768)])
def test_a_bank_holds_a_share_between_floor_and_cap(settings, rows):
    method = fitted(**QUICK, **settings)
    assert [len(bank.bank) for bank in method.banks.values()] == [rows, rows]


def test_banks_are_light(quick):
    rows, axes = 256 * (11 + 9), 11 * 11 + 11 + 9 * 9 + 9  # the anchor is a channel
    assert quick.bank_bytes == 4 * (rows + axes)
    heads = sum(t.numel() for net in quick.networks.values() for t in net.state_dict().values())
    assert model_mb(quick) == pytest.approx(4 * (rows + axes + heads + 6 + 2 * (10 + 8) + 2) / 2**20)


def test_the_blur_reaches_over_the_edge_of_the_object_unless_masked_again(quick, pair):
    """Missing 3D is a defect, too: its pixels lie off the object."""
    outside, masked = ~pair[0].foreground, fitted(**QUICK, remask=True).score(pair[0])
    assert quick.score(pair[0]).map[outside].max() > 0 and masked.map[outside].max() == 0
    np.testing.assert_array_equal(quick.score(pair[0]).map[~outside], masked.map[~outside])


def test_the_rasters_of_the_maps(pair):
    method = fitted(**QUICK, grid=12, rgb_grid=6)
    sample = pair[0]
    found = [method.distances(part, method.at_cells(method.raster(sample, sides, method.grid_of(part)))).shape
             for part, sides in (("bank2", ("rgb",)), ("bank3", ("xyz",)), ("inter", ("rgb", "xyz")))]
    assert found == [(16,), (64,), (64,)]


@pytest.mark.parametrize(("settings", "composed"), [({}, [("rgb", "xyz"), ("rgb",)]), ({"rgb_grid": 12}, [("rgb", "xyz")]),
                                                    ({"branches": "banks"}, [("rgb",), ("xyz",)]),
                                                    ({"branches": "bank3"}, [("xyz",)])])
def test_a_side_is_composed_once_for_a_raster(settings, composed, pair, monkeypatch):
    genuine, calls = aligner.on_grid, []
    monkeypatch.setattr(aligner, "on_grid", lambda maps, *rest: calls.append(tuple(maps)) or genuine(maps, *rest))
    method = CMSA(**{"epochs": 1, "grid": 12, "rgb_grid": 6} | settings).fit([pair[1]], progress=False)
    training = [("rgb", "xyz")] if method.losses else []
    assert calls == training + composed
    calls.clear()
    method.score(pair[0])
    assert calls == composed


def oblong(n):
    """Samples of 12 x 20 pixels."""
    def cut(fmap):
        return FeatureMap(fmap.tokens, fmap.interp[np.arange(24 * 24).reshape(24, 24)[6:18, 2:22].ravel()], (12, 20))

    return [replace(f, rgb=cut(f.rgb), xyz=cut(f.xyz), foreground=f.foreground[6:18, 2:22], cloud=f.cloud[6:18, 2:22])
            for f in shared_latent(n)]


def turned(features):
    """The sample with rows and columns exchanged."""
    h, w = features.size
    order = np.arange(h * w).reshape(h, w).T.ravel()
    sides = {side: FeatureMap(fmap.tokens, fmap.interp[order], (w, h))
             for side, fmap in (("rgb", features.rgb), ("xyz", features.xyz))}
    return replace(features, **sides, foreground=features.foreground.T, cloud=features.cloud.transpose(1, 0, 2))


@pytest.mark.parametrize("settings", [QUICK | {"grid": 0, "rgb_grid": 0}, QUICK | {"grid": 15, "rgb_grid": 5}, {"epochs": 2}])
def test_a_map_need_not_be_square(settings, monkeypatch):
    """Nor do rows and columns change places anywhere: they do in the map when they do in the features."""
    genuine, widths = aligner.close, []
    monkeypatch.setattr(aligner, "close", lambda cells, width, radius: widths.append(width) or genuine(cells, width, radius))
    samples = oblong(3)
    method = CMSA(**settings).fit(samples[:2], progress=False)
    scores, other = (method.score(f) for f in (samples[2], turned(samples[2])))
    assert scores.map.shape == (12, 20) and set(widths) <= {20}
    for name, found in {"map": scores.map, **scores.parts}.items():
        assert found.max() > 0
        np.testing.assert_allclose(found.T, other.map if name == "map" else other.parts[name], atol=1e-4)


def test_candidates_are_a_seeded_bound():
    samples = shared_latent(3)
    few, again, other = (CMSA(seed=seed, **QUICK, candidates=90).fit(samples, progress=False) for seed in (0, 0, 1))
    x, image, total = few.gather(samples, ("rgb",), 28)
    assert np.bincount(image).tolist() == [30, 30, 30] and total == 768 and x["rgb"].shape == (90, 10 + 1)
    assert len(few.banks["bank2"].bank) == 90
    assert torch.equal(few.banks["bank2"].bank.rows, again.banks["bank2"].bank.rows)
    assert not torch.equal(few.banks["bank2"].bank.rows, other.banks["bank2"].bank.rows)


def test_same_seed_same_maps_and_another_seed_others(pair):
    maps = [fitted(2, epochs=5, seed=seed).score(pair[0]).map for seed in (1, 1, 2)]
    np.testing.assert_array_equal(maps[0], maps[1])
    assert not np.array_equal(maps[0], maps[2])


@pytest.mark.parametrize("settings", [{"epochs": 3}, QUICK, {"branches": "banks"}, {"branches": "bank3", "bank_space": "raw"},
                                      {**QUICK, "bank_space": "latent"}])
def test_save_and_load_give_the_same_scores(settings, pair, tmp_path):
    method = fitted(2, **settings)
    again = CMSA.load(method.save(tmp_path / "model"))
    np.testing.assert_array_equal(again.score(pair[0]).map, method.score(pair[0]).map)
    assert again.settings == method.settings and again.bank_bytes == method.bank_bytes


@pytest.mark.parametrize("align", ALIGN)
def test_one_shot_and_empty_foreground_work(align):
    method = fitted(1, align=align, epochs=2)
    sample = shared_latent(2)[1]
    assert np.isfinite(method.score(sample).map).all() and method.score(sample).image > 0
    scores = method.score(replace(sample, foreground=np.zeros_like(sample.foreground)))
    assert scores.image == 0 and not scores.map.any()


@pytest.mark.parametrize("align", ALIGN)
def test_a_single_cell_is_enough(align):
    sample = shared_latent(1)[0]
    sample = replace(sample, foreground=np.arange(24 * 24).reshape(24, 24) == 150)
    method = CMSA(align=align, epochs=2).fit([sample], progress=False)
    assert np.isfinite(method.score(sample).map).all() and np.isfinite(method.score(shared_latent(1)[0]).map).all()


def test_constant_features_give_finite_maps():
    samples = [replace(f, rgb=f.rgb.with_tokens(torch.ones_like(f.rgb.tokens))) for f in shared_latent(2)]
    for settings in (QUICK, {"epochs": 2}):
        assert np.isfinite(CMSA(**settings).fit(samples, progress=False).score(samples[0]).map).all()


@pytest.mark.parametrize("side", ["rgb", "xyz"])
def test_a_test_sample_without_a_modality_is_judged_by_the_bank_of_the_other(quick, pair, side):
    left = "bank3" if side == "rgb" else "bank2"
    found, whole = quick.score(lacking(pair[0], side)), quick.score(pair[0])
    assert list(found.parts) == [left] and np.isfinite(found.image) and found.image > 0
    np.testing.assert_array_equal(found.parts[left], whole.parts[left])
    for branches in ("inter", "bank2" if side == "rgb" else "bank3"):
        with pytest.raises(MissingModality):
            fitted(2, **QUICK, branches=branches).score(lacking(pair[0], side))


@pytest.mark.parametrize(("side", "branch"), [("rgb", "bank3"), ("xyz", "bank2")])
def test_one_bank_learns_from_data_of_one_modality(side, branch):
    train = [lacking(f, side) for f in shared_latent(2)]
    method = CMSA(branches=branch).fit(train, progress=False)
    assert list(method.score(train[0]).parts) == [branch]
    for settings in ({}, {"branches": "banks"}, {"branches": branch, "bank_space": "latent"}):
        with pytest.raises(MissingModality, match="cmsa"):
            CMSA(**settings).fit(train, progress=False)


def test_background_changes_nothing(quick):
    train = shared_latent(3)
    outside = ~torch.from_numpy(train[0].foreground.ravel())
    other = []
    for f in train:
        tokens = {side: getattr(f, side).tokens.clone() for side in ("rgb", "xyz")}
        for t in tokens.values():
            t[outside] = 7
        other.append(replace(f, **{side: getattr(f, side).with_tokens(t) for side, t in tokens.items()}))
    np.testing.assert_array_equal(quick.score(other[0]).map, quick.score(train[0]).map)
    np.testing.assert_array_equal(CMSA(**QUICK).fit(other, progress=False).score(train[0]).map, quick.score(train[0]).map)
    everywhere = CMSA(**QUICK, masked=False).fit(train, progress=False).score(train[0]).parts["bank2"]
    assert (everywhere[~train[0].foreground] > 0).mean() > 0.5


@pytest.mark.parametrize("settings", [
    {"align": "cos_vicreg"}, {"align": "cca"}, {"hidden": 64}, {"d": 16}, {"tau": 0.5}, {"lam": 0.0}, {"cells": 50},
    {"radius": 0}, {"alike": 0.0}, {"alike": 0.2}, {"anchor": 0.0}, {"weight_decay": 0.1}, {"grid": 12}, {"rgb_grid": 12},
    {"bank_size": 60}, {"bank_share": 0.9},
    {"bank_space": "raw"}, {"bank_space": "latent"}, {"bank_dims": 3}, {"candidates": 100}, {"k": 3}, {"calibrate": False},
    {"fusion": "product"}, {"fusion": "max"}, {"weight_inter": 0.5}, {"weight_bank2": 0.0}, {"weight_bank3": 2.0},
    {"smooth": "none"}, {"remask": True}, {"branches": "banks"}, {"batch": 2}])
def test_every_switch_moves_the_map(settings, pair, plain):
    assert not np.array_equal(fitted(3, epochs=3, **settings).score(pair[0]).map, plain)


@pytest.fixture(scope="module")
def plain(pair):
    return fitted(3, epochs=3).score(pair[0]).map


def test_the_ridge_moves_the_closed_form(pair, quick):
    assert not np.array_equal(fitted(**QUICK, ridge=1.0).score(pair[0]).map, quick.score(pair[0]).map)


def test_the_latent_of_narrow_features_is_as_wide_as_it_can_be():
    assert fitted(2, **QUICK, anchor=0.0).networks["phi_2"].matrix.shape == (10, 8)
    assert fitted(2, **QUICK, d=5).networks["phi_3"].matrix.shape == (8 + 1, 5), "the anchor is a channel"
    assert fitted(2, epochs=1).networks["phi_2"][-1].out_features == 256


@pytest.mark.parametrize(("setting", "value"), [
    ("pixels", 64), ("hidden", 0), ("d", -1), ("tau", 0.0), ("tau", math.inf), ("lam", -1.0), ("cells", 0), ("radius", -1),
    ("alike", -0.1), ("alike", 1.0), ("alike", math.nan), ("ridge", 0.0), ("weight_decay", math.nan), ("grid", -1),
    ("rgb_grid", -1), ("bank_size", 0), ("bank_floor", 0),
    ("bank_share", 0.0), ("bank_share", 1.5), ("bank_dims", 0), ("candidates", -1), ("k", 0), ("weight_bank2", -0.5),
    ("weight_inter", math.inf)])
def test_impossible_values_are_refused(setting, value):
    with pytest.raises(SettingsError, match=rf"{setting}={value}"):
        CMSA(**{setting: value})


@pytest.mark.parametrize("setting", ["branches", "align", "bank_space", "fusion", "smooth"])
def test_unknown_choices_are_refused(setting):
    with pytest.raises(UnknownName, match=f"unknown {setting} 'no'"):
        CMSA(**{setting: "no"})


def test_a_fusion_of_nothing_is_refused():
    with pytest.raises(SettingsError, match="all of their weights are 0"):
        CMSA(branches="banks", weight_bank2=0.0, weight_bank3=0.0)
    assert CMSA(branches="bank2", weight_bank2=0.0)
