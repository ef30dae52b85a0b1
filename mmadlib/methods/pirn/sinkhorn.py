"""Balanced transport by Sinkhorn's iterations (Cuturi, NeurIPS 2013): tokens that spread one unit each, prototypes that take
equal shares. In the log domain, so that a small eps does not underflow; differentiable through the loop.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from jaxtyping import Bool, Float, Float32

SMALL = 0.04  # below it, exponents of costs up to 2 span more than float32 holds, and every step stays a logarithm


def sinkhorn(C: Float[torch.Tensor, "... K N"], valid: Bool[torch.Tensor, "... N"], eps: float = 0.05,
             iterations: int = 50) -> Float32[torch.Tensor, "... K N"]:
    """Balanced plan T of costs C in [0, 2]: a valid token's weights, a column, sum to 1, a prototype's, a row, to N/K.

    valid       the N tokens that take part; the others get zeros
    eps         weight of the entropy; iterations  passes over both marginals, the last half-step on the tokens, so that a
                token's weights sum to 1 exactly and the prototypes' shares as well as (eps, iterations) allow
    """
    M, valid = -C.float() / eps, valid.unsqueeze(-2).expand(*C.shape[:-2], 1, C.shape[-1])
    share = valid.sum(-1, keepdim=True) / C.shape[-2]
    if eps < SMALL:
        return _logarithmic(M, valid, share.log(), iterations)
    flat = (x.reshape(math.prod(x.shape[:-2]), *x.shape[-2:]) for x in (M, valid.float(), share))
    return _Scaled.apply(*flat, iterations).view_as(M)


def _logarithmic(M: torch.Tensor, valid: torch.Tensor, log_share: torch.Tensor, iterations: int) -> torch.Tensor:
    """T = exp(M + f + g); f, g are the potentials of tokens and prototypes."""
    out = torch.full_like(M[..., :1, :], -torch.inf)  # potential of tokens that take no part
    f = torch.zeros_like(out).where(valid, out)
    for _ in range(iterations):
        g = log_share - torch.logsumexp(M + f, -1, keepdim=True)
        f = (-torch.logsumexp(M + g, -2, keepdim=True)).where(valid, out)
    return torch.exp(M + f + g)


class _Scaled(torch.autograd.Function):
    """The same iterates as scalings u = exp(f), v = exp(g) of one kernel exp(M): products in place of logarithms.

    Backwards, every half-step adds the outer product of a scaling and a gradient to the kernel's; they are summed by one
    matrix product at the end, which makes a plan and its gradient three times as fast as the logarithms.
    """

    @staticmethod
    def forward(ctx: Any, M: Float32[torch.Tensor, "B K N"], valid: Float32[torch.Tensor, "B 1 N"],
                share: Float32[torch.Tensor, "B 1 1"], iterations: int) -> Float32[torch.Tensor, "B K N"]:
        """The plan of exponents M = -C / eps; valid is 0 or 1."""
        # a shift of a token's costs so that its largest exponent is 0; u takes it up, so T and its gradient do not know it
        top = M.amax(1, keepdim=True)
        kernel, u = torch.exp(M - top) * valid, torch.exp(top) * valid
        kernel_t, us, vs = kernel.transpose(1, 2).contiguous(), [u], []
        for _ in range(iterations):
            vs.append(share / (us[-1] @ kernel_t))  # (B, 1, K)
            us.append(valid / (vs[-1] @ kernel).clamp_min(1e-37))  # (B, 1, N)
        ctx.save_for_backward(kernel, kernel_t, share, torch.cat(us, 1), torch.cat(vs, 1))
        return kernel * vs[-1].transpose(1, 2) * us[-1]

    @staticmethod
    def backward(ctx: Any, G: Float32[torch.Tensor, "B K N"]) -> tuple[Float32[torch.Tensor, "B K N"], None, None, None]:
        kernel, kernel_t, share, u, v = ctx.saved_tensors  # u (B, L + 1, N), v (B, L, K)
        T_bar = G * kernel * v[:, -1:].transpose(1, 2) * u[:, -1:]
        v_bar, u_bar = T_bar.sum(2).unsqueeze(1), T_bar.sum(1, keepdim=True)  # gradients of log v, log u: nothing is squared
        ds, dr = [], []
        for t in range(v.shape[1] - 1, -1, -1):
            ds.append(-u_bar * u[:, t + 1:t + 2])  # u = valid / s, s = v K
            v_bar = v_bar + v[:, t:t + 1] * (ds[-1] @ kernel_t)
            dr.append(-v_bar * v[:, t:t + 1] / share)  # v = share / r, r = u K'
            u_bar, v_bar = u[:, t:t + 1] * (dr[-1] @ kernel), 0
        all_ds, all_dr = (torch.cat(found[::-1], 1) for found in (ds, dr))
        outer = v.transpose(1, 2) @ all_ds + all_dr.transpose(1, 2) @ u[:, :-1]
        return T_bar + kernel * outer, None, None, None
