"""`Gate`: a neuron that multiplies φ of one layer by φ' of another; and what neurons of both kinds are asked."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from mupi.activations import Activation


@dataclass(frozen=True)
class Gate:
    """φ(⟨g, z⟩)·φ'(⟨g', z'⟩) of two junctions, whose vectors stand one after the other: (g, g') ∈ R^{r+r'}.

    z and z' are independent, so κ((b, b'), (g, g')) = κ_φ(b, g)·κ_φ'(b', g'), and ψ = ψ_φ(g) ⊗ ψ_φ'(g').

    Attributes:
        first: The activation φ.
        second: The activation φ'.
        rank: Rank r of the first junction.
    """

    first: Activation
    second: Activation
    rank: int

    def halves(self, x: Float[Tensor, "*batch rank_in"]) -> list[tuple[Activation, Tensor]]:
        """Each activation with the part that it reads."""
        return [(self.first, x[..., : self.rank]), (self.second, x[..., self.rank :])]

    def pairs(self, x: Tensor, y: Tensor) -> list[tuple[Activation, Tensor, Tensor]]:
        """Each activation with the parts of two that it reads."""
        return [(φ, u, v) for (φ, u), (_, v) in zip(self.halves(x), self.halves(y), strict=True)]

    def __str__(self) -> str:
        return f"{self.first}·{self.second}"


Neuron = Activation | Gate
"""What a neuron computes of its pre-activation, or of two."""


def outputs(φ: Neuron, g: Float[Tensor, "*batch rank"], z: Float[Tensor, "m rank"]) -> Float[Tensor, "*batch m"]:
    """φ(⟨g, z⟩) of neurons z."""
    if isinstance(φ, Gate):
        (first, g1, z1), (second, g2, z2) = φ.pairs(g, z)
        return first(g1 @ z1.mT) * second(g2 @ z2.mT)
    return φ(g @ z.mT)


def dual(φ: Neuron, b: Float[Tensor, "m rank"], g: Float[Tensor, "n rank"]) -> Float[Tensor, "n m"]:
    """κ(b, g) = E φφ, which can be differentiated."""
    if isinstance(φ, Gate):
        first, second = (half.dual(*gram(v, u)) for half, u, v in φ.pairs(g, b))
        return first * second
    return φ.dual(*gram(b, g))


def dual_00(φ: Neuron, b: Float[Tensor, "m rank"], g: Float[Tensor, "n rank"]) -> Float[Tensor, "n m"]:
    """κ(b, g), a tensor of its own."""
    if isinstance(φ, Gate):
        first, second = (half.dual_00(*gram(v, u)) for half, u, v in φ.pairs(g, b))
        return first * second
    return φ.dual_00(*gram(b, g))


def dual_diagonal(φ: Neuron, g: Float[Tensor, "n rank"]) -> Float[Tensor, " n"]:
    """κ(g, g)."""
    if isinstance(φ, Gate):
        first, second = (dual_diagonal(half, u) for half, u in φ.halves(g))
        return first * second
    variance = g.square().sum(-1)
    return φ.dual(variance, variance, variance)


def dual_within(φ: Neuron, g: Float[Tensor, "n positions rank"]) -> Float[Tensor, "n positions positions"]:
    """κ between the positions of each."""
    if isinstance(φ, Gate):
        first, second = (dual_within(half, u) for half, u in φ.halves(g))
        return first * second
    variance = g.square().sum(-1)
    return φ.dual(variance[:, :, None], g @ g.mT, variance[:, None])


def pulled_back(
    φ: Gate, b: Float[Tensor, "m rank"], g: Float[Tensor, "n rank"], d_kernel: Float[Tensor, "n m"]
) -> Float[Tensor, "n rank"]:
    """Σ_m d_kernel ∂κ/∂g, with ∂κ_φ/∂g = E[φ'φ'] b + E[φφ''] g in each half, times the other's κ."""
    parts = φ.pairs(g, b)
    kernels = [half.dual_00(*gram(v, u)) for half, u, v in parts]
    pulled = []
    for (half, u, v), other in zip(parts, reversed(kernels), strict=True):
        dual_11, dual_02 = half.dual_gradient(*gram(v, u))
        along = d_kernel * other
        pulled.append((dual_11 * along) @ v + (dual_02 * along).sum(1, keepdim=True) * u)
    return torch.cat(pulled, 1)


def own_error(φ: Neuron, g: Float[Tensor, "n rank"], b: Float[Tensor, "m rank"]) -> tuple[float, float]:
    """`mupi.Activation.error` at pre-activations of such sizes; of a product both errors, which add."""
    if isinstance(φ, Gate):
        (first, first_gradient), (second, second_gradient) = (own_error(half, u, v) for half, u, v in φ.pairs(g, b))
        return first + second, first_gradient + second_gradient
    return φ.error(torch.cat([x.norm(dim=1) for x in (g, b)]))


def gram(
    b: Float[Tensor, "m rank"], g: Float[Tensor, "n rank"]
) -> tuple[Float[Tensor, " m"], Float[Tensor, "n m"], Float[Tensor, "n 1"]]:
    """var_b, cov and var_g of the Gaussian pairs (⟨b, z⟩, ⟨g, z⟩), in the shapes that `Activation.dual` takes."""
    return b.square().sum(-1), g @ b.T, g.square().sum(-1, keepdim=True)
