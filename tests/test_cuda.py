"""On a GPU: the same models give the same maps as on the CPU; training works there, in half precision too."""

import numpy as np
import pytest
import torch
from samples import TINY, dome
from synthetic import brief, shared_latent

from mmadlib.features import Extractor
from mmadlib.methods import METHODS
from mmadlib.methods.trained import Trained

DEVICE = "cuda"
LEARNED = [name for name, cls in METHODS.items() if issubclass(cls, Trained)]
pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU and a torch that knows it")


@pytest.fixture(autouse=True)
def whole_floats(monkeypatch):
    """Convolutions in float32: by default cuDNN rounds their factors to ten bits. Matrix products are whole anyway."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)


def small(name: str, device: str = DEVICE, **settings):
    return METHODS[name](device=device, **(brief(METHODS[name], 5) if name in LEARNED else {}) | settings)


@pytest.mark.parametrize("name", METHODS)
def test_a_model_of_the_cpu_gives_the_same_maps(name, tmp_path):
    samples = shared_latent()
    here = small(name, "cpu").fit(samples, progress=False)
    there = METHODS[name].load(here.save(tmp_path), device=DEVICE)
    for sample in (samples[0], *shared_latent(1, seed=1)):
        one, other = here.score(sample), there.score(sample)
        np.testing.assert_allclose(other.map, one.map, atol=1e-4)
        assert other.image == pytest.approx(one.image, abs=1e-4)


@pytest.mark.parametrize("name", METHODS)
def test_methods_fit_and_score(name, tmp_path):
    samples = shared_latent()
    model = small(name).fit(samples, progress=False)
    scores = model.score(samples[0])
    assert scores.map.dtype == np.float32 and np.isfinite(scores.map).all() and np.isfinite(scores.image)
    back = METHODS[name].load(model.save(tmp_path), device="cpu").score(samples[0])
    np.testing.assert_allclose(back.map, scores.map, atol=1e-4)


@pytest.mark.parametrize("name", LEARNED)
def test_half_precision_gives_finite_losses(name):
    model = small(name, mixed_precision=True).fit(shared_latent(), progress=False)
    assert len(model.losses) == 5
    assert all(np.isfinite(value) for step in model.losses for value in step.values())


@pytest.mark.parametrize("name", LEARNED)
def test_a_finished_checkpoint_is_taken_up(name, tmp_path):
    samples = shared_latent()
    first, again = (small(name).fit(samples, progress=False, checkpoint=tmp_path) for _ in range(2))
    assert first.losses == again.losses
    np.testing.assert_allclose(again.score(samples[0]).map, first.score(samples[0]).map, atol=1e-4)


def test_backbones_give_the_same_tokens():
    options = {**TINY, "size": 96}
    here, there = (Extractor(**options, device=device) for device in ("cpu", DEVICE))
    assert here.key == there.key
    one, other = here.tokens(dome()), there.tokens(dome())
    np.testing.assert_array_equal(other.xyz.index, one.xyz.index)
    for side in ("rgb", "xyz"):
        np.testing.assert_allclose(getattr(other, side).tokens, getattr(one, side).tokens, atol=1e-3)
