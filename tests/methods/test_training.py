"""The training loop: progress to the same bits after an interruption, clear stops, mixed precision."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from synthetic import brief, shared_latent, stop_training
from torch import nn

from mmadlib.errors import OutputError, TrainingError, WeightsError
from mmadlib.methods import METHODS
from mmadlib.methods.trained import Trained
from mmadlib.methods.training import ByShots, Checkpoint, train, update

LEARNED = {name: cls for name, cls in METHODS.items() if issubclass(cls, Trained)}


def small(name: str, seed: int = 0, **settings):
    return LEARNED[name](seed=seed, **brief(LEARNED[name], 20) | settings)


@pytest.fixture
def noisy():
    """A network with dropout, its optimiser and its losses: resuming must repeat the dropout too."""
    def make():
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(3, 4), nn.Dropout(0.5), nn.BatchNorm1d(4), nn.Linear(4, 1))
        x = torch.arange(12.0).reshape(4, 3)
        return net, torch.optim.Adam(net.parameters()), lambda step: {"square": (net(x + step) ** 2).mean()}
    return make


def interrupt_at(step: int | None, terms, steps: list[int]):
    def wrapped(now: int):
        steps.append(now)
        if now == step:
            raise KeyboardInterrupt
        return terms(now)
    return wrapped


def test_a_resumed_training_ends_with_the_same_bits(noisy, tmp_path):
    steps = []

    def run(folder, stop=None):
        net, adam, terms = noisy()
        steps.clear()
        kept = Checkpoint(tmp_path / folder, "same")
        losses = train("t", 40, interrupt_at(stop, terms, steps), {"net": net}, {"adam": adam}, checkpoint=kept)
        return net.state_dict(), losses

    straight, losses = run("a")
    with pytest.raises(KeyboardInterrupt):
        run("b", stop=27)
    resumed, again = run("b")
    assert steps == list(range(26, 40)), "every second step is kept, so the last one before the interruption at 27"
    assert again == losses and len(losses) == 40
    assert all(torch.equal(straight[k], resumed[k]) for k in straight)
    assert [p.name for p in (tmp_path / "b").glob("*.safetensors")] == ["step_0000040.safetensors"]


def test_a_finished_training_is_not_repeated(noisy, tmp_path):
    net, adam, terms = noisy()
    kept = Checkpoint(tmp_path, "same")
    losses = train("t", 5, terms, {"net": net}, {"adam": adam}, checkpoint=kept)
    fresh, adam, _ = noisy()
    assert train("t", 5, pytest.fail, {"net": fresh}, {"adam": adam}, checkpoint=kept) == losses
    assert all(torch.equal(a, b) for a, b in zip(net.parameters(), fresh.parameters(), strict=True))


@pytest.mark.parametrize("name", LEARNED)
def test_methods_resume_from_their_checkpoint(name, tmp_path, monkeypatch):
    samples = shared_latent(2)
    seen = stop_training(monkeypatch, at=0)
    straight = small(name).fit(samples, progress=False)
    every = len(seen)
    updates = stop_training(monkeypatch, at=13)
    with pytest.raises(KeyboardInterrupt):
        small(name).fit(samples, progress=False, checkpoint=tmp_path / "c")
    resumed = small(name).fit(samples, progress=False, checkpoint=tmp_path / "c")
    assert len(updates) == every + 1, "the update that was interrupted is repeated, the twelve before it are not"
    assert resumed.losses == straight.losses
    np.testing.assert_array_equal(resumed.score(samples[0]).map, straight.score(samples[0]).map)


@pytest.mark.parametrize("name", LEARNED)
def test_another_training_is_refused(name, tmp_path):
    samples = shared_latent(2)
    small(name).fit(samples, progress=False, checkpoint=tmp_path / "c")
    for other, data in ((small(name, lr=0.01), samples), (small(name, seed=1), samples),
                        (small(name), shared_latent(2, seed=5))):
        with pytest.raises(WeightsError, match="checkpoint of another training"):
            other.fit(data, progress=False, checkpoint=tmp_path / "c")


@pytest.mark.parametrize("spoil", [
    lambda folder: (folder / "training.json").write_text("{"),
    lambda folder: (folder / "training.json").write_text("[]"),
    lambda folder: next(folder.glob("*.safetensors")).unlink(),
    lambda folder: next(folder.glob("*.safetensors")).write_bytes(b"half")])
def test_damaged_checkpoints_are_refused(noisy, tmp_path, spoil):
    net, adam, terms = noisy()
    kept = Checkpoint(tmp_path, "same")
    train("t", 3, terms, {"net": net}, {"adam": adam}, checkpoint=kept)
    spoil(tmp_path)
    with pytest.raises(WeightsError, match="no whole checkpoint"):
        train("t", 3, terms, {"net": net}, {"adam": adam}, checkpoint=kept)


def test_a_folder_that_cannot_be_written_is_named(noisy, tmp_path):
    (tmp_path / "file").write_text("")
    net, adam, terms = noisy()
    with pytest.raises(OutputError, match="file/c: cannot be written"):
        train("t", 3, terms, {"net": net}, {"adam": adam}, checkpoint=Checkpoint(tmp_path / "file" / "c", "same"))


def test_a_loss_that_is_not_finite_names_its_term_and_changes_nothing():
    net = nn.Linear(2, 1)
    before = net.weight.clone()
    good, bad = net(torch.ones(3, 2)).mean(), net(torch.full((3, 2), torch.nan)).mean()
    with pytest.raises(TrainingError, match="cfm: the RGB to 3D loss became nan"):
        update("cfm", {"3D to RGB": good, "RGB to 3D": bad}, {"adam": torch.optim.Adam(net.parameters())})
    assert torch.equal(net.weight, before)


@pytest.mark.parametrize("name", LEARNED)
def test_mixed_precision_trains_nearly_the_same(name):
    samples = shared_latent(2)
    full, mixed = (small(name, mixed_precision=m).fit(samples, progress=False) for m in (False, True))
    assert full.losses != mixed.losses  # the switch does something
    first, other = (sum(m.losses[0].values()) for m in (full, mixed))
    assert other == pytest.approx(first, rel=0.05)
    assert all(p.dtype == torch.float32 for net in mixed.networks.values() for p in net.parameters())


@pytest.mark.parametrize("name", LEARNED)
def test_samples_without_foreground_are_left_out(name):
    empty, full = shared_latent(2)
    empty = replace(empty, foreground=np.zeros_like(empty.foreground))
    method = small(name, batch=2).fit([empty, full], progress=False)
    assert method.usable == [1] and np.isfinite(sum(method.losses[-1].values()))


def test_losses_are_written_as_numbers(noisy, tmp_path):
    net, adam, terms = noisy()
    losses = train("t", 3, terms, {"net": net}, {"adam": adam}, checkpoint=Checkpoint(tmp_path, "same"))
    notes = json.loads((tmp_path / "training.json").read_text())
    assert notes["terms"] == ["square"] and [values[0] for values in notes["losses"]] == [step["square"] for step in losses]


@pytest.mark.parametrize(("images", "passes"), [(1, 100), (50, 100), (51, 20), (1000, 20)])
def test_papers_train_longer_on_few_shots(images, passes):
    assert ByShots().passes(images) == passes
    assert ByShots(epochs=0).passes(images) == 0  # `steps` decides, for any number


def test_a_step_starts_from_no_gradient_and_adds_up_its_terms():
    net = nn.Linear(1, 1, bias=False)
    nn.init.ones_(net.weight)
    sgd = {"sgd": torch.optim.SGD(net.parameters(), lr=0.1)}
    for before, after in ((1.0, 0.5), (0.5, 0.0)):  # a slope of 2 + 3
        x = net(torch.ones(1, 1)).sum()
        losses = update("t", {"two": 2 * x, "three": 3 * x}, sgd)
        assert losses == pytest.approx({"two": 2 * before, "three": 3 * before})
        assert net.weight.item() == pytest.approx(after, abs=1e-6)
