"""The cascade of PIRN: sizes at the paper's width, modalities that swap, random tokens."""

from dataclasses import replace

import pytest
import torch
from synthetic import batch_of_tokens

from mmadlib.methods.pirn.cascade import Cascade, CascadeSettings
from mmadlib.methods.pirn.soft_mining import soft_mining

M, B, N, K, D = 2, 3, 30, 5, 16
SMALL = CascadeSettings(K=K, eps=0.05, iterations=20, apr="ot", mnc_residual="literal", gamma=0.0)  # all parts, as noted


@pytest.fixture
def image():
    return batch_of_tokens(M, B, N, D)


def cascade(settings: CascadeSettings = SMALL, modalities: int = M, gamma: float = 0.3) -> Cascade:
    """A network whose gates are open."""
    torch.manual_seed(1)
    net = Cascade(torch.randn(modalities, settings.K, D), 3, settings).eval()
    for layer in net.layers:
        for cross in layer.communicate.cross if layer.communicate else ():
            cross.gamma.data.fill_(gamma)
    return net


def test_sizes_at_the_papers_width():
    with torch.device("meta"):
        net = Cascade(torch.zeros(2, 10, 768), 60, CascadeSettings(apr="ot"))
    size = {"prototypes": net.prototypes.numel()}
    for name, p in net.named_parameters():
        for part in ("cells", "graph", "attention", "gamma"):
            size[part] = size.get(part, 0) + p.numel() * (part in name.split("."))
    assert size == {"prototypes": 15_360, "cells": 4 * 3_543_552, "graph": 2 * 591_360, "attention": 4 * 2_362_368, "gamma": 4}


def test_shapes_and_plan(image):
    Z, T = cascade()(*image)
    assert Z.shape == (M, B, N, D) and T.shape == (M, B, K, N)
    torch.testing.assert_close(T.sum(-2)[:, image[1]], torch.ones(M, int(image[1].sum())), atol=1e-5, rtol=0)


def test_images_of_a_batch_do_not_mix(image):
    E, valid = image
    net = cascade()
    together, alone = net(E, valid)[0], net(E[:, 1:2, :20], valid[1:2, :20])[0]
    torch.testing.assert_close(together[:, 1, :20], alone[:, 0], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("change", [{}, {"L": 1}, {"carry": True}, {"apr": "topk"}, {"mnc_residual": "off"},
                                    {"assign": "softmax"}, {"mnc_source": "own"}])
def test_swapping_modalities_with_their_parameters_swaps_the_result(image, change):
    E, valid = image
    net, swapped = cascade(replace(SMALL, **change)), cascade(replace(SMALL, **change))
    state = dict(net.state_dict())
    for name, value in net.state_dict().items():
        for a, b in ((".0.", ".1."), (".1.", ".0.")):
            for part in ("cells", "cross"):
                if f"{part}{a}" in name:
                    state[name.replace(f"{part}{a}", f"{part}{b}")] = value
    state["prototypes"] = net.prototypes.flip(0)
    swapped.load_state_dict(state)
    torch.testing.assert_close(swapped(E.flip(0), valid)[0], net(E, valid)[0].flip(0), atol=1e-5, rtol=1e-4)
    assert not torch.allclose(net(E.flip(0), valid)[0], net(E, valid)[0].flip(0), atol=1e-3)


def test_a_shut_gate_keeps_modalities_apart(image):
    E, valid = image
    other = torch.stack([E[0], E[1] + torch.randn(N, D)])
    shut, opened = (cascade(replace(SMALL, mnc_stage1=False), gamma=gamma) for gamma in (0.0, 0.3))
    torch.testing.assert_close(shut(other, valid)[0][0], shut(E, valid)[0][0], atol=1e-6, rtol=0)
    assert (opened(other, valid)[0][0] - opened(E, valid)[0][0]).abs().max() > 1e-3


def test_switched_off_it_is_the_plain_mix_of_prototypes(image):
    E, valid = image
    net = cascade(replace(SMALL, mnc=False, apr="none", L=1))
    Z, T = net(E, valid)
    torch.testing.assert_close(Z, T.transpose(-1, -2) @ net.prototypes[:, None], atol=1e-6, rtol=1e-5)
    assert cascade(SMALL, modalities=1).layers[0].communicate is None, "one modality has nobody to talk to"
    assert len(cascade(replace(SMALL, mnc_source="own"), modalities=1).layers[0].communicate.cross) == 1, "but itself"


def test_gates_start_as_the_settings_say():
    torch.manual_seed(0)
    settings = replace(SMALL, gamma=0.7, gamma_frozen=True, apr_keep=40.0)
    for layer in Cascade(torch.randn(M, K, D), 3, settings).layers:
        for cross in layer.communicate.cross:
            assert float(cross.gamma) == pytest.approx(0.7) and not cross.gamma.requires_grad
        assert all(cell.bias_ih[D:2 * D].min() > 39 for cell in layer.refine.cells)


def test_refinement_can_be_left_out_while_scoring(image):
    net, plain = cascade(replace(SMALL, apr_infer=False)), cascade(replace(SMALL, apr="none"))
    plain.load_state_dict({k: v for k, v in net.state_dict().items() if "cells" not in k})
    assert torch.equal(net(*image)[0], plain(*image)[0])
    assert not torch.allclose(net.train()(*image)[0], plain(*image)[0], atol=1e-3)


def test_carried_prototypes_differ_from_learned_ones(image):
    assert not torch.allclose(cascade(replace(SMALL, carry=True))(*image)[0], cascade()(*image)[0], atol=1e-4)
    one = replace(SMALL, L=1)
    assert torch.equal(cascade(replace(one, carry=True))(*image)[0], cascade(one)(*image)[0]), "one layer carries nothing"


def test_nothing_is_written_while_scoring(image):
    net = cascade()
    before = {k: v.clone() for k, v in net.state_dict().items()}
    net(*image)
    net.leak_probe()
    assert all(torch.equal(before[k].nan_to_num(-1), v.nan_to_num(-1)) for k, v in net.state_dict().items())


def trained(residual: str, lr: float, steps: int, images: int = 5) -> float:
    """Leak probe of a network trained on clusters of wide tokens, as long as the literal form needs to become a copy."""
    torch.manual_seed(0)
    centres = torch.randn(M, 8, 32)
    pick = torch.randint(8, (M, images, 40))
    E = torch.stack([centres[m][pick[m]] for m in range(M)]) + 0.3 * torch.randn(M, images, 40, 32)
    net = Cascade(centres[:, :5].clone(), 1, replace(SMALL, mnc_residual=residual)).train()
    adam, valid = torch.optim.Adam(net.parameters(), lr=lr), torch.ones(images, 40, dtype=torch.bool)
    for _ in range(steps):
        adam.zero_grad()
        Z = net(E, valid)[0]
        sum(soft_mining(E[m], Z[m], valid) for m in range(M)).backward()
        adam.step()
    return net.leak_probe()


def test_the_literal_residual_learns_to_copy_and_without_it_nothing_leaks():
    assert trained("literal", 1e-2, 0) < 0.8 < trained("literal", 1e-2, 150)
    assert trained("off", 1e-2, 150) < 0.3


def test_leak_probe_tells_a_copy_from_a_bottleneck():
    literal, off = (cascade(replace(SMALL, mnc_residual=kind)) for kind in ("literal", "off"))
    literal.prototypes.data *= 1e-3  # then Z_rec is half of Z: the shortcut of the literal formula
    for layer in literal.layers:
        torch.nn.init.zeros_(layer.communicate.cross[0].gamma)
        torch.nn.init.zeros_(layer.communicate.cross[1].gamma)
        layer.refine.rule = "none"
    assert literal.leak_probe() > 0.99
    assert off.leak_probe() < 0.3 and off.leak_probe() == off.leak_probe()


def test_the_context_can_follow_the_rule_of_the_assignment(image):
    softmax, same = (cascade(replace(SMALL, assign="softmax", apr=apr))(*image)[0] for apr in ("ot", "same"))
    assert not torch.allclose(softmax, same, atol=1e-4)
    assert torch.equal(cascade(replace(SMALL, apr="same"))(*image)[0], cascade()(*image)[0])
