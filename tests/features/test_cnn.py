"""Tokens from the stages of a convolutional network: timm's own, on one raster, and nothing above them runs."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

from mmadlib.errors import SettingsError, WeightsError
from mmadlib.features.cnn import Cnn, strides
from mmadlib.features.networks import create, import_timm

timm = import_timm()
SMALL = "test_resnet"  # half a million parameters, a stage at each of the strides 4, 8, 16, 32 (and the stem at 2)


def pictures(n=1, size=112, seed=0):
    return list(np.random.default_rng(seed).integers(0, 256, (n, size, size, 3), dtype=np.uint8))


def official(name, weights, picture, levels, size, mean, std):
    """The outputs of timm's features_only at these strides, as tokens on the raster of the finest."""
    net = timm.create_model(name, features_only=True)
    net.load_state_dict(create(name, weights).state_dict(), strict=False)
    x = torch.from_numpy(picture).permute(2, 0, 1)[None].float()
    x = (x - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None]
    x = F.interpolate(x, size=(size, size), mode="bilinear", align_corners=False)
    with torch.inference_mode():
        found = dict(zip(net.feature_info.reduction(), net.eval()(x), strict=True))
    side = size // levels[0]
    maps = [F.interpolate(found[level], size=(side, side), mode="bilinear", align_corners=False) for level in levels]
    return torch.cat(maps, 1)[0].flatten(1).T.numpy()


@pytest.mark.parametrize(("levels", "channels"), [("8", 40), ("4", 24), ("2", 16), ("8+16", 152), ("4+8+32", 384)])
@pytest.mark.parametrize("enlarge", [1, 2])
def test_tokens_are_those_of_timm(levels, channels, enlarge):
    picture, = pictures()
    tokens, = Cnn(levels=levels, enlarge=enlarge, size=112).encode([picture])
    want = official("tf_efficientnet_lite0", None, picture, strides(levels), 112 * enlarge, [127.0] * 3, [128.0] * 3)
    side = 112 * enlarge // int(levels.split("+")[0])
    assert tokens.shape == (side**2, channels) and tokens.dtype == np.float32
    np.testing.assert_allclose(tokens, want, atol=1e-4)


@pytest.mark.parametrize("name", ["efficientnet_lite1", "efficientnet_lite2"])
def test_larger_ones_too(name):
    picture, = pictures()
    want = official(f"tf_{name}", None, picture, (8, 16), 224, [127.0] * 3, [128.0] * 3)
    np.testing.assert_allclose(Cnn(name, "8+16", size=112).encode([picture])[0], want, atol=1e-4)


def test_another_network_from_a_local_file(tmp_path):
    """Under its own mean and deviation; the file may lack the head or have one of other classes."""
    torch.manual_seed(3)
    whole = timm.create_model("resnet10t", num_classes=7)
    save_file(whole.state_dict(), tmp_path / "small.safetensors")
    torch.save({k: v for k, v in whole.state_dict().items() if not k.startswith("fc.")}, tmp_path / "headless.pth")
    picture, = pictures()
    net = timm.create_model("resnet10t", features_only=True, out_indices=(2, 3)).eval()
    net.load_state_dict(whole.state_dict(), strict=False)
    mean, std = (255 * torch.tensor(x)[:, None, None] for x in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    with torch.inference_mode():
        fine, coarse = net((torch.from_numpy(picture).permute(2, 0, 1)[None].float() - mean) / std)
    want = torch.cat([fine, F.interpolate(coarse, size=fine.shape[2:], mode="bilinear")], 1)[0].flatten(1).T.numpy()
    for file in ("small.safetensors", "headless.pth"):
        made = Cnn("resnet10t", "8+16", 1, 112, str(tmp_path / file))
        np.testing.assert_allclose(made.encode([picture])[0], want, atol=1e-4)
    with pytest.raises(WeightsError, match=r"small\.safetensors: is no checkpoint of EfficientNet"):
        Cnn(weights=str(tmp_path / "small.safetensors"))


@pytest.mark.parametrize(("levels", "blocks"), [("2", 1), ("4", 2), ("8", 3), ("8+16", 5), ("32", 7)])
def test_stages_above_the_last_level_are_gone(levels, blocks):
    model = Cnn(levels=levels, size=64).model
    assert len(model.blocks) == blocks and not list(model.conv_head.parameters()) and not list(model.classifier.parameters())
    assert not model.training and not any(p.requires_grad for p in model.parameters())


def test_only_the_stages_in_use_name_the_weights():
    """Another head or another last stage does not change the features, so it does not change their name."""
    keys = {levels: Cnn(levels=levels, size=64).key for levels in ("8", "8+16", "16")}
    assert keys["8"] != keys["8+16"] == keys["16"]
    assert Cnn(levels="8", size=64, enlarge=1).key == keys["8"]


@pytest.mark.parametrize("levels", ["8", "8+16"])
def test_several_pictures_have_the_bits_of_one_at_a_time(levels):
    made, some = Cnn(levels=levels), pictures(5, 224)
    for tokens, picture in zip(made.encode(some), some, strict=True):
        np.testing.assert_array_equal(tokens, made.encode([picture])[0])
    assert made.encode([]) == []


def test_random_weights_come_from_the_seed():
    keys = [Cnn(SMALL, size=64, weights="random", seed=s).key for s in (0, 0, 1)]
    assert keys[0] == keys[1] != keys[2]


@pytest.mark.parametrize("text", ["", "8+", "+8", "16+8", "8+8", "8,16", "0", "08", "8.0", "a", "8 + 16", "٨", "1000"])
def test_levels_that_are_none(text):
    with pytest.raises(SettingsError, match="expected strides such as 8 or 8\\+16, ascending"):
        strides(text)


@pytest.mark.parametrize(("wrong", "says"), [
    ({"levels": "3"}, r"levels='3': efficientnet_lite0 has no stage at stride 3, only at 2, 4, 8, 16, 32"),
    ({"levels": "8+64"}, r"no stage at stride 64, only at 2, 4, 8, 16, 32"),
    ({"size": 100, "enlarge": 1}, r"size=100, enlarge=1: the network's input of 100 px must be a multiple of its level 8"),
    ({"enlarge": 1.3}, r"input of 291\.2 px must be a multiple"), ({"enlarge": 1e-9}, "must be a multiple"),
    ({"name": SMALL, "weights": "random", "levels": "64"}, "only at 2, 4, 8, 16, 32"),
    ({"name": "swin_tiny_patch4_window7_224", "weights": "random", "levels": "4"},
     r"cannot encode pictures of 448 px \(Input height \(448\) doesn't match model \(224\)\.\); choose another network, size"),
    ({"name": "botnet26t_256", "weights": "random", "levels": "16"}, r"cannot encode pictures of 448 px \(AssertionError\)"),
    ({"device": "cudaa"}, "device='cudaa'")])
def test_what_cannot_be_is_said_when_it_is_made(wrong, says):
    with pytest.raises(SettingsError, match=says):
        Cnn(**wrong)


def test_enlargements_that_give_whole_pixels_up_to_rounding():
    assert Cnn(SMALL, "4", 1.1, 80, "random").input == 88
    assert Cnn(SMALL, "2", 1.1, 230 - 10, "random").raster == 121
