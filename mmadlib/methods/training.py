"""The training loop of all learned methods: it shows the loss, stops where it is not finite, and resumes.

A step depends on the seed and its own number only, never on the steps before it, except through the networks and the
optimisers. So a checkpoint needs these alone, and a resumed training ends with the same bits as an uninterrupted one.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from safetensors import SafetensorError
from safetensors.torch import load as from_bytes
from safetensors.torch import save as to_bytes
from torch import nn

from mmadlib.atomic import atomic
from mmadlib.checks import check_fields
from mmadlib.errors import OutputError, TrainingError, WeightsError, explain
from mmadlib.paths import shown
from mmadlib.progress import bar

CHECKPOINTS = 20  # written during one training
FEW = 50  # training images up to which a published budget for few shots holds
Terms = Mapping[str, Float[torch.Tensor, ""]]  # losses by name


@dataclass(frozen=True)
class TrainSettings:
    """What every trained method can be told; a method's own Settings extend it."""

    steps: int = 400  # optimiser steps when epochs is 0
    epochs: int = 0  # passes over the training images, as papers count
    batch: int = 4  # images per step
    pixels: int = 512  # foreground pixels per step; 0: all of them, as published
    lr: float = 1e-3
    masked: bool = True  # leave out pixels without 3D features, in training and scoring
    anchor: float = 1.0  # k of the constant channel beside standardised features: Standardiser says what for; 0: none
    mixed_precision: bool = False  # networks in bfloat16 while training, losses in float32

    def __post_init__(self) -> None:
        check_fields(self, least={"batch": 1, "steps": 1, "epochs": 0, "pixels": 0}, positive=["lr"],
                     not_negative=["anchor"])

    def passes(self, images: int) -> int:
        """Epochs over so many training images; 0: `steps` decides."""
        return self.epochs


@dataclass(frozen=True)
class ByShots(TrainSettings):
    """Of methods whose papers train longer on few shots than on all."""

    epochs: int = 100  # with at most FEW training images; 0: `steps` decides, for any number of them
    epochs_full: int = 20  # with more

    def __post_init__(self) -> None:
        super().__post_init__()
        check_fields(self, least={"epochs_full": 1})

    def passes(self, images: int) -> int:
        return self.epochs_full if self.epochs and images > FEW else self.epochs


@dataclass(frozen=True)
class Checkpoint:
    """A folder with the state of one training: training.json and the tensors that it names.

    identity  what the training must share with its checkpoint (method, seed, settings, data); resuming another one is refused
    """

    folder: Path
    identity: str

    def read(self, networks: Mapping[str, nn.Module],
             optimisers: Mapping[str, torch.optim.Optimizer]) -> list[dict[str, float]]:
        """Put the stored state into networks and optimisers; returns the losses so far, none without a checkpoint.

        Raises WeightsError when the checkpoint is damaged or belongs to another training.
        """
        if not (self.folder / "training.json").is_file():
            return []
        try:
            notes = json.loads((self.folder / "training.json").read_text())
            if notes["identity"] != self.identity:
                raise WeightsError(explain(shown(self.folder), "is the checkpoint of another training (other method, seed, "
                                           "settings or training samples)", "give another folder or remove this one"))
            stored = from_bytes((self.folder / notes["tensors"]).read_bytes())
            for name, network in networks.items():
                network.load_state_dict(_below(stored, f"network.{name}."))
            for name, optimiser in optimisers.items():
                state = optimiser.state_dict()
                for key, value in _below(stored, f"optimiser.{name}.").items():
                    index, _, kind = key.partition(".")
                    # Adam keeps its step counts on the CPU
                    state["state"].setdefault(int(index), {})[kind] = value.cpu() if kind == "step" else value
                optimiser.load_state_dict(state)
            return [dict(zip(notes["terms"], losses, strict=True)) for losses in notes["losses"]]
        except (OSError, ValueError, LookupError, TypeError, RuntimeError, SafetensorError) as err:
            raise WeightsError(explain(shown(self.folder), f"holds no whole checkpoint ({type(err).__name__})",
                                       "remove it and train again")) from None

    def write(self, networks: Mapping[str, nn.Module], optimisers: Mapping[str, torch.optim.Optimizer],
              losses: list[dict[str, float]]) -> None:
        """Write tensors, then the JSON that names them, then drop older tensors: at every moment one whole state is there."""
        tensors = {f"network.{name}.{k}": v for name, net in networks.items() for k, v in net.state_dict().items()}
        tensors |= {f"optimiser.{name}.{i}.{k}": v for name, optimiser in optimisers.items()
                    for i, kept in optimiser.state_dict()["state"].items() for k, v in kept.items()}
        file = self.folder / f"step_{len(losses):07d}.safetensors"
        notes = {"identity": self.identity, "tensors": file.name, "terms": list(losses[-1]),
                 "losses": [list(step.values()) for step in losses]}
        try:
            with atomic(file) as path:
                path.write_bytes(to_bytes({k: v.detach().cpu().contiguous() for k, v in tensors.items()}))
            with atomic(self.folder / "training.json") as path:
                path.write_text(json.dumps(notes) + "\n")
            for old in set(self.folder.glob("step_*.safetensors")) - {file}:
                old.unlink()
        except OSError as err:
            raise OutputError(explain(shown(self.folder), f"cannot be written ({err.strerror or err})",
                                      "free some space or give another folder")) from None


def _below(tensors: Mapping[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}


def update(name: str, terms: Terms, optimisers: Mapping[str, torch.optim.Optimizer]) -> dict[str, float]:
    """One step of all optimisers on the sum of the terms; returns the terms before it.

    Raises TrainingError, naming the term, when one is not finite; then no parameter has changed.
    """
    values = {term: loss.item() for term, loss in terms.items()}
    for term, loss in terms.items():
        if not torch.isfinite(loss):
            raise TrainingError(f"{name}: the {term} loss became {values[term]}; check the features for NaN or lower lr")
    for optimiser in optimisers.values():
        optimiser.zero_grad()
    sum(terms.values(), start=torch.zeros(())).backward()
    for optimiser in optimisers.values():
        optimiser.step()
    return values


def train(name: str, steps: int, terms: Callable[[int], Terms], networks: Mapping[str, nn.Module],
          optimisers: Mapping[str, torch.optim.Optimizer], *, seed: int = 0, device: torch.device | str = "cpu",
          mixed_precision: bool = False, checkpoint: Checkpoint | None = None, progress: bool = True,
          label: str = "fit") -> list[dict[str, float]]:
    """Run `steps` updates and return their losses {term: value}; the networks end in eval mode.

    terms(step)  the losses of a step, already weighted, each with a gradient. torch's generator is seeded from
                 (seed, step) before the call, for dropout
    Raises TrainingError when a loss is not finite, WeightsError and OutputError for a checkpoint that cannot be used.
    """
    device = torch.device(device)
    losses = checkpoint.read(networks, optimisers) if checkpoint else []
    every = max(1, steps // CHECKPOINTS)
    for network in networks.values():
        network.train()
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []), \
            bar(range(len(losses), steps), f"{name}: {label}", progress, initial=len(losses), total=steps) as steps_bar:
        for step in steps_bar:
            torch.manual_seed((seed * 1_000_003 + step) % 2**63)
            with torch.autocast(device.type, torch.bfloat16, enabled=mixed_precision):
                found = terms(step)
            losses.append(update(name, found, optimisers))
            steps_bar.set_postfix(loss=f"{sum(losses[-1].values()):.3f}", refresh=False)
            if checkpoint and (len(losses) % every == 0 or len(losses) == steps):
                checkpoint.write(networks, optimisers, losses)
    for network in networks.values():
        network.eval()
    return losses
