"""A saved model is whole: a raw sample gets the same bits in another process; what is damaged, altered or other is refused."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from samples import HAND_MADE, TINY, dome, on_a_table
from synthetic import quick, shared_latent

from mmadlib.errors import MissingModality, SettingsError, TrainingError, WeightsError
from mmadlib.features import Extractor
from mmadlib.features.extraction import difference
from mmadlib.methods import METHODS, saving
from mmadlib.methods.cfr.replacer import BANK_OPTIONS
from mmadlib.methods.nearest import Nearest
from mmadlib.paths import ROOT
from mmadlib.prepare.corruptions import CORRUPTIONS

KINDS = {"descriptors": HAND_MADE | {"size": 64}, "backbones": TINY | {"size": 64, "rgb_blocks": 1, "xyz_blocks": 1},
         "learned": {"rgb": "efficientnet_lite0", "xyz": "normals_efficientnet_lite0", "size": 64}}
ELSEWHERE = """
import sys
from pathlib import Path
import numpy as np
from mmadlib import Sample
from mmadlib.methods import METHODS

sample = Sample(**np.load("sample.npz"), dataset="rendered")
for folder in sorted(Path("models").iterdir()):
    model = METHODS[folder.name.partition("-")[0]].load(folder)
    score = model.score(model.extract(sample))
    np.savez(f"{folder.name}.npz", map=score.map, image=score.image, **{f"part {k}": v for k, v in score.parts.items()})
    model.save(Path("again", folder.name))
"""


def fitted(name, features, **settings):
    return METHODS[name](**quick(name) | settings).fit(features, progress=False)


@pytest.fixture(scope="module")
def extractors():
    return {kind: Extractor(**options) for kind, options in KINDS.items()}


@pytest.fixture(scope="module")
def train(extractors):
    return {kind: [extractor(on_a_table(seed=seed)) for seed in range(2)] for kind, extractor in extractors.items()}


@pytest.fixture(scope="module")
def elsewhere(extractors, train, tmp_path_factory):
    """A folder in which a process of its own loaded every method's models, made the features of a raw sample and scored it;
    and the scores that the models gave here before they were saved."""
    folder, sample, scores = tmp_path_factory.mktemp("elsewhere"), on_a_table(seed=7), {}
    for kind, name in product(KINDS, METHODS):
        model = fitted(name, train[kind])
        scores[f"{name}-{kind}"] = model.score(extractors[kind](sample))
        model.save(folder / "models" / f"{name}-{kind}")
    np.savez(folder / "sample.npz", rgb=sample.rgb, xyz=sample.xyz)
    done = subprocess.run([sys.executable, "-W", "error::UserWarning", "-c", ELSEWHERE], cwd=folder, capture_output=True,
                          text=True, env=os.environ | {"PYTHONPATH": str(ROOT), "PYTHONHASHSEED": "7"}, check=False)
    assert done.returncode == 0, done.stderr
    return folder, scores


@pytest.mark.parametrize(("name", "kind"), product(METHODS, KINDS))
def test_a_raw_sample_has_the_same_scores_elsewhere(elsewhere, name, kind):
    folder, scores = elsewhere
    there, here = np.load(folder / f"{name}-{kind}.npz"), scores[f"{name}-{kind}"]
    assert here.map.any() and np.array_equal(there["map"], here.map) and there["image"] == here.image
    parts = {key[5:]: there[key].tobytes() for key in there if key[:5] == "part "}
    assert parts == {key: part.tobytes() for key, part in here.parts.items()}


@pytest.mark.parametrize(("name", "kind"), product(METHODS, KINDS))
def test_one_model_is_saved_as_the_same_bytes(elsewhere, name, kind):
    folder, _ = elsewhere
    for file in ("settings.json", "model.safetensors"):
        one, other = (folder / place / f"{name}-{kind}" / file for place in ("models", "again"))
        assert one.read_bytes() == other.read_bytes()


@pytest.mark.parametrize("name", METHODS)
def test_features_made_otherwise_are_refused(train, name, tmp_path):
    model = fitted(name, train["descriptors"])
    table, empty = on_a_table(seed=7), np.zeros((64, 64), bool)
    otherwise = {r"isolate=True, these have isolate=False; .*isolated=True":
                 Extractor(**HAND_MADE, size=64, isolate=False)(table),
                 r"size=64, these have size=72; extract with model\.extract": Extractor(**HAND_MADE, size=72)(table),
                 r"made by hand": replace(model.extract(table), meta={"family": "descriptors", "standardise": ["rgb", "xyz"]})}
    for judge in (model, METHODS[name].load(model.save(tmp_path))):
        for match, features in otherwise.items():
            for some in (features, replace(features, foreground=np.zeros_like(features.foreground))):
                with pytest.raises(SettingsError, match=match):
                    judge.score(some)
    alike = Extractor(**HAND_MADE, size=64, isolate=True)(dome(seed=7))
    assert model.score(alike).map.shape == empty.shape, "isolated beforehand is alike"


@pytest.mark.parametrize("name", METHODS)
def test_training_samples_of_several_makings_are_refused(train, name):
    other = Extractor(**HAND_MADE, size=64, isolate=False)(on_a_table(seed=1))
    with pytest.raises(SettingsError, match=rf"{name}: training samples .* first with isolate=True, number 3 with isolate=F"):
        fitted(name, [*train["descriptors"], other])
    with pytest.raises(SettingsError, match="number 2 with none that are known"):
        fitted(name, [other, replace(other, meta={"family": "descriptors", "standardise": ["rgb", "xyz"]})])


def test_the_background_of_the_training_is_the_one_of_raw_samples(extractors):
    """isolate=None on parts without a table: a raw part on one loses it; the other way round it stays."""
    table, folder = on_a_table(seed=7), on_a_table(seed=7, dataset="folder")
    alone = fitted("nearest", [extractors["descriptors"](dome(seed=s)) for s in range(2)])
    for sample in (table, folder):
        assert np.array_equal(alone.extract(sample).foreground, extractors["descriptors"](table).foreground)
    whole = fitted("nearest", [Extractor(**HAND_MADE, size=64)(on_a_table(seed=s, dataset="folder")) for s in range(2)])
    assert whole.extract(table).foreground.mean() > 0.9 and whole.score(whole.extract(table)).map.any()


@pytest.mark.parametrize("bank", ["rgb", "xyz"])
def test_missing_modalities_are_judged_as_before(extractors, bank):
    make, parts = extractors["descriptors"], [on_a_table(seed=s) for s in range(3)]
    other = {"rgb": "xyz", "xyz": "rgb"}[bank]
    blind, alone = CORRUPTIONS[f"without_{other}"], Extractor(**HAND_MADE | {other: "none", "size": 64})
    model, joint = (fitted("nearest", [make(p) for p in parts[:2]], bank=b) for b in (bank, "joint"))
    for features in (make(blind(parts[2], 1)), alone(parts[2])):
        assert features.missing == other and model.score(features).map.any()
        with pytest.raises(MissingModality):
            joint.score(features)
    mixed = fitted("nearest", [make(blind(parts[0], 1)), make(parts[1])], bank=bank)
    assert mixed.standardise.extraction["isolate"] is True
    with pytest.raises(SettingsError, match="isolate=False"):
        mixed.score(Extractor(**HAND_MADE, size=64, isolate=False)(parts[2]))


def test_banks_may_differ_in_the_backbone_mode_alone(train):
    evaluated = [Extractor(**KINDS["backbones"] | {"backbone_mode": "eval"})(on_a_table(seed=s)) for s in range(2)]
    model = METHODS["cfr"](**quick("cfr")).fit(train["backbones"], progress=False, bank_features=evaluated)
    assert model.standardise.extraction["xyz"]["backbone_mode"] == "batch_stats"
    with pytest.raises(SettingsError, match="backbone_mode='batch_stats', these have backbone_mode='eval'"):
        model.score(evaluated[0])
    published = Extractor(**KINDS["backbones"] | {"backbone_mode": "compat"}).account  # its seed counts
    assert difference(published, evaluated[0].extraction, BANK_OPTIONS) is None
    tables = [Extractor(**KINDS["backbones"] | {"isolate": False})(on_a_table(seed=s)) for s in range(2)]
    with pytest.raises(SettingsError, match="isolate=True, these have isolate=False"):
        METHODS["cfr"](**quick("cfr") | {"replace": "off"}).fit(train["backbones"], progress=False, bank_features=tables)


def test_extracting_needs_a_model_and_features_that_say_how(train):
    with pytest.raises(TrainingError, match="comes before"):
        Nearest().extractor()
    model = fitted("nearest", shared_latent(2))
    with pytest.raises(SettingsError, match="made by hand"):
        model.extract(dome())
    model.fit(train["descriptors"], progress=False)
    first = model.extract(dome())
    assert model.extractor().options == Extractor(**HAND_MADE, size=64, isolate=True).options
    there = fitted("nearest", train["descriptors"], device="cpu:0")
    assert (there.extractor().options.device, there.extractor(device="cpu").options.device) == ("cpu:0", "cpu")
    model.fit([Extractor(**HAND_MADE, size=72)(dome(seed=s)) for s in range(2)], progress=False)
    assert (first.size, model.extract(dome()).size) == ((64, 64), (72, 72)), "a new fit, a new extractor"


def test_the_backbones_are_those_of_the_fit(train, tmp_path):
    model = fitted("cfm", train["backbones"])
    about, tensors = saving.read_model(model.save(tmp_path / "a"), "cfm")
    about["extraction"]["xyz"]["xyz weights"] = "0" * 16
    other = METHODS["cfm"].load(saving.write_model(tmp_path / "b", about, tensors))
    found = model.extractor().front["xyz"].weights
    with pytest.raises(WeightsError, match=f"digest {'0' * 16}, those found here have {found}"):
        other.extract(dome())


@pytest.fixture
def saved(tmp_path) -> Path:
    return fitted("cfm", shared_latent(2)).save(tmp_path / "model")


def edited(saved, **changes):
    """The settings.json with some values changed, the checksum as it was."""
    text = json.loads((saved / "settings.json").read_text())
    (saved / "settings.json").write_text(json.dumps(text | changes))


def forged(saved, tensors=None, **changes):
    """Another model with checksums that fit."""
    about, state = saving.read_model(saved, "cfm")
    saving.write_model(saved, about | changes, state | (tensors or {}))


def flipped(saved):
    data = bytearray((saved / "model.safetensors").read_bytes())
    data[-5] ^= 1
    (saved / "model.safetensors").write_bytes(data)


def swapped(saved):
    other = fitted("cfm", shared_latent(2), seed=1).save(saved.parent / "other")
    (saved / "settings.json").write_bytes((other / "settings.json").read_bytes())


def huge(saved):
    """Settings that ask for networks of 4 TB."""
    forged(saved, settings=json.loads((saved / "settings.json").read_text())["settings"] | {"hidden": 10**6})


def older(saved):
    text = json.loads((saved / "settings.json").read_text())
    (saved / "settings.json").write_text(json.dumps({name: text[name] for name in ("method", "seed", "settings")}))


NAN, INF = torch.tensor([1.0, torch.nan]), torch.tensor([1.0, -torch.inf])


@pytest.mark.parametrize(("damage", "match"), [
    (flipped, "was altered"), (swapped, "was altered.* two models"), (lambda p: edited(p, seed=1), "was altered"),
    (lambda p: edited(p, extraction={}), "was altered"), (lambda p: edited(p, more=1), "was altered"),
    (lambda p: edited(p, settings={"hidden": 64}), "was altered"), (older, "saved by an older mmadlib; fit and save it again"),
    (lambda p: forged(p, {"x": NAN}), "NaN or infinity in tensor x"), (lambda p: forged(p, {"x": INF}), "NaN or infinity"),
    (lambda p: forged(p, {"x": NAN[1]}), "NaN or infinity"), (lambda p: forged(p, {"x\n": NAN}), r"\(ValueError\)"),
    (lambda p: forged(p, seed="x"), "seed='x'"),
    (lambda p: forged(p, settings={"hidden": -1}), "hidden=-1"), (lambda p: forged(p, settings={"hiden": 1}), "did you mean"),
    (lambda p: forged(p, settings=[1]), "TypeError"), (lambda p: forged(p, extraction=[]), "TypeError"),
    (lambda p: forged(p, extraction={"settings": {"size": "a"}}), "size='a'"), (huge, "is not as the settings have it"),
    (lambda p: forged(p, {"standardise.mean.rgb": torch.zeros(3, 3)}), "not as the settings|RuntimeError"),
    (lambda p: edited(p, method=["cfm"]), "no name"), (lambda p: edited(p, method="<b>\n"), "no name"),
    (lambda p: (p / "settings.json").write_text("[" * 100_000), "RecursionError"),
    (lambda p: (p / "settings.json").write_text('{"a": ' * 10_000 + "1" + "}" * 10_000), "RecursionError"),
    (lambda p: (p / "settings.json").write_text(" " * 2**21), "settings.json is larger than 1 MiB"),
    (lambda p: (p / "settings.json").write_text('{"method": "cfm", "seed": ' + "9" * 5000 + "}"), "no whole cfm model"),
])
def test_one_clear_error(saved, damage, match):
    damage(saved)
    before = {path.name: path.read_bytes() for path in saved.iterdir()}
    with pytest.raises(WeightsError, match=match) as caught:
        METHODS["cfm"].load(saved)
    text = str(caught.value)
    assert text.startswith(f"{saved}: ") and text.endswith("; fit and save it again") and "\n" not in text and len(text) < 500
    assert caught.value.__cause__ is None and before == {path.name: path.read_bytes() for path in saved.iterdir()}


def test_files_that_are_none(saved):
    (saved / "settings.json").unlink()
    os.mkfifo(saved / "settings.json")
    with pytest.raises(WeightsError, match=r"holds no settings\.json"):
        METHODS["cfm"].load(saved)


def test_another_version_is_warned_of(saved, monkeypatch):
    monkeypatch.setattr(saving, "__version__", "9.8.7")
    with pytest.warns(UserWarning, match=r"model: was saved by mmadlib .*, this is 9\.8\.7, .*fit and save it again"):
        METHODS["cfm"].load(saved)


def test_a_model_that_is_not_finite_is_not_saved(tmp_path):
    model = fitted("cfm", shared_latent(2))
    next(model.networks["G"].parameters()).data[0] = torch.nan
    with pytest.raises(TrainingError, match=r"cfm: NaN or infinity in tensor G\..*fit again"):
        model.save(tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_a_threshold_may_be_infinite(tmp_path):
    model = fitted("cfr", shared_latent(2), theta=float("-inf"))
    again = METHODS["cfr"].load(model.save(tmp_path))
    assert again.settings == model.settings and again.theta == model.theta == {"rgb": float("-inf")}


def test_everything_that_extraction_needs_is_in_the_file(train, tmp_path):
    folder = fitted("cfm", train["backbones"], seed=3).save(tmp_path)
    about, tensors = json.loads((folder / "settings.json").read_text()), load_file(folder / "model.safetensors")
    assert about["mmadlib"] and about["seed"] == 3 and "standardise.mean.rgb" in tensors
    extraction = about["extraction"]
    assert extraction["settings"].items() >= {"rgb": TINY["rgb"], "xyz": "point_mae", "size": 64, "pad": "edge",
                                              "rgb_blocks": 1, "groups": 64, "rgb_weights": "random", "seed": 0}.items()
    assert extraction["isolate"] is True
    assert [len(extraction[side][f"{side} weights"]) for side in ("rgb", "xyz")] == [16, 16]


def test_a_loaded_model_no_longer_looks_at_its_file(saved):
    model, features = METHODS["cfm"].load(saved), shared_latent(3)[2]
    before = model.score(features).map.copy()
    content = (saved / "model.safetensors").read_bytes()
    with (saved / "model.safetensors").open("r+b") as file:
        file.seek(len(content) // 2)
        file.write(b"\xff" * (len(content) // 2))
    np.testing.assert_array_equal(model.score(features).map, before)
