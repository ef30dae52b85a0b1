"""Standardised descriptors: mean and deviation of the training foreground, by NumPy."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from synthetic import shared_latent

from mmadlib.errors import MissingModality, SettingsError
from mmadlib.features.field import FeatureMap
from mmadlib.methods.base import Standardiser


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
