"""Standardised descriptors: mean and deviation of the training foreground, by NumPy."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from synthetic import quick, shared_latent

from mmadlib.errors import MissingModality, SettingsError, UnknownName
from mmadlib.features.field import FeatureMap
from mmadlib.methods import METHODS
from mmadlib.methods.standardise import Standardiser


def foreground_of(samples, side) -> np.ndarray:
    return np.concatenate([getattr(f, side).tokens.numpy()[f.pixels] for f in samples]).astype(np.float64)


@pytest.fixture
def samples():
    """Three, with foregrounds of different sizes and channels of different means."""
    found, small = shared_latent(3), np.zeros((24, 24), bool)
    small[5:9, 6:20] = True
    shift = torch.arange(10.0)
    found = [replace(f, rgb=f.rgb.with_tokens(2 * f.rgb.tokens + shift)) for f in found]
    return [*found[:2], replace(found[2], foreground=small)]


def test_foreground_has_mean_0_and_deviation_1(samples):
    made = Standardiser().fit(samples)
    for side in ("rgb", "xyz"):
        seen = foreground_of(samples, side)
        np.testing.assert_allclose(made.mean[side], seen.mean(0), atol=1e-6)
        np.testing.assert_allclose(made.std[side], seen.std(0), rtol=1e-5)
        tokens = getattr(samples[0], side).tokens.numpy()
        np.testing.assert_allclose(made(samples[0], side).tokens, (tokens - seen.mean(0)) / seen.std(0), rtol=1e-4, atol=1e-5)


def test_a_constant_channel_keeps_its_scale(samples):
    for f in samples:
        f.rgb.tokens[:, 3] = 1000.0
        f.rgb.tokens[:, 4] = 1000 + 5e-4 * torch.randn(576, generator=torch.Generator().manual_seed(0))  # less than a digit
    made = Standardiser().fit(samples)
    assert made.mean["rgb"][3] == 1000 and made.std["rgb"][3] == made.std["rgb"][4] == 1 > made.std["xyz"].min()


@pytest.mark.parametrize(("meta", "plain"), [({"standardise": []}, {"rgb", "xyz"}), ({}, {"rgb", "xyz"}),
                                             ({"standardise": ["rgb", "xyz"]}, set()), ({"standardise": ["xyz"]}, {"rgb"})])
def test_features_of_a_backbone_stay_as_they_are(samples, meta, plain):
    made = Standardiser().fit([replace(f, meta=meta) for f in samples])
    for side in ("rgb", "xyz"):
        untouched = not made.mean[side].any() and bool((made.std[side] == 1).all())
        assert untouched == (side in plain)


def test_samples_without_a_modality_do_not_count_in_it(samples):
    none = FeatureMap(torch.zeros(1, 0), np.ones((576, 1), np.float32), 24)
    lacking = replace(samples[0], xyz=none, meta=samples[0].meta | {"missing": "xyz"})
    made = Standardiser().fit([lacking, *samples[1:]])
    np.testing.assert_allclose(made.mean["xyz"], foreground_of(samples[1:], "xyz").mean(0), atol=1e-6)
    np.testing.assert_allclose(made.mean["rgb"], foreground_of(samples, "rgb").mean(0), atol=1e-6)
    with pytest.raises(MissingModality, match="no 3D features"):
        made(lacking, "xyz")
    with pytest.raises(SettingsError, match="rgb features have 10 channels, the model was fitted on 8"):
        Standardiser().fit([replace(f, rgb=f.xyz) for f in samples])(samples[0], "rgb")


def test_its_state_brings_it_back(samples):
    made, back = Standardiser().fit(samples), Standardiser()
    back.restore(made.state())
    for side in ("rgb", "xyz"):
        assert torch.equal(back.mean[side], made.mean[side]) and torch.equal(back.std[side], made.std[side])


def test_the_anchor_is_a_constant_channel_of_what_is_standardised(samples):
    made = Standardiser(anchor=2).fit([replace(f, meta={"standardise": ["xyz"]}) for f in samples])
    plain = Standardiser().fit([replace(f, meta={"standardise": ["xyz"]}) for f in samples])
    features = replace(samples[0], meta={"standardise": ["xyz"]})
    anchored = made(features, "xyz").tokens
    torch.testing.assert_close(anchored[:, :-1], plain(features, "xyz").tokens, rtol=0, atol=0)
    assert (anchored[:, -1] == 2 * (anchored.shape[1] - 1) ** 0.5).all()
    assert made.width("xyz") == plain.width("xyz") + 1 == anchored.shape[1]
    torch.testing.assert_close(made(features, "rgb").tokens, features.rgb.tokens)  # a backbone's stay as they are
    assert made.width("rgb") == plain.width("rgb") == features.rgb.channels


def test_with_an_anchor_a_cosine_is_a_squared_distance(samples):
    """Of features within one standard deviation, scaled by the length of the anchor."""
    made = Standardiser(anchor=10).fit(samples)
    x = made(samples[0], "rgb").tokens.double()
    a, b = x[:200], x[200:400]
    cosine = 1 - torch.nn.functional.cosine_similarity(a, b)
    torch.testing.assert_close(cosine, ((a - b) ** 2).sum(1) / 2 / (100 * (x.shape[1] - 1)), rtol=0.1, atol=0)


def test_an_anchor_is_kept_with_the_model(samples):
    made = Standardiser(anchor=1).fit(samples)
    again = Standardiser()
    again.restore(made.state())
    for side in ("rgb", "xyz"):
        assert torch.equal(again(samples[1], side).tokens, made(samples[1], side).tokens)
        assert again.width(side) == made.width(side) == getattr(samples[1], side).channels + 1


BRIEF: dict[str, dict] = {  # methods that have an anchor unasked -> settings of a short training
    "cfm": {"steps": 1, "batch": 1}, "cpir": {"steps": 1, "batch": 1}, "cfr": {"steps": 1, "batch": 1, "replace": "off"},
    "cmdr_iad": {"steps": 1, "batch": 1, "grid": 12}, "pirn": {"steps": 1, "batch": 1, "grid": 12},
    "cmsa": {"epochs": 0, "steps": 1, "batch": 1, "grid": 12, "rgb_grid": 6},
}


@pytest.mark.parametrize("name", BRIEF)
def test_methods_of_a_cosine_have_an_anchor_unasked_and_never_beside_tokens_of_a_transformer(samples, name):
    model = METHODS[name](**BRIEF[name]).fit(samples, progress=False)
    assert {side: model.standardise.anchor[side].item() for side in ("rgb", "xyz")} == {
        "rgb": pytest.approx(10**0.5), "xyz": pytest.approx(8**0.5)}
    tokens = [replace(f, meta={"family": "paper", "standardise": []}) for f in samples]
    maps = [METHODS[name](**BRIEF[name], anchor=k).fit(tokens, progress=False).score(tokens[0]).map for k in (0, 1, 5)]
    assert all(np.array_equal(maps[0], other) for other in maps[1:])


@pytest.mark.parametrize("name", BRIEF)
def test_a_saved_model_keeps_its_anchor(samples, name, tmp_path):
    model = METHODS[name](**BRIEF[name], anchor=3).fit(samples, progress=False)
    again = METHODS[name].load(model.save(tmp_path / name))
    assert again.settings.anchor == 3 and again.standardise.anchor["rgb"] == model.standardise.anchor["rgb"] > 9
    assert np.array_equal(again.score(samples[1]).map, model.score(samples[1]).map)


@pytest.mark.parametrize("name", [name for name, method in METHODS.items() if getattr(method.SETTINGS(), "anchor", 0)])
def test_every_method_of_a_cosine_takes_an_anchor(samples, name):
    settings = {"steps": 2, "batch": 2} | ({"retriever_steps": 2} if name == "cfr" else {})
    settings |= {"epochs": 0} if "epochs" in METHODS[name].SETTINGS.__dataclass_fields__ else {}
    plain, anchored = (METHODS[name](**settings, anchor=k).fit(samples, progress=False).score(samples[0]).map for k in (0, 1))
    assert np.isfinite(anchored).all() and not np.array_equal(plain, anchored)


@pytest.mark.parametrize("name", ["btf", "patchcore", "m3dm", "ast", "shape_guided", "nearest"])
def test_methods_of_other_distances_take_no_anchor(samples, name):
    with pytest.raises((UnknownName, SettingsError), match="anchor"):
        METHODS[name](anchor=1)
    model = METHODS[name](**quick(name)).fit(samples, progress=False)
    assert model.standardise.anchor == {"rgb": 0, "xyz": 0} and model.standardise.width("rgb") == samples[0].rgb.channels
