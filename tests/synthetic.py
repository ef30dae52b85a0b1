"""Small features with a known answer, shared by the method tests."""

import numpy as np
import torch
from scipy import sparse

from mmadlib.features.field import FeatureMap, Features
from mmadlib.methods import EVERY, training
from mmadlib.methods.trained import Trained


def pixel_features(rgb: np.ndarray, xyz: np.ndarray, foreground: np.ndarray, family: str = "paper") -> Features:
    """One token per pixel: arrays (P, C) as Features on the grid of `foreground`; the cloud is a wavy sheet, 1 mm a pixel."""
    row, column = np.indices(foreground.shape)
    sheet = np.stack([(column + 1) / 1000, (row + 1) / 1000, 0.5 + np.sin(row / 3) * np.cos(column / 4) / 500], -1)
    eye = sparse.eye_array(foreground.size, format="csr", dtype=np.float32)
    return Features(FeatureMap(rgb, eye, foreground.shape), FeatureMap(xyz, eye, foreground.shape), foreground,
                    np.where(foreground[..., None], sheet, 0).astype(np.float32),
                    {"family": family, "standardise": [] if family == "paper" else ["rgb", "xyz"]})


def shared_latent(n: int = 3, size: int = 24, seed: int = 0, family: str = "descriptors", c2: int = 10, c3: int = 8):
    """n normal samples whose RGB and 3D features are two views of one latent: each predicts the other."""
    rng = np.random.default_rng(seed)
    view2, view3 = rng.normal(size=(4, c2)), rng.normal(size=(4, c3))
    foreground = np.zeros((size, size), bool)
    foreground[4:-4, 4:-4] = True
    samples = []
    for _ in range(n):
        latent = rng.normal(size=(size * size, 4))
        rgb, xyz = np.tanh(latent @ view2), np.tanh(latent @ view3)
        xyz[~foreground.ravel()] = 0
        samples.append(pixel_features(rgb.astype(np.float32), xyz.astype(np.float32), foreground, family))
    return samples


def batch_of_tokens(modalities: int = 2, images: int = 3, n: int = 30, width: int = 16) -> tuple[torch.Tensor, torch.Tensor]:
    """Random tokens (M, B, N, D) and which of them are valid, (B, N): the second image has fewer."""
    torch.manual_seed(0)
    valid = torch.ones(images, n, dtype=torch.bool)
    valid[1, 20:] = False
    return torch.randn(modalities, images, n, width), valid


SMALL: dict[str, dict] = {  # methods with a second training, or whose networks see whole images -> what takes no time
    "cfr": {"retriever_steps": 20, "candidates": 200},
    "ast": {"grid": 12, "packing": 2, "position": 8, "flow_hidden": 8, "flow_blocks": 2, "student_width": 8,
            "student_blocks": 1},
    "shape_guided": {"grid": 12, "points": 16, "width": 16, "code": 8, "layers": 1, "batch": 8, "queries": 8, "rgb_grid": 12},
}


def brief(method: type[Trained], steps: int) -> dict:
    """Settings with which a method takes so many steps, each of them short."""
    by_steps = {"epochs": 0} if issubclass(method.SETTINGS, training.ByShots) else {}
    return {"steps": steps} | by_steps | SMALL.get(method.name, {})


def quick(name: str) -> dict:
    """Settings with which the method of this name has a model in no time."""
    short = brief(EVERY[name], 2) if issubclass(EVERY[name], Trained) else {}
    own = {"cfr": {"retriever_steps": 2}, "m3dm": {"banks": "triple", "uff_steps": 2}}
    return short | own.get(name, {})


def stop_training(monkeypatch, at: int) -> list[None]:
    """Interrupt the `at`-th update of the next training, once; the list returned grows by one with every update."""
    genuine, seen = training.update, []

    def counted(*arguments):
        seen.append(None)
        if len(seen) == at:
            raise KeyboardInterrupt
        return genuine(*arguments)

    monkeypatch.setattr(training, "update", counted)
    return seen
