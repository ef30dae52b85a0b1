"""Whole trainings of the official code, repeated by the functions that fit calls: optimisers, targets, order of pixels.

Recorded (tests/data/golden, at the tolerance of its INDEX): three steps of CFM, of CFR and of CFR's retriever.
"""

import numpy as np
import pytest
import torch
from recorded import RECORDED
from synthetic import pixel_features, shared_latent

from mmadlib.methods import METHODS
from mmadlib.methods.banks import CosineBank
from mmadlib.methods.cfm.cfm import CFM
from mmadlib.methods.cfr.cfr import CFR
from mmadlib.methods.cfr.memory import Memory
from mmadlib.methods.cfr.retriever import Retriever
from mmadlib.methods.mapper import GatedMapper, Mapper
from mmadlib.methods.trained import Trained

NAMES = {"w12": "input", "w3": "output", "projection": "projection.0", "q_proj": "query", "k_proj": "key", "v_proj": "value",
         "out_proj": "out"}  # official -> ours, where they differ


def official(recorded: dict, prefix: str) -> dict[str, torch.Tensor]:
    """Recorded parameters of a network under our names."""
    found = {key.removeprefix(f"{prefix}.").rpartition("."): torch.from_numpy(value)
             for key, value in recorded.items() if key.startswith(f"{prefix}.")}
    return {f"{NAMES.get(layer, layer)}.{kind}": value for (layer, _, kind), value in found.items()}


def starting_from(method: type[Trained], networks: dict) -> type[Trained]:
    """The method with these networks in the place of those that it draws."""
    return type("Recorded", (method,), {"build": lambda self, c2, c3: networks})


def check_parameters(net: torch.nn.Module, recorded: dict, prefix: str) -> None:
    theirs, ours = official(recorded, prefix), net.state_dict()
    assert theirs.keys() == ours.keys()
    for name, value in theirs.items():
        np.testing.assert_allclose(ours[name], value, atol=1e-5, err_msg=name)


def two_images(d: dict, seen: np.ndarray):
    """The recorded patches (2, n, C) as two samples of one row of pixels each."""
    return [pixel_features(rgb, xyz, mask[None]) for rgb, xyz, mask in zip(d["in.rgb_patch"], d["in.xyz_patch"], seen,
                                                                          strict=True)]


def fitted_as_recorded(method: type[Trained], d: dict, networks: dict, seen: np.ndarray, **settings) -> Trained:
    """The method after three steps from the recorded parameters, at the recorded ones. networks: official name -> network."""
    for name, net in networks.items():
        net.load_state_dict(official(d, f"param.{name}"))
    ours = {{"2Dto3D": "G", "3Dto2D": "M"}[name.partition("_")[2]]: net for name, net in networks.items()}
    fitted = starting_from(method, ours)(epochs=3, batch=2, pixels=0, **settings)
    fitted.fit(two_images(d, seen), progress=False)
    for name, net in networks.items():
        check_parameters(net, d, f"out.step3.{name}")
    return fitted


def test_cfm_fits_as_officially():
    d = dict(np.load(RECORDED / "cfm_nets.npz"))
    networks = {"CFM_2Dto3D": Mapper(12, 20, 16), "CFM_3Dto2D": Mapper(20, 12, 16)}
    method = fitted_as_recorded(CFM, d, networks, ~d["out.xyz_mask"])
    np.testing.assert_allclose([step["RGB to 3D"] for step in method.losses], d["out.loss_2Dto3D"], atol=1e-6)
    np.testing.assert_allclose([step["3D to RGB"] for step in method.losses], d["out.loss_3Dto2D"], atol=1e-6)


def test_cfr_fits_as_officially():
    d = dict(np.load(RECORDED / "cfr_train.npz"))
    networks = {"CFR_2Dto3D": GatedMapper(10, 16, 13), "CFR_3Dto2D": GatedMapper(16, 10, 13)}
    method = fitted_as_recorded(CFR, d, networks, d["in.xyz_patch"].sum(-1) != 0, replace="off")
    columns = ("3D to RGB", "RGB to 3D", "RGB cycle", "3D cycle")
    np.testing.assert_allclose([[step[c] for c in columns] for step in method.losses], d["out.losses"], atol=1e-6)


def check_adam(adam: torch.optim.Optimizer, lr: float) -> None:
    """As its paper has it: three recorded steps hardly know the second beta."""
    for group in adam.param_groups:
        kept = {key: group[key] for key in ("lr", "betas", "eps", "amsgrad", "maximize")}
        assert kept == {"lr": lr, "betas": (0.9, 0.999), "eps": 1e-8, "amsgrad": False, "maximize": False}


@pytest.mark.parametrize("side", ["rgb", "xyz"])
def test_the_retriever_trains_as_officially(side):
    """Queries and keys are of the other side, target and values of this one: recorded for "rgb", mirrored for "xyz"."""
    d = dict(np.load(RECORDED / "cfr_retrieval.npz"))
    net = Retriever(12, 9, 7)
    net.load_state_dict(official(d, "param.attn"))
    query, target = d["in.attn_train_xyz"], d["in.attn_train_rgb"]
    other = "xyz" if side == "rgb" else "rgb"
    sample = pixel_features(*((target, query) if side == "rgb" else (query, target)), (query.sum(1) != 0)[None])
    keys, values = (torch.from_numpy(d[f"in.{name}"]) for name in ("keys", "values"))
    own = torch.stack([torch.zeros(len(keys), dtype=torch.int64), torch.arange(len(keys))], dim=1)
    method = CFR(retriever_epochs=3, retriever_lr=1e-4, retriever_pixels=0, self_match=True, topk=3, replace_direction=side)
    method.usable, method.networks = [0], {f"retriever_{side}": net.eval()}
    method.memory = {side: Memory(CosineBank(values), own, CosineBank(keys), values, own)}
    maps = {side: [getattr(sample, side)], other: [getattr(sample, other)]}
    train, made = method.train, []
    method.train = lambda steps, terms, nets, optimisers, *rest: (made.append(optimisers["adam"])
                                                                  or train(steps, terms, nets, optimisers, *rest))
    losses = method.train_retriever(side, maps, [sample], False, None)
    check_adam(made[0], 1e-4)
    np.testing.assert_allclose([step["retrieval"] for step in losses], d["out.attn_train.loss"], atol=1e-6)
    check_parameters(net, d, "out.attn_train.step3")


@pytest.mark.parametrize("name", [name for name, method in METHODS.items() if issubclass(method, Trained)])
def test_optimisers_are_those_that_were_published(name):
    """Over every parameter of the networks once; without decay, but for CMSA's and AST's."""
    method = METHODS[name](lr=0.0123, epochs=0, steps=1).fit(shared_latent(2), progress=False)
    adams = method.optimisers()
    for adam in adams.values():
        check_adam(adam, 0.0123)
        assert type(adam) is (torch.optim.AdamW if name == "cmsa" else torch.optim.Adam)
        assert adam.param_groups[0]["weight_decay"] == {"cmsa": 1e-4, "ast": 1e-5}.get(name, 0)
    given = [id(p) for adam in adams.values() for group in adam.param_groups for p in group["params"]]
    trained = [id(p) for key, net in method.networks.items() if not key.startswith("retriever") for p in net.parameters()]
    assert sorted(given) == sorted(trained)
