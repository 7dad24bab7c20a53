"""Feature maps of weights that read a product of φ's of two junctions: see `Gate`."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from mupi.activations import Activation
from mupi.checks import fail
from mupi.features.expansion import Expansion
from mupi.features.gate import Gate, Neuron
from mupi.features.hermite import Hermite, HermiteWeight, polar
from mupi.features.random_features import RandomJunction
from mupi.features.symmetric import hermite_tensor, power_size, symmetric_power
from mupi.features.weight import Features


def at_gate(features: Sequence[Features]) -> Features:
    """The feature map of a product of φ's of two junctions, from those of the junctions.

    >>> at_gate([Hermite(2), Hermite(2)])
    HermiteGate(features=Hermite(degree=2, subspace=None, renew_every=65536, window=4096))
    """
    first, second = features
    if isinstance(first, RandomJunction) and isinstance(second, RandomJunction):
        return RandomJunction(torch.cat([first.omega, second.omega], 1))
    return HermiteGate(first) if isinstance(first, Hermite) else first


@dataclass(frozen=True)
class HermiteGate(Features):
    """`Hermite` of both.

    Args:
        features: The degrees, without directions.
    """

    features: Hermite

    def __post_init__(self):
        if self.features.subspace is not None:
            must, hint = "None where a layer reads a product of two", "leave it out, or use mupi.RandomFeatures"
            fail("Hermite(subspace=...)", must, self.features.subspace, hint)

    def weight(
        self, initial: Expansion, activation: Neuron, generator: torch.Generator | None = None
    ) -> "HermiteGateWeight":
        """See `Features.weight`; nothing here is random."""
        return HermiteGateWeight(self.features, initial, activation, generator)


class HermiteGateWeight(HermiteWeight):
    """C ψ(g) for a product of two φ's: ψ((g, g')) = ψ_φ(g) ⊗ ψ_φ'(g'), each up to the degree, without directions."""

    def _chosen(self, like: Tensor, generator: torch.Generator | None) -> dict[Any, int]:
        (first, u), (second, v) = self._halves(like)
        kept = range(self.features.degree + 1)
        self.degrees = [[k for k in kept if φ.has_degree(k)] for φ in (first, second)]
        pairs = product(*self.degrees)
        return {(k, j): power_size(u.shape[1], k) * power_size(v.shape[1], j) for k, j in pairs}

    def kernel(self, g1: Float[Tensor, "n rank_in"], g2: Float[Tensor, "m rank_in"]) -> Float[Tensor, "n m"]:
        """κ_K(g, g')·κ_K of the other halves."""
        features = zip(self.degrees, self._halves(g1), self._halves(g2), strict=True)
        first, second = (truncated(φ, degrees, u, v) for degrees, (φ, u), (_, v) in features)
        return first * second

    def at_neurons(self, z: Float[Tensor, "n rank_in"]) -> Float[Tensor, "n rank_out"]:
        """w(z, z') = Σ_kl ⟨C_kl, H_k(z) ⊗ H_l(z')⟩."""
        halves = zip(self.degrees, self._halves(z), strict=True)
        basis = [[hermite_tensor(u, k) for k in degrees] for degrees, (_, u) in halves]
        return products(*(torch.cat(parts, 1) if parts else z[:, :0] for parts in basis)) @ self.weight / len(z) ** 0.5

    def _features(self, g: Float[Tensor, "n rank_in"]) -> Float[Tensor, "n features"]:
        halves = zip(self.degrees, self._halves(g), strict=True)
        return products(*(powers(φ, degrees, u) for degrees, (φ, u) in halves))

    def _halves(self, x: Tensor) -> list[tuple[Activation, Tensor]]:
        assert isinstance(self.activation, Gate)
        return self.activation.halves(x)


def products(x: Float[Tensor, "n k"], y: Float[Tensor, "n l"]) -> Float[Tensor, "n kl"]:
    """All products of an entry of the one and one of the other."""
    return (x[:, :, None] * y[:, None, :]).flatten(1)


def truncated(φ: Activation, degrees: Sequence[int], g1: Tensor, g2: Tensor) -> Float[Tensor, "n m"]:
    """Σ_k c_k(|g|) c_k(|g'|) q^k over some degrees."""
    (scale_1, unit_1), (scale_2, unit_2) = polar(g1), polar(g2)
    cosine, total = unit_1 @ unit_2.T, g1.new_zeros(len(g1), len(g2))
    for k in degrees:
        total = total + φ.hermite(k, scale_1) * φ.hermite(k, scale_2).T * cosine**k
    return total


def powers(φ: Activation, degrees: Sequence[int], g: Tensor) -> Float[Tensor, "n features"]:
    """(c_k(|g|) S_k(ḡ))_k for some degrees."""
    scale, unit = polar(g)
    pieces = [piece for k in degrees for piece in symmetric_power(unit, k, φ.hermite(k, scale))]
    return torch.cat(pieces, 1) if pieces else g[:, :0]
