"""Tangent kernels of weights that are sums of atoms: the π-limit's, which have no parameters to differentiate by.

A weight C = Σ_m c_m a_m ⊗ κ(b_m, ·) maps g to C(g). A step of SGD appends the atoms (−η, δ_i, g_i), one for each sample
and position, with δ = ∂loss/∂C(g): C(g') changes by −η Σ_i δ_i κ(g_i, g'). So f_o(x) and f_o'(x') share

Θ = Σ_pq ⟨∂f_o(x)/∂C(g_p), ∂f_o'(x')/∂C(g'_q)⟩ κ(g_p, g'_q),

over the positions p, q at which the weight is applied to x and to x': what ∂f/∂C ∂f/∂C would be, with C a matrix on the
infinitely many features of κ.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol, cast, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn


@runtime_checkable
class AtomWeight(Protocol):
    """A module that applies a sum of atoms, as that of `mupi.Atoms` does."""

    rank_in: int
    rank_out: int
    atoms: nn.Parameter  # stands for the atoms, and has no entries
    like: Tensor

    def kernel(self, g1: Float[Tensor, "n rank_in"], g2: Float[Tensor, "m rank_in"]) -> Float[Tensor, "n m"]:
        """κ."""
        ...


@dataclass(frozen=True)
class AtomGradients:
    """What some samples' outputs see of a weight of atoms.

    Attributes:
        weight: The weight.
        g: What it is applied to, for each sample and position.
        delta: ∂f_o/∂C(g) for each sample, output and position.
    """

    weight: AtomWeight
    g: Float[Tensor, "n positions rank_in"]
    delta: Float[Tensor, "n k positions rank_out"]


def atom_weights(net: nn.Module) -> dict[str, AtomWeight]:
    """Weights of atoms that are trained, by the names of their parameters."""
    return {
        f"{name}.atoms" if name else "atoms": module
        for name, module in net.named_modules()
        if isinstance(module, AtomWeight) and module.atoms.requires_grad
    }


@contextmanager
def moved(
    weights: dict[str, AtomWeight], by: dict[str, list[Tensor]] | None, seen: dict[str, list[Tensor]]
) -> Iterator[None]:
    """Add to what weights return, call by call, and note what they are given; without ``by``, what they return."""
    handles = []
    for name, weight in weights.items():

        def note(_: nn.Module, args: tuple[Tensor, ...], out: Tensor, name: str = name) -> Tensor:
            if by is None:
                seen[name].append(out)
                return out
            seen[name].append(args[0])
            return out + by[name][len(seen[name]) - 1]

        seen[name] = []
        handles.append(cast(nn.Module, weight).register_forward_hook(note))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def shared(left: AtomGradients, right: AtomGradients) -> Float[Tensor, "rows columns"]:
    """Θ of the outputs of some samples with those of others, samples outermost in rows and columns."""
    (n, p, r), (m, q, _) = left.g.shape, right.g.shape
    kappa = left.weight.kernel(left.g.reshape(n * p, r), right.g.reshape(m * q, r)).reshape(n, p, m, q)
    across = torch.einsum("nkpr,npmq->nkrmq", left.delta, kappa)
    out = torch.einsum("nkrmq,mlqr->nkml", across, right.delta)
    return out.reshape(n * left.delta.shape[1], m * right.delta.shape[1])
