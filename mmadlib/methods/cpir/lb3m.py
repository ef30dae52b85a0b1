"""LB3M: lightweight modules around a shared latent, and the separate networks that CPIR's ablation puts in their place.

Every network is a chain of modules with one hidden layer each. Chains that share modules share parameters: the four of
LB3M are two encoders E2, E3 into one latent and two decoders D2, D3 out of it, and a whole ablation is a table of chains.
Source: CPIR (Shangguan et al.), Eq. 7, Sec. 4.1, Tables 5 and 6.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import nn

from mmadlib.checks import one_of
from mmadlib.features.field import FeatureMap
from mmadlib.methods.mapper import linear_at

Chain = tuple[str, ...]
# part -> (modality that goes in, modality that is compared)
PARTS = {"pred3d": ("rgb", "xyz"), "pred2d": ("xyz", "rgb"), "recon3d": ("xyz", "xyz"), "recon2d": ("rgb", "rgb")}
# what a module reads and writes: 2 RGB features, 3 3D features, m the latent
ENDS = {"E2": "2m", "E3": "3m", "D2": "m2", "D3": "m3",  # LB3M
        "G": "23", "M": "32", "R2": "22", "R3": "33",  # one MLP for each map
        "G1": "2m", "G2": "m3", "M1": "3m", "M2": "m2", "R21": "2m", "R22": "m2", "R31": "3m", "R32": "m3"}  # two, not shared
PRED: dict[str, tuple[Chain, ...]] = {"lb3m": (("E2", "D3"), ("E3", "D2")), "mlp": (("G",), ("M",)),
                                      "2mlp": (("G1", "G2"), ("M1", "M2")), "none": ()}
RECON: dict[str, tuple[Chain, ...]] = {"lb3m": (("E3", "D3"), ("E2", "D2")), "mlp": (("R3",), ("R2",)),
                                       "2mlp": (("R31", "R32"), ("R21", "R22")), "cycle": (), "none": ()}
ACTIVATIONS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "none": lambda x: x, "gelu": F.gelu, "relu": F.relu, "tanh": torch.tanh}


def chains(pred_net: str, recon_net: str) -> dict[str, Chain]:
    """part -> its chain. recon_net "cycle" predicts twice: M(G(F2)) and G(M(F3)), none without prediction networks."""
    one_of("pred_net", pred_net, PRED)
    one_of("recon_net", recon_net, RECON)
    to3d, to2d = PRED[pred_net] or ((), ())
    recon = (to2d + to3d, to3d + to2d) if recon_net == "cycle" else RECON[recon_net] or ((), ())
    return {part: chain for part, chain in zip(PARTS, (to3d, to2d, *recon), strict=True) if chain}


class Module(nn.Module):
    """Linear, activation, Linear, and `after` behind, for modules that end in the latent."""

    def __init__(self, c_in: int, c_out: int, hidden: int, act: str = "gelu", after: str = "none") -> None:
        super().__init__()
        one_of("act", act, ACTIVATIONS)
        one_of("latent_act", after, ACTIVATIONS)
        self.input, self.output = nn.Linear(c_in, hidden), nn.Linear(hidden, c_out)
        self.act, self.after, self.plain = ACTIVATIONS[act], ACTIVATIONS[after], after == "none"

    def forward(self, x: Float[torch.Tensor, "n c_in"]) -> Float[torch.Tensor, "n c_out"]:
        return self.after(self.output(self.act(self.input(x))))


def beginnings(routes: Mapping[str, Chain]) -> list[Chain]:
    """All chains and what they begin with, each once, after its own beginning.

    To loop over. A recursive inner function would be a reference cycle, which keeps the features of many chunks of pixels
    alive until the garbage collector comes.
    """
    return list(dict.fromkeys(chain[:n] for chain in routes.values() for n in range(1, len(chain) + 1)))


def run(networks: Mapping[str, nn.Module], routes: Mapping[str, Chain], F2: Float[torch.Tensor, "n C2"],
        F3: Float[torch.Tensor, "n C3"]) -> dict[str, Float[torch.Tensor, "n _"]]:
    """part -> output for features F2 and F3; a beginning that chains share is run once."""
    found: dict[Chain, torch.Tensor] = {}
    for chain in beginnings(routes):
        before = found[chain[:-1]] if chain[1:] else (F2 if ENDS[chain[0]][0] == "2" else F3)
        found[chain] = networks[chain[-1]](before)
    return {part: found[chain] for part, chain in routes.items()}


def link(first: Module, second: Module) -> Callable[[torch.Tensor], torch.Tensor]:
    """From the hidden layer of one module to that of the next: one matrix where no activation stands between, exactly."""
    if not first.plain:
        return lambda hidden: second.input(first.after(first.output(hidden)))
    weight = second.input.weight @ first.output.weight
    bias = second.input.weight @ first.output.bias + second.input.bias
    return lambda hidden: F.linear(hidden, weight, bias)


class Scorer:
    """`run` for trained modules at pixels of feature maps: the same numbers up to round-off for less work.

    First layers run on tokens, and the latent is never formed: at paper widths 7.4 instead of 11.2 million multiplications
    a pixel.
    """

    def __init__(self, networks: Mapping[str, Module], routes: Mapping[str, Chain]) -> None:
        self.networks, self.routes = networks, routes
        pairs = {pair for chain in routes.values() for pair in pairwise(chain)}
        self.links: dict[Chain, Callable[[torch.Tensor], torch.Tensor]] = {
            (a, b): link(networks[a], networks[b]) for a, b in pairs}

    def __call__(self, maps: Mapping[str, FeatureMap], pixels: Int[np.ndarray, " n"]) -> dict[str, Float[torch.Tensor, "n _"]]:
        """part -> output; maps by modality, only those that a chain starts from are needed."""
        found: dict[Chain, torch.Tensor] = {}
        for chain in beginnings(self.routes):
            net = self.networks[chain[-1]]
            found[chain] = net.act(self.links[chain[-2:]](found[chain[:-1]]) if chain[1:] else
                                   linear_at(net.input, maps["rgb" if ENDS[chain[0]][0] == "2" else "xyz"], pixels))
        return {part: self.networks[chain[-1]].output(found[chain]) for part, chain in self.routes.items()}
