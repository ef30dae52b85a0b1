"""The numbers of every method on one small set of samples, as they are: a slip anywhere on the way to them shows here.

Why a number is right, other tests say; these were read off the code when all of those were green, by
`PYTHONPATH=.:tests python tests/methods/test_pinned.py`. Do so again only with a reason to give. An array is told by its mean,
its mean weighted by row and by column, and its largest value.
"""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import sparse

from mmadlib.errors import MissingModality
from mmadlib.features.field import FeatureMap, Features
from mmadlib.methods import BATCH_METHODS, EVERY
from mmadlib.methods.pirn.settings import AS_NOTED

PINNED = Path(__file__).with_name("pinned.json")
SIZE, CELLS = (20, 28), (10, 14)  # pixels, and the tokens: four pixels share one
BRIEF = {"steps": 3, "batch": 2}
PATCHES = BRIEF | {"grid": 0, "points": 20, "width": 16, "code": 8, "layers": 2, "queries": 10, "rgb_grid": 10}
# case -> method, number of training samples, settings
CASES: dict[str, tuple[str, int, dict]] = {
    "cfm": ("cfm", 3, BRIEF),
    "cfm, published": ("cfm", 3, {"epochs": 2, "batch": 2, "pixels": 0, "hidden": 0}),
    "cfm, whole image": ("cfm", 2, BRIEF | {"masked": False, "aggregate": "max", "image_norm": "none", "mapper": "mlp2"}),
    "cfm, rgb": ("cfm", 2, BRIEF | {"aggregate": "rgb", "smooth": "none"}),
    "cfr": ("cfr", 3, BRIEF | {"retriever_steps": 3}),
    "cfr, both ways": ("cfr", 2, BRIEF | {
        "replace": "topk_mean", "replace_direction": "both", "theta": 0.3, "bank_mask": False, "masked": False, "cycle": False,
        "bank_subset": 20, "candidates": 150, "mapper": "mlp3", "hidden": 0, "aggregate": "sum", "image_norm": "none"}),
    "cfr, xyz": ("cfr", 2, BRIEF | {"replace": "nn_observed", "replace_direction": "xyz", "candidates": 0,
                                    "aggregate": "xyz"}),
    "cfr, one shot": ("cfr", 1, BRIEF | {"replace": "nn_observed", "coreset": 1.0, "hidden": 6}),
    "cpir": ("cpir", 3, BRIEF),
    "cpir, euclid": ("cpir", 2, BRIEF | {"distance": "euclid", "map_distance": "cosine", "aggregate": "add", "latent": 5,
                                         "hidden": 7, "beta": 0.5, "image_norm": "cfm"}),
    "cpir, narrow": ("cpir", 2, BRIEF | {"least_width": 0, "latent_act": "tanh", "agg_power": 0.5, "masked": False}),
    "cpir, cycle": ("cpir", 2, BRIEF | {"pred_net": "mlp", "recon_net": "cycle", "maps": "pred2d recon3d",
                                        "aggregate": "max"}),
    "cmdr_iad": ("cmdr_iad", 3, {"steps": 3, "grid": 10}),
    "cmdr_iad, pixels": ("cmdr_iad", 2, BRIEF | {"grid": 0, "background": "keep", "shared": True, "optimiser": "adamw",
                                                 "dropout": 0.0, "least": 8, "attention_window": 20}),
    "cmdr_iad, rgb": ("cmdr_iad", 2, BRIEF | {"modality": "rgb", "grid": 10}),
    "cmdr_iad, xyz": ("cmdr_iad", 2, BRIEF | {"modality": "xyz", "grid": 8, "masked": False}),
    "pirn": ("pirn", 3, {"epochs": 0, "steps": 3, "batch": 2, "lr": 1e-2}),
    "pirn, published": ("pirn", 2, AS_NOTED | {"epochs": 2, "batch": 1, "grid": 9, "K": 4, "masked": False,
                                               "loss": "weighted"}),
    "pirn, xyz": ("pirn", 2, {"epochs": 1, "modality": "xyz", "init": "random", "project": "random", "width": 16, "K": 3}),
    "cmsa": ("cmsa", 3, {"epochs": 2, "batch": 2}),
    "cmsa, cca": ("cmsa", 3, {"align": "cca", "grid": 10, "rgb_grid": 5, "candidates": 90, "bank_floor": 9, "remask": True,
                              "bank_space": "latent", "k": 3}),
    "cmsa, banks": ("cmsa", 2, {"branches": "banks", "bank_space": "raw", "calibrate": False, "bank_size": 20, "masked": False,
                                "fusion": "max", "smooth": "none"}),
    "cmsa, one shot": ("cmsa", 1, {"align": "cca", "fusion": "product", "bank_dims": 4, "bank_share": 0.5, "bank_floor": 1}),
    "btf": ("btf", 3, {}),
    "btf, published": ("btf", 2, {"stride": 1, "grid": 9, "normalised": False, "masked": False, "standardised": False,
                                  "image": "patch", "smooth": "pil4"}),
    "btf, shape": ("btf", 1, {"parts": "fpfh", "stride": 1, "orient": True, "image": "patch", "reweight": "none",
                              "coreset": 0.5}),
    "patchcore": ("patchcore", 3, {}),
    "patchcore, whole": ("patchcore", 2, {"modality": "xyz", "masked": False, "width": 6, "sampling": "exact", "grid": 10,
                                           "image": "patch"}),
    "patchcore, line": ("patchcore", 1, {"dialect": "line", "masked": False, "image": "patch", "reweight": "m3dm_single",
                                         "sampling": "greedy", "grid": 10}),
    "m3dm": ("m3dm", 3, {}),
    "m3dm, published": ("m3dm", 2, {"banks": "triple", "rgb_grid": 7, "xyz_grid": 14, "masked": False, "bank_norm": "m3dm",
                                    "coreset_rule": "m3dm", "zero_row": True, "weight_rgb": 0.1, "dlf": "sgd_ocsvm",
                                    "uff_pairs": "published", "uff_steps": 3, "coreset": 0.3, "image": "patch",
                                    "smooth": "pil4"}),
    "m3dm, linear": ("m3dm", 2, {"dlf": "linear", "image": "patch", "reweight": "m3dm_double", "rgb_grid": 10}),
    "m3dm, fused": ("m3dm", 1, {"banks": "fusion", "uff_steps": 3, "bank_norm": "none"}),
    "ast": ("ast", 3, BRIEF),
    "ast, published forms": ("ast", 3, {
        "epochs": 2, "batch": 2, "drop_last": True, "grid": 6, "depth": "z", "packing": 3, "dilation": 4, "background": "keep",
        "fills": 1, "fill_border": False, "weight": "m2", "upsample": "bicubic", "image_score": "mean", "smooth": "none"}),
    "ast, rgb": ("ast", 1, BRIEF | {"mode": "rgb", "masked": False, "image_score": "max_cells", "flow_hidden": 5,
                                    "student_width": 7, "position": 4}),
    "shape_guided": ("shape_guided", 3, PATCHES),
    "shape_guided, published": ("shape_guided", 2, PATCHES | {
        "fps_start": "random", "epochs": 1, "mult": 10.0, "align": "first", "image": "patch", "smooth": "pil4"}),
    "shape_guided, other": ("shape_guided", 3, PATCHES | {
        "grid": 7, "rgb_link": "dilate2", "atoms": "unit", "nonzeros": 2, "k": 4, "k_rgb": 3, "fusion": "sum",
        "pixel_fusion": "sum", "align_images": 2, "rgb_grid": 14}),
    "shape_guided, one shot": ("shape_guided", 1, PATCHES | {"nonzeros": 0, "align": "off", "smooth": "none"}),
    "shape_guided, rgb": ("shape_guided", 2, PATCHES | {"branch": "rgb"}),
    "musc": ("musc", 4, {}),
    "musc, plain": ("musc", 3, {"cae": False, "fusion": "plain", "share": 1.0}),
    "musc, published forms": ("musc", 4, {
        "masked": False, "scale": "unit", "aggregate": "published", "cae": True, "ties": "stable", "fusion": "plain",
        "corners": True, "rescore": "published", "window": 3, "smooth": "none", "grid": 10}),
    "musc, xyz": ("musc", 3, {"modality": "xyz", "every": 2, "share": 0.6, "aggregate": "clean", "degrees": "1 3",
                              "rescore": "clean", "window": 2}),
    "nearest": ("nearest", 3, {}),
    "nearest, max": ("nearest", 3, {"bank": "max", "size": 150, "k": 2}),
    "nearest, coreset": ("nearest", 3, {"bank": "rgb", "choose": "coreset", "size": 30}),
    "nearest, one shot": ("nearest", 1, {"bank": "max", "smooth": "none"}),
}


def samples(n: int) -> list[Features]:
    """n samples of one latent, smooth and oblong; their foregrounds differ."""
    rng, (h, w) = np.random.default_rng(5), CELLS
    view2, view3 = rng.normal(size=(4, 10)), rng.normal(size=(4, 8))
    row, column = np.indices(SIZE)
    cell = (row // 2 * w + column // 2).ravel()
    interp = sparse.csr_array((np.ones(cell.size, np.float32), (np.arange(cell.size), cell)), shape=(cell.size, h * w))
    found = []
    for i in range(n):
        latent = rng.normal(size=(h * w, 4)) + np.indices(CELLS).reshape(2, -1).T @ rng.normal(size=(2, 4)) / 6
        maps = [FeatureMap(np.tanh(latent @ view / 2) + 0.1 * rng.normal(size=(h * w, view.shape[1])), interp, SIZE)
                for view in (view2, view3)]
        foreground = (row - 9) ** 2 / 70 + (column - 12 - i) ** 2 / (140 - 20 * i) < 1
        meta = {"family": "descriptors", "standardise": ["rgb", "xyz"]}
        sheet = np.stack([(column + 1) / 1000, (row + 1) / 1000, 0.5 + np.sin(row / 3 + i) * np.cos(column / 4) / 500], -1)
        cloud = np.where(foreground[..., None], sheet, 0).astype(np.float32)
        found.append(Features(*maps, foreground, cloud, meta))
    return found


def without(features: Features, side: str) -> Features:
    """The sample without one modality, as the extractor gives it."""
    none = FeatureMap(torch.zeros(1, 0), np.ones((features.foreground.size, 1), np.float32), SIZE)
    return replace(features, **{side: none}, meta=features.meta | {"missing": side})


def told(array: np.ndarray) -> list[float]:
    row, column = np.indices(array.shape)
    return [float(f"{x:.6g}") for x in (array.mean(), (array * row).mean(), (array * column).mean(), array.max())]


def numbers(case: str) -> dict[str, list[float]]:
    """What a method says of a new sample after its fit, and the losses on the way."""
    name, n, settings = CASES[case]
    *train, test = samples(n + 1)
    method = EVERY[name](seed=3, **settings).fit(train, progress=False)
    found = {}
    for label, sample in {"": test, "without rgb, ": without(test, "rgb"), "without xyz, ": without(test, "xyz")}.items():
        try:
            scores = method.score(sample)
        except MissingModality:
            continue
        found |= {f"{label}map": told(scores.map), f"{label}image": [float(f"{scores.image:.6g}")]}
        found |= {f"{label}part {part}": told(values) for part, values in scores.parts.items()}
    if name in BATCH_METHODS:
        found["batch image"] = [float(f"{scores.image:.6g}") for scores in method.score_batch(train, progress=False)]
    losses = {"": getattr(method, "losses", [])} | getattr(method, "retrieval_losses", {})
    found |= {f"loss {side} {term}".replace("  ", " "): [float(f"{step[term]:.6g}") for step in steps]
              for side, steps in losses.items() if steps for term in steps[0]}
    return found


@pytest.mark.filterwarnings("ignore:pirn. random tokens are rebuilt")
@pytest.mark.parametrize("case", CASES)
def test_the_numbers_are_those_that_were(case):
    found, pinned = numbers(case), json.loads(PINNED.read_text())[case]
    assert list(found) == list(pinned)
    for name, values in pinned.items():
        assert found[name] == pytest.approx(values, rel=1e-3, abs=1e-6), name


if __name__ == "__main__":
    rows = [f' "{case}": {json.dumps(numbers(case))}' for case in CASES]
    PINNED.write_text("{\n" + ",\n".join(rows) + "\n}\n")
