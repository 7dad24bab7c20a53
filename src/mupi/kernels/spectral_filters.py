"""What training has done to each eigendirection of a kernel: g(λ) with f_t(X) = λ g_t(λ) Y in the direction of λ."""

from math import inf

import torch
from jaxtyping import Float
from torch import Tensor


def descent_filter(eigenvalues: Float[Tensor, " n"], step: float, steps: int | float) -> Float[Tensor, " n"]:
    """(1 − (1 − sλ)^t)/λ for t = ``steps`` of size s = ``step``, its limit st at λ = 0; 1/λ and 0 for t = ∞."""
    if steps == inf:
        return _inverse(eigenvalues)
    z = step * eigenvalues
    # For small z the power loses all digits of its difference from 1, the logarithm none.
    near_one = -torch.expm1(steps * torch.log1p(-z.clamp_max(0.5)))
    grown = torch.where(z < 0.5, near_one, 1 - (1 - z) ** steps)
    return torch.where(eigenvalues > 0, grown * _inverse(eigenvalues), step * steps)


def momentum_filter(
    eigenvalues: Float[Tensor, " n"], step: float, steps: int | float, momentum: float
) -> Float[Tensor, " n"]:
    """The same with momentum μ: v ← μ v + gradient, w ← w − s·v (heavy ball; Polyak 1964).

    What is left of the targets, e_t = 1 − λ g_t, follows e_{t+1} = (1 + μ − sλ) e_t − μ e_{t−1}, so that
    u_t = g_t/s follows u_{t+1} = (1 + μ − sλ) u_t − μ u_{t−1} + 1 from u_0 = 0, u_1 = 1: a power of a 3 × 3 matrix
    for each λ, in which nothing cancels.
    """
    if steps == inf:
        return _inverse(eigenvalues)
    z = step * eigenvalues.double()
    one, zero = torch.ones_like(z), torch.zeros_like(z)
    rows = [
        torch.stack([1 + momentum - z, -momentum * one, one], -1),
        torch.stack([one, zero, zero], -1),
        torch.stack([zero, zero, one], -1),
    ]
    # (u_1, u_0, 1) to (u_{t+1}, u_t, 1)
    power = torch.linalg.matrix_power(torch.stack(rows, -2), int(steps))
    return (step * (power[:, 1, 0] + power[:, 1, 2])).to(eigenvalues)


def flow_filter(eigenvalues: Float[Tensor, " n"], time: int | float) -> Float[Tensor, " n"]:
    """(1 − e^{−λt})/λ for t = ``time``, its limit t at λ = 0; 1/λ and 0 for t = ∞."""
    if time == inf:
        return _inverse(eigenvalues)
    return torch.where(eigenvalues > 0, -torch.expm1(-time * eigenvalues) * _inverse(eigenvalues), time)


def _inverse(eigenvalues: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
    """1/λ, and 0 for λ = 0."""
    positive = eigenvalues > 0
    return torch.where(positive, 1 / torch.where(positive, eigenvalues, 1), 0)
