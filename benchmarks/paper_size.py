"""What the methods need at the papers' sizes: python benchmarks/paper_size.py [METHOD ...] [--device cuda]

Random features in the shapes of DINO ViT-B/8 (28 x 28 tokens x 768) and Point-MAE (1024 groups x 1152, blended on each of
224 x 224 points), for PIRN of DINOv2 ViT-B/14 on picture and surface normals (16 x 16 x 768 each); the settings of
workflow/params, one optimiser step per trained stage, one scored image. Printed are parameters, wall-clock seconds and the
peak of memory in each stage; every method has a process of its own. Features have no meaning here, so no score is shown.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from mmadlib.experiments import read_yaml
from mmadlib.experiments.cost import peaks, reset_peaks
from mmadlib.features.field import Features
from mmadlib.features.grouping import three_nearest
from mmadlib.features.tokens import Groups, Patches, Tokens, Truth, compose
from mmadlib.methods import DISPLAY, METHODS
from mmadlib.paths import WORKFLOW

SIZE, PATCHES, RGB_WIDTH, GROUPS, XYZ_WIDTH = 224, 28, 768, 1024, 1152
PARAMS = {"cfm": "20_cfm/mvtec3d_published", "cpir": "21_cpir/mvtec3d_published", "cfr": "22_cfr/mvtec3d_published",
          "cmdr_iad": "23_cmdr_iad/mvtec3d_published", "pirn": "24_pirn/mvtec3d_reconstruction",
          "cmsa": "25_cmsa/mvtec3d_reconstruction"}
BRIEF = {"epochs": 0, "steps": 1, "retriever_epochs": 0, "retriever_steps": 1}  # in place of the published durations


def published(method: str) -> dict:
    """The settings of the paper or of its reconstruction, but for the number of steps."""
    settings = json.loads(read_yaml(WORKFLOW / "params" / f"{PARAMS[method]}.yaml")["settings"])
    known = METHODS[method].SETTINGS.__dataclass_fields__
    return settings | {name: value for name, value in BRIEF.items() if name in known}


def image(seed: int, method: str) -> Features:
    """A sample with a point in every pixel, its features random."""
    rng = np.random.default_rng(seed)
    v, u = np.mgrid[:SIZE, :SIZE] - SIZE / 2 + 0.5
    cloud = np.stack([8e-4 * u, 8e-4 * v, 0.5 + 0.01 * np.sin(u / 20)], -1).astype(np.float32)
    points, valid = cloud.reshape(-1, 3), np.ones((SIZE, SIZE), bool)
    centres = points[np.sort(rng.choice(len(points), GROUPS, replace=False))]
    if method == "pirn":
        both = [Patches(rng.normal(size=(16**2, RGB_WIDTH)).astype(np.float32)) for _ in range(2)]
        return compose(Tokens(*both, cloud, valid, Truth(~valid), {"family": "paper"}))
    rgb, xyz = (rng.normal(size=shape).astype(np.float32) for shape in ((PATCHES**2, RGB_WIDTH), (GROUPS, XYZ_WIDTH)))
    return compose(Tokens(Patches(rgb), Groups(xyz, *three_nearest(points, centres)), cloud, valid, Truth(~valid),
                          {"family": "paper", "rgb": "dino_vitb8", "xyz": "point_mae"}))


class Laps:
    """Prints seconds and peak memory since the lap before."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.begin()

    def begin(self) -> None:
        reset_peaks(self.device)
        self.started = time.perf_counter()

    def __call__(self, name: str) -> None:
        seconds, peak = time.perf_counter() - self.started, peaks(self.device)
        gpu = f", {peak['peak_gpu_mb']:.0f} MiB on the GPU" if self.device.type == "cuda" else ""
        print(f"  {name:<28}{seconds:8.1f} s{peak['peak_mb']:9.0f} MiB{gpu}", flush=True)
        self.begin()

    def around(self, train: Callable) -> Callable:
        """`Trained.train`, a lap before each stage of training and one for the stage."""
        names = iter(["networks", "banks"])

        def wrapped(*given, label: str = "fit", **more):
            self(next(names))
            losses = train(*given, label=label, **more)
            self(f"one step: {label}")
            return losses

        return wrapped


def measure(method: str, images: int, device: str) -> None:
    """Fit and score one method, printing as it goes."""
    settings = published(method)
    model = METHODS[method](device=device, **settings)
    images = max(images, settings["batch"])
    print(f"{DISPLAY[method]}: training images {images}, of a step {settings['batch']}; "
          f"device {device}, threads {torch.get_num_threads()}")
    laps = Laps(model.device)
    features = [image(seed, method) for seed in range(images)]
    laps("features")
    model.train = laps.around(lambda *given, label: type(model).train(model, *given, label))
    model.fit(features, progress=False)
    laps("after training")
    model.score(features[0])
    laps("one scored image")
    counts = {name: sum(p.numel() for p in net.parameters()) for name, net in model.networks.items()}
    print("  parameters: " + ", ".join(f"{name} {n:,}" for name, n in counts.items()) + f"; {sum(counts.values()):,} in all")


def main() -> int:
    parser = argparse.ArgumentParser(description="Seconds and memory at the papers' sizes.")
    parser.add_argument("methods", nargs="*", metavar="METHOD", help=f"{' | '.join(PARAMS)}; default: all")
    parser.add_argument("--images", type=int, default=1, help="training images at least; a published batch may be larger")
    parser.add_argument("--device", default="cpu", help="cpu | cuda")
    args = parser.parse_args()
    methods = args.methods or list(PARAMS)
    if unknown := set(methods) - set(PARAMS):
        parser.error(f"unknown {', '.join(sorted(unknown))}; there are {', '.join(PARAMS)}")
    if len(methods) == 1:
        measure(methods[0], args.images, args.device)
        return 0
    options = ["--images", str(args.images), "--device", args.device]
    return max(subprocess.run([sys.executable, str(Path(__file__)), method, *options], check=False).returncode
               for method in methods)


if __name__ == "__main__":
    sys.exit(main())
