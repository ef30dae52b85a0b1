"""RGB tokens: timm's own features, cut after the chosen block; weights from a file, without network."""

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from samples import TINY_VIT as TINY

from mmadlib.errors import SettingsError, UnknownName, WeightsError
from mmadlib.features import dino
from mmadlib.features.dino import Dino
from mmadlib.features.networks import NAMES, import_timm
from mmadlib.prepare.grid import Grid, rgb_tensor

timm = import_timm()


def grid(size=64, seed=0):
    rgb = np.random.default_rng(seed).integers(0, 256, (size, size, 3), dtype=np.uint8)
    return Grid(rgb, np.zeros((size, size, 3), np.float32), np.zeros((size, size), bool), np.zeros((size, size), bool))


@pytest.mark.parametrize("blocks", [1, 8, 12])
def test_tokens_are_the_normed_output_of_the_chosen_block(blocks):
    with torch.random.fork_rng():
        torch.manual_seed(3)
        whole = timm.create_model(TINY, num_classes=0, img_size=64).eval()
    with torch.no_grad():
        x = whole.patch_embed(rgb_tensor(grid().rgb)[None])
        x = torch.cat([whole.cls_token, x], dim=1) + whole.pos_embed
        for block in whole.blocks[:blocks]:
            x = block(x)
        want = whole.norm(x)[0, 1:]
    patches = Dino(TINY, blocks, 64, "random", seed=3)(grid())
    assert patches.tokens.shape == (16, 192) and patches.valid is None
    np.testing.assert_allclose(patches.tokens, want.numpy(), atol=1e-5)


@pytest.mark.parametrize(("layers", "stop"), [("2-9", 10), ("2-10", 11), ("0-0", 1)])
def test_mean_of_layers_from_official_names_equals_a_plain_forward(layers, stop, tmp_path):
    """A checkpoint as DINOv2 publishes it: its own picture size, a mask token, registers added to no position."""
    size = 56
    torch.manual_seed(2)
    whole = timm.create_model("vit_small_patch14_reg4_dinov2", num_classes=0, img_size=size, depth=12).eval()
    for block in whole.blocks:  # layer scale starts near zero; blocks have to differ
        block.ls1.gamma.data.fill_(0.5)
        block.ls2.gamma.data.fill_(0.5)
    official = whole.state_dict()
    official["register_tokens"] = official.pop("reg_token")
    official["pos_embed"] = torch.cat([torch.randn_like(official["cls_token"]), official["pos_embed"]], 1)
    official["mask_token"] = torch.zeros(1, 384)
    save_file({k: v.contiguous() for k, v in official.items()}, tmp_path / "official.safetensors")
    picture = np.random.default_rng(0).integers(0, 256, (size, size, 3), dtype=np.uint8)
    with torch.no_grad():
        x = whole.patch_embed(rgb_tensor(picture)[None]) + official["pos_embed"][:, 1:]
        x = torch.cat([official["cls_token"] + official["pos_embed"][:, :1], whole.reg_token, x], 1)
        outputs = []
        for block in whole.blocks:
            x = block(x)
            outputs.append(x[0, 5:])
    first = int(layers.split("-")[0])
    want = sum(outputs[first:stop]) / (stop - first)
    made = Dino("vit_small_patch14_reg4_dinov2", 12, size, str(tmp_path / "official.safetensors"), layers=layers)
    assert len(made.model.blocks) == stop, "blocks above the last one used are gone"
    np.testing.assert_allclose(made.encode(picture).tokens, want.numpy(), atol=1e-4)
    assert torch.linalg.norm(outputs[stop - 1] - want) > 0.1 or first == stop - 1


@pytest.mark.parametrize(("blocks", "count"), [(12, 85_807_872), (8, 57_456_384), (4, 29_104_896), (1, 7_841_280)])
def test_parameter_counts_of_dino_vitb8(blocks, count, monkeypatch):
    monkeypatch.setattr(dino, "digest", lambda model: "")
    whole = timm.create_model(NAMES["dino_vitb8"], num_classes=0)
    monkeypatch.setattr(dino, "create", lambda *args, **options: whole)
    assert sum(p.numel() for p in Dino(blocks=blocks, weights="random").model.parameters()) == count


def test_dinov2_is_made_for_the_size_asked(monkeypatch):
    class Enough(Exception):
        pass

    asked = {}

    def create_model(name, **options):
        asked.update(options, name=name)
        raise Enough

    monkeypatch.setattr(timm, "create_model", create_model)
    with pytest.raises(Enough):
        Dino("dinov2_vitb14", weights="random")
    assert asked == {"name": "vit_base_patch14_dinov2.lvd142m", "num_classes": 0, "img_size": 224}


@pytest.mark.parametrize("suffix", ["safetensors", "pth"])
def test_local_weights_with_another_grid_and_a_head(tmp_path, suffix):
    """Files hold a head and the positions of their own size; both are adapted."""
    torch.manual_seed(1)
    source = timm.create_model(TINY, num_classes=10, img_size=96)
    path = tmp_path / f"tiny.{suffix}"
    save_file(source.state_dict(), path) if suffix == "safetensors" else torch.save({"teacher": source.state_dict()}, path)
    model = Dino(TINY, 12, 64, str(path))
    assert torch.equal(model.model.norm.weight, source.norm.weight)
    assert model.model.pos_embed.shape[1] == 17 and source.pos_embed.shape[1] == 37
    assert model.key == Dino(TINY, 12, 64, str(path), seed=9).key != Dino(TINY, 12, 64, "random").key


def test_random_weights_come_from_the_seed_and_leave_the_global_one():
    torch.manual_seed(0)
    state = torch.get_rng_state()
    keys = [Dino(TINY, 1, 64, "random", seed=s).key for s in (0, 0, 1)]
    assert keys[0] == keys[1] != keys[2]
    assert torch.equal(state, torch.get_rng_state())


def test_wrong_names_kinds_and_weights(tmp_path):
    with pytest.raises(UnknownName, match="dino_vitb8"):
        Dino("dino_vitb9", weights="random")
    with pytest.raises(SettingsError, match="no vision transformer"):
        Dino("resnet18", weights="random")
    with pytest.raises(SettingsError, match=r"size=65.*patch of 16 px"):
        Dino(TINY, 12, 65, "random")
    with pytest.raises(SettingsError, match="rgb_blocks=13"):
        Dino(TINY, 13, 64, "random")
    torch.save({"conv.weight": torch.ones(2)}, tmp_path / "other.pth")
    with pytest.raises(WeightsError, match=r"other\.pth"):
        Dino(TINY, 12, 64, str(tmp_path / "other.pth"))
