"""Which images and pixels a step sees, how many steps there are, what names a training."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from synthetic import shared_latent

from mmadlib.methods.cfm.cfm import CFM
from mmadlib.methods.trained import Trained


def method(seed: int = 5, usable: int = 3, **settings) -> Trained:
    made = CFM(seed=seed, **settings)
    made.usable = list(range(1, usable + 1))
    return made


@pytest.mark.parametrize(("images", "batch", "epochs", "steps"), [(3, 2, 4, 8), (4, 2, 4, 8), (1, 8, 5, 5), (9, 4, 1, 3),
                                                                  (9, 4, 0, 77)])
def test_steps_of_epochs(images, batch, epochs, steps):
    assert method(usable=images, batch=batch).n_steps(epochs, 77) == steps


def test_images_of_a_step_are_shuffled_anew_in_every_epoch_and_none_is_left_out():
    m = method(usable=5, batch=2)
    for epoch in range(3):
        found = [m.images_of(3 * epoch + turn) for turn in range(3)]
        assert [len(images) for images in found] == [2, 2, 1]
        order = np.random.default_rng([5, 1, epoch]).permutation(5) + 1
        assert [i for images in found for i in images] == order.tolist()


@pytest.mark.parametrize(("pixels", "share"), [(64, 32), (65, 33), (0, 256)])
def test_pixels_of_a_step_are_drawn_from_the_foreground_in_equal_shares(pixels, share):
    samples, m = shared_latent(3), method(usable=2, batch=2, pixels=pixels)
    rng, inside = np.random.default_rng([5, 2, 7]), samples[0].pixels
    found = m.pick(samples, 7)
    assert [i for i, _ in found] == m.images_of(7)
    for _, chosen in found:
        np.testing.assert_array_equal(chosen, rng.choice(inside, share) if pixels else inside)


def test_pairs_are_the_standardised_features_of_those_pixels():
    samples, m = shared_latent(3), method(usable=2, batch=2, pixels=10)
    m.standardise.fit(samples)
    m._maps = {}
    F2, F3 = m.pairs(samples, 7)
    for i, (image, pixels) in enumerate(m.pick(samples, 7)):
        for side, found in (("rgb", F2), ("xyz", F3)):
            tokens = getattr(samples[image], side).tokens[pixels]
            expected = (tokens - m.standardise.mean[side]) / m.standardise.std[side]
            anchor = torch.full((5, 1), expected.shape[1] ** 0.5)  # of 1, the default
            torch.testing.assert_close(found[5 * i:5 * i + 5], torch.cat([expected, anchor], 1))


def test_chunks_hold_every_pixel_once():
    sample = shared_latent(1, size=120)[0]  # 112 x 112 in the foreground
    found = method().chunks(sample)
    assert [len(some) for some in found] == [8192, 112 * 112 - 8192]
    np.testing.assert_array_equal(np.concatenate(found), sample.pixels)


def test_a_training_is_named_by_all_that_decides_it():
    a, b = shared_latent(2)
    small = a.foreground.copy()
    small[6, 6] = False
    names = [method().identity(samples, label) for samples, label in (
        ([a, b], "fit"), ([a, b], "other"), ([b, a], "fit"), ([a], "fit"), ([a, replace(b, foreground=small)], "fit"),
        ([a, replace(b, rgb=a.rgb)], "fit"), ([a, replace(b, xyz=a.xyz)], "fit"))]
    other = type("Other", (CFM,), {"name": "other"})
    names += [m.identity([a, b], "fit") for m in (method(seed=6), method(lr=0.01), other(seed=5))]
    assert len(set(names)) == len(names) == 10
    assert method().identity(shared_latent(2), "fit") == names[0]


def test_a_loaded_model_has_the_trained_networks(tmp_path):
    trained = CFM(seed=5, steps=3).fit(shared_latent(2), progress=False)
    loaded = CFM.load(trained.save(tmp_path / "model"))
    for name, net in trained.networks.items():
        assert not loaded.networks[name].training
        for a, b in zip(net.parameters(), loaded.networks[name].parameters(), strict=True):
            assert torch.equal(a, b)
    fresh = CFM(seed=5, steps=3)
    fresh.standardise = trained.standardise
    fresh.make_networks()
    assert not torch.equal(fresh.networks["G"].output.weight, loaded.networks["G"].output.weight)
