"""The account of how features were made: small, plain, of no sample; what differs is named, what is alike is not."""

import json
import shutil
from dataclasses import replace
from functools import cache

import pytest
import torch
from safetensors.torch import save_file
from samples import HAND_MADE, TINY, TINY_VIT, dome, on_a_table

from mmadlib.errors import SettingsError, UnknownName, WeightsError
from mmadlib.features import Extractor
from mmadlib.features.extraction import checked, difference
from mmadlib.features.networks import import_timm
from mmadlib.features.packages import installed
from mmadlib.prepare.corruptions import CORRUPTIONS

SMALL = {"rgb_weights": "random", "rgb_blocks": 1, "size": 64}
VIT = {"rgb": TINY_VIT, "xyz": "descriptors"} | SMALL
POINTS = {"rgb": "descriptors", "xyz_blocks": 1, "size": 64} | {key: TINY[key] for key in ("xyz", "xyz_weights", "groups",
                                                                                           "group_size")}
KINDS = {"descriptors": HAND_MADE | {"size": 64}, "random": {"rgb": "random", "xyz": "random", "size": 64}, "vit": VIT,
         "points": POINTS, "normals": {"rgb": "none", "xyz": f"normals_{TINY_VIT}"} | SMALL,
         "learned": {"rgb": "efficientnet_lite0", "xyz": "normals_efficientnet_lite0", "size": 64}}


@cache
def made(kind="descriptors", **changes):
    return Extractor(**KINDS[kind] | changes)


@pytest.mark.parametrize("kind", KINDS)
def test_an_account_is_small_plain_and_whole(kind):
    account = made(kind)(dome()).extraction
    text = json.dumps(account)
    assert json.loads(text) == account == checked(json.loads(text)) and len(text) < 1500
    assert account["isolate"] is True
    assert difference(account, made(kind).account) is None, "an extractor knows no background"
    again = Extractor.like(account)
    assert again.account == made(kind, isolate=True).account and again.options.isolate is True


@pytest.mark.parametrize(("kind", "changes", "says"), [
    ("descriptors", {"size": 72}, ("size=64", "size=72")), ("descriptors", {"pad": "zero"}, ("pad='edge'", "pad='zero'")),
    ("descriptors", {"size": 72, "pad": "zero"}, ("size=64 and pad='edge'", "size=72 and pad='zero'")),
    ("descriptors", {"rgb": "random"}, ("rgb='descriptors'", "rgb='random'")),
    ("random", {"seed": 1}, ("seed=0", "seed=1")), ("points", {"groups": 32}, ("groups=64", "groups=32")),
    ("points", {"backbone_mode": "eval"}, ("backbone_mode='batch_stats'", "backbone_mode='eval'")),
    ("vit", {"rgb_masked": True}, ("rgb_masked=False", "rgb_masked=True")),
    ("normals", {"normals": "grid"}, ("normals='neighbours'", "normals='grid'")),
    ("learned", {"enlarge": 1.0}, ("enlarge=2.0", "enlarge=1.0"))])
def test_what_changes_features_is_named(kind, changes, says):
    found = difference(made(kind).account, made(kind, **changes).account)
    assert found[:2] == says


@pytest.mark.parametrize(("kind", "changes"), [
    ("descriptors", {"rgb_blocks": 8, "groups": 32, "backbone_mode": "eval", "seed": 3, "rgb_masked": True}),
    ("vit", {"groups": 32, "xyz_weights": "elsewhere.pth"}), ("points", {"rgb_layers": "2-9"}),
    ("vit", {"levels": "8+16", "enlarge": 1}), ("learned", {"rgb_blocks": 8, "groups": 32}),
    ("descriptors", {"isolate": True})])
def test_what_no_front_end_looks_at_is_none(kind, changes):
    assert difference(made(kind).account, made(kind, **changes).account) is None


def test_a_seed_counts_where_something_is_drawn():
    for option in ({"backbone_mode": "compat"}, {"fps_start": "random"}):
        assert "seed" in made("points", **option).account["xyz"]
    assert "seed" not in made("points").account["xyz"], "the digest of the weights tells random ones apart"


def test_weights_and_code_are_named_by_their_digests(monkeypatch):
    one, other = made("vit").account, made("vit", seed=1).account
    a, b = (x["rgb"]["rgb weights"] for x in (one, other))
    assert difference(one, other)[:2] == (f"rgb weights={a!r}", f"rgb weights={b!r}") and a != b and len(a) == 16
    changed = one | {"grid": one["grid"] | {"code": "0" * 16}}
    assert "code=" in difference(one, changed)[0]
    with pytest.raises(SettingsError, match="code='0000000000000000', this version of mmadlib has code="):
        Extractor.like(changed)


def test_the_background_counts_not_the_option():
    table, alone, folder = on_a_table(), dome(dataset="rendered"), on_a_table(dataset="folder")
    gone = [made()(table), made()(alone), made(isolate=True)(folder), made(isolate=False)(alone)]
    there = [made(isolate=False)(table), made()(folder), made(isolate=False)(folder)]
    for group, value in ((gone, True), (there, False)):
        assert [f.extraction["isolate"] for f in group] == [value] * len(group)
        assert not any(difference(a.extraction, b.extraction) for a in group for b in group)
    first, second, remedy = difference(gone[0].extraction, there[0].extraction)
    assert (first, second) == ("isolate=True", "isolate=False") and "isolated=True" in remedy
    lacking = made()(CORRUPTIONS["without_xyz"](table, 1)).extraction
    assert lacking["isolate"] is None and not any(difference(lacking, f.extraction) for f in gone + there)


def test_a_side_that_is_left_out_is_not_compared():
    alone = made(rgb="none").account
    assert difference(made().account, alone) is None and difference(alone, made(rgb="random").account) is None
    assert difference(made().account, made(rgb="none", xyz="random").account)[:2] == ("xyz='descriptors'", "xyz='random'")


def test_made_by_hand_is_like_made_by_hand_only():
    features = made()(dome())
    assert replace(features, meta={}).extraction is None
    assert difference(None, None) is None
    known, hand = difference(features.extraction, None)[:2]
    assert "by hand" in hand and difference(None, features.extraction)[:2] == (hand, known)


def vit_file(path, seed):
    torch.manual_seed(seed)
    save_file(import_timm().create_model(TINY_VIT, num_classes=0, img_size=64).state_dict(), path)
    return path


def test_other_weights_are_refused_and_moved_ones_found(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    vit_file(tmp_path / "vit.safetensors", 0)
    account = made("vit", rgb_weights="vit.safetensors").account
    assert account["settings"]["rgb_weights"] == str(tmp_path / "vit.safetensors"), "found from every folder"
    wanted = account["rgb"]["rgb weights"]
    vit_file(tmp_path / "vit.safetensors", 1)
    with pytest.raises(WeightsError, match=rf"vit\.safetensors: .*rgb weights of digest {wanted}, those found here have "
                                           r"[0-9a-f]{16}; .*extractor\(rgb_weights=\.\.\.\)"):
        Extractor.like(account)
    (tmp_path / "vit.safetensors").unlink()
    with pytest.raises(WeightsError, match=r"vit\.safetensors: the weights .* are not there; .*extractor\(rgb_weights="):
        Extractor.like(account)
    moved = Extractor.like(account, rgb_weights=str(vit_file(tmp_path / "moved.safetensors", 0)))
    assert moved.front["rgb"].weights == wanted
    for kind, option in (("points", "xyz_weights"), ("normals", "rgb_weights")):
        gone = made(kind).account | {"settings": made(kind).account["settings"] | {option: str(tmp_path / "gone.pth")}}
        with pytest.raises(WeightsError, match=rf"gone\.pth: the weights .*extractor\({option}="):
            Extractor.like(gone)
    with pytest.raises(UnknownName, match="rgb_weights"):
        Extractor.like(account, size=96)


def test_learned_features_are_made_again_with_the_same_weights_only(tmp_path):
    """From the package, or from a file with the same content elsewhere; another network of the same name is refused."""
    account = made("learned").account
    shutil.copy(installed("tf_efficientnet_lite0"), tmp_path / "moved.pth")
    moved = Extractor.like(account, rgb_weights=str(tmp_path / "moved.pth"))
    wanted = account["xyz"]["xyz weights"]
    assert moved.front["rgb"].weights == moved.front["xyz"].weights == wanted
    with pytest.raises(WeightsError, match=f"rgb weights of digest {wanted}, those found here have [0-9a-f]{{16}}"):
        Extractor.like(account, rgb_weights="random")
    other = account | {"rgb": account["rgb"] | {"rgb weights": "0" * 16}}
    assert difference(account, made("learned", levels="8+16").account)[0].startswith("levels='8' and rgb weights=")
    with pytest.raises(WeightsError, match=r"^efficientnet_lite0: .* digest 0{16}, .*extractor\(rgb_weights="):
        Extractor.like(other)


@pytest.mark.parametrize("change", [
    {"settings": None}, {"settings": {"rgb": "descriptors", "xyz": "descriptors", "sise": 64}}, {"isolate": 1}, {"rgb": {}},
    {"settings": {"rgb": "descriptors", "xyz": "descriptors", "size": "64"}}, {"grid": {"size": [64]}},
    {"xyz": {"xyz": "random"}}, {"grid": None}])
def test_what_is_no_account_is_refused(change):
    with pytest.raises((ValueError, KeyError, TypeError, AttributeError)):
        checked(made().account | change)
    with pytest.raises(TypeError):
        checked([])


def test_an_account_knows_nothing_of_the_sample():
    one, other = (made()(sample).extraction for sample in (dome(), dome(seed=1, dataset="road", category="x", label=0)))
    assert one == other
