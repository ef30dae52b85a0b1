"""CMDR-IAD's networks against recorded outputs of the official code (tests/data/golden/cmdr_*.npz) and their invariants."""


import numpy as np
import pytest
import torch
from recipe import recipe
from recorded import RECORDED, assert_whole

from mmadlib.methods.cmdr_iad.decoders import Dec2D, Dec3D, Mapping, WindowAttention

DATA = RECORDED


def official(net: torch.nn.Module, prefix: str) -> torch.nn.Module:
    """The recorded weights, by the names that our layers share with the official ones."""
    net.load_state_dict({k: recipe(f"{prefix}.{k}", v.shape, "cmdr/A") for k, v in net.state_dict().items()})
    return net.eval()


def size(net: torch.nn.Module) -> int:
    return sum(p.numel() for p in net.parameters())


@pytest.mark.parametrize(("name", "source"), [("map2Dto3D", "f2d"), ("map3Dto2D", "f3d")])
def test_mappings_equal_the_official_forward(name, source):
    golden = np.load(DATA / "cmdr_mapping.npz")
    net = Mapping(*((12, 20) if source == "f2d" else (20, 12)), 16).eval()
    net.load_state_dict({k: torch.from_numpy(golden[f"param.{name}.{k}"]) for k in net.state_dict()})
    out = net(torch.from_numpy(golden[f"in.{source}"]))
    np.testing.assert_allclose(out.detach(), golden[f"out.{name}"], rtol=0, atol=1e-5)


@torch.no_grad()
def test_dec2d_equals_the_official_forward_stage_by_stage():
    golden = np.load(DATA / "cmdr_dec2d.npz")
    net = official(Dec2D(32, (16, 16)), "Dec2D")
    squeezed = net.projection(torch.from_numpy(golden["in.x"]))
    assert_whole(squeezed, golden["out.after_projection"], 2e-5)
    attended = net.attn(squeezed)
    assert_whole(attended, golden["out.after_attention"], 2e-5)
    convolved = net.conv_decoder(attended.transpose(1, 2).reshape(1, 16, 16, 16))
    assert_whole(convolved, golden["out.after_conv"], 2e-5)
    assert_whole(net(torch.from_numpy(golden["in.x"])), golden["out.y"], 2e-5)


@torch.no_grad()
def test_dec3d_equals_the_official_forward_stage_by_stage():
    golden = np.load(DATA / "cmdr_dec3d.npz")
    net, x = official(Dec3D(24, 256), "Dec3D"), torch.from_numpy(golden["in.x"])
    squeezed = net.projection(x.transpose(1, 2))
    for found, name in ((squeezed, "after_projection"), (net.decoder(squeezed), "after_deconv"),
                        (net.attention(net.decoder(squeezed)), "channel_gate"), (net(x), "y")):
        np.testing.assert_allclose(found, golden[f"out.{name}"], rtol=0, atol=1e-5)


def test_parameter_counts_at_paper_size():
    with torch.device("meta"):
        assert (size(Mapping(768, 1152, 960)), size(Mapping(1152, 768, 960))) == (3_694_272, 3_693_888)
        dec2d, dec3d = Dec2D(768, (224, 224)), Dec3D(1152, 224 * 224)
        assert [size(part) for part in (dec2d.projection, dec2d.attn, dec2d.conv_decoder, dec2d.reconstruct)] == [
            444_672, 1_183_872, 1_624_320, 1_773_312]
        assert [size(part) for part in (dec3d.projection, dec3d.decoder, dec3d.attention)] == [81_144_000, 6_363_136, 333_072]
        assert (size(dec2d), size(dec3d)) == (5_026_176, 87_840_208)
        assert size(Dec3D(1152, 96 * 96)) == 9_435_088  # the polyurethane experiment


@pytest.mark.parametrize("tokens", [(8, 8), (5, 7)])  # 64 tokens fit into thirty-twos, 35 are padded
def test_decoders_keep_the_shape_and_dec3d_stays_below_one(tokens):
    n, x = tokens[0] * tokens[1], 20 * torch.randn(2, tokens[0] * tokens[1], 16)
    dec2d, dec3d = Dec2D(16, tokens, middle=(8, 8)), Dec3D(16, n, (8, 8, 8, 8))
    for net in (dec2d, dec2d.eval(), dec3d, dec3d.eval()):
        assert net(x).shape == x.shape
    before_gate = dec3d.decoder(dec3d.projection(torch.nn.functional.pad(x.transpose(1, 2), (0, -n % 32))))
    assert before_gate.abs().max() < 1
    assert (dec3d(x).abs() <= before_gate[..., :n].transpose(1, 2).abs()).all()


@pytest.mark.parametrize("changed", [0, 127, 128, 299])
def test_attention_stays_inside_its_window(changed):
    torch.manual_seed(0)
    net, x = WindowAttention(16).eval(), torch.randn(1, 300, 16)
    other = x.clone()
    other[0, changed] += 1
    moved = ((net(x) - net(other)).abs() > 0).any(-1)[0]
    window = changed // 128
    assert moved[window * 128:(window + 1) * 128].all()
    assert moved.sum() == min(128, 300 - window * 128)


def test_padding_of_the_last_window_takes_part_in_the_softmax():
    net = WindowAttention(8, heads=2, window=4).eval()
    with torch.no_grad():
        for p in net.parameters():
            p.zero_()
        net.qkv.bias[16:] = 1.0  # values of one, keys of zero
        net.proj.weight.copy_(torch.eye(8))
        out = net(torch.zeros(1, 6, 8))[0, :, 0]
    torch.testing.assert_close(out, torch.tensor([1, 1, 1, 1, 0.5, 0.5]))  # two real tokens beside two of zero


def test_dropout_is_off_in_eval_mode_and_on_in_training():
    torch.manual_seed(0)
    net, x = WindowAttention(16, dropout=0.5), torch.randn(1, 40, 16)
    assert not torch.equal(net(x), net(x))
    assert torch.equal(net.eval()(x), net(x))


def test_dec3d_belongs_to_positions():
    torch.manual_seed(0)
    net, x = Dec3D(8, 64, (8, 8, 8, 8)).eval(), torch.randn(1, 64, 8)
    assert not torch.allclose(net(x.roll(4, 1)), net(x).roll(4, 1), atol=1e-3)
