"""What every method does unasked, what its variants change, the least that it takes: tables, so that a slip shows.

defaults.json holds them; after a change that was meant, `PYTHONPATH=.:tests python tests/methods/test_defaults.py` writes it.
"""

import json
from dataclasses import asdict
from pathlib import Path

import pytest
from synthetic import shared_latent

from mmadlib.errors import SettingsError, TrainingError, UnknownName
from mmadlib.methods import BATCH_METHODS, EVERY, METHODS

DEFAULTS = Path(__file__).with_name("defaults.json")
# the smallest numbers that mean something, all at once; one less is refused
LEAST: dict[str, dict[str, int]] = {
    "cfm": {"steps": 1, "epochs": 0, "batch": 1, "pixels": 0, "hidden": 0},
    "cfr": {"hidden": 0, "topk": 1, "candidates": 0, "bank_subset": 0, "width": 1, "retriever_steps": 1, "retriever_epochs": 0,
            "retriever_pixels": 0},
    "cmdr_iad": {"grid": 0, "least": 1, "attention_window": 1, "window": 1},
    "cpir": {"hidden": 0, "latent": 0, "least_width": 0},
    "pirn": {"grid": 1, "width": 0, "epochs": 0, "epochs_full": 1, "K": 1, "L": 1, "iterations": 1, "neighbours": 0,
             "heads": 1, "graph_heads": 1},
    "cmsa": {"rgb_grid": 0, "bank_size": 1, "bank_floor": 1, "bank_dims": 1, "k": 1, "hidden": 1, "d": 0, "cells": 1,
             "radius": 0, "grid": 0, "candidates": 0},
    "btf": {"grid": 1, "stride": 1, "normal_neighbours": 3, "fpfh_neighbours": 3},
    "patchcore": {"grid": 1, "neighbourhood": 1, "width": 0},
    "m3dm": {"rgb_grid": 1, "xyz_grid": 1, "uff_steps": 1, "uff_patches": 2},
    "ast": {"grid": 0, "packing": 1, "dilation": 1, "fills": 0, "position": 0, "flow_hidden": 1, "flow_blocks": 1,
            "student_width": 1, "student_blocks": 0, "pixels": 0, "epochs": 0, "steps": 1, "batch": 1},
    "shape_guided": {"grid": 0, "points": 2, "width": 1, "code": 1, "layers": 0, "steps": 1, "epochs": 0, "batch": 2,
                     "queries": 1, "k": 1, "k_rgb": 1, "nonzeros": 0, "rgb_grid": 1, "align_images": 1},
    "nearest": {"size": 1, "k": 1},
    "musc": {"grid": 0, "every": 1, "rgb_layers": 1, "xyz_layers": 1, "window": 1},
}
BANK = ("sampling", "projection", "reweight", "image", "smooth")
NAMES = {  # settings that are one of a few names
    "cfm": ("mapper", "aggregate", "smooth", "image_norm"),
    "cfr": ("mapper", "aggregate", "smooth", "image_norm", "replace", "replace_direction"),
    "cmdr_iad": ("modality", "background", "optimiser", "confidence", "rec_smooth", "smooth", "image_norm"),
    "cpir": ("pred_net", "recon_net", "act", "latent_act", "distance", "map_distance", "aggregate", "smooth", "image_norm"),
    "pirn": ("modality", "init", "loss", "project", "smooth", "assign", "plan", "apr", "mnc_residual"),
    "cmsa": ("branches", "bank_space", "fusion", "smooth", "align"),
    "btf": (*BANK, "parts"), "patchcore": (*BANK, "modality", "dialect"),
    "m3dm": (*BANK, "banks", "bank_norm", "coreset_rule", "dlf", "uff_pairs"),
    "ast": ("mode", "depth", "foreground", "background", "weight", "upsample", "image_score", "smooth"),
    "shape_guided": ("branch", "fps_start", "sphere", "atoms", "rgb_link", "align", "image", "fusion", "pixel_fusion",
                     "smooth"),
    "nearest": ("bank", "choose", "smooth"),
    "musc": ("modality", "scale", "aggregate", "ties", "fusion", "rescore", "smooth"),
}
NUMBERS = {  # settings that are a finite number, not negative
    "cfm": ("lr",), "cfr": ("lr", "retriever_lr"), "cmdr_iad": ("lr", "alpha", "beta", "B"),
    "cpir": ("lr", "beta", "agg_power"), "pirn": ("lr", "exponent", "eps"),
    "cmsa": ("lr", "tau", "ridge", "lam", "weight_decay", "bank_share", "weight_inter", "weight_bank2", "weight_bank3"),
    "btf": ("coreset", "fpfh_weight"), "patchcore": ("coreset",),
    "m3dm": ("coreset", "weight_xyz", "weight_rgb", "weight_fusion", "uff_lr"), "ast": ("lr", "weight_decay"),
    "shape_guided": ("mult", "mult_train", "lr"), "musc": ("share", "anchor")}


def table(name: str) -> dict:
    """Settings and variants of a method."""
    return {"settings": asdict(EVERY[name].SETTINGS()), "variants": EVERY[name].VARIANTS}


@pytest.mark.parametrize("name", EVERY)
def test_defaults_and_variants_are_those_of_the_table(name):
    assert table(name) == json.loads(DEFAULTS.read_text())[name]


@pytest.mark.parametrize(("name", "setting", "least"), [(m, s, n) for m, row in LEAST.items() for s, n in row.items()])
def test_the_least_is_taken_and_no_less(name, setting, least):
    assert EVERY[name](**{setting: least})
    with pytest.raises(SettingsError, match=f"{setting}={least - 1}"):
        EVERY[name](**{setting: least - 1})


@pytest.mark.parametrize(("name", "setting"), [(m, s) for m, row in NAMES.items() for s in row])
def test_other_names_are_refused(name, setting):
    with pytest.raises(UnknownName, match=f"unknown {setting} 'no'"):
        EVERY[name](**{setting: "no"})


@pytest.mark.parametrize(("name", "setting"), [(m, s) for m, row in NUMBERS.items() for s in row])
def test_other_numbers_are_refused(name, setting):
    with pytest.raises(SettingsError, match=f"{setting}=-0.5"):
        EVERY[name](**{setting: -0.5})


@pytest.mark.parametrize("name", EVERY)
def test_a_method_that_has_learnt_nothing_judges_nothing(name):
    with pytest.raises(TrainingError, match=rf"^{name}: fit\(\) or load\(\) comes before score\(\)$"):
        EVERY[name]().score(shared_latent(1)[0])


if __name__ == "__main__":
    rows = [f' "{name}": {{\n  "settings": {json.dumps(table(name)["settings"])},\n'
            f'  "variants": {json.dumps(table(name)["variants"])}}}' for name in [*BATCH_METHODS, *METHODS]]
    DEFAULTS.write_text("{\n" + ",\n".join(rows) + "\n}\n")
