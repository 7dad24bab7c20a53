"""Gains of normalizations, whose tangents differ from coordinate to coordinate.

A weight, a bias or a shift moves all coordinates of a layer alike: its tangent kernel is one number for each pair of
positions. A gain γ moves a coordinate h by h/γ, so that its tangent there, where γ = 1, is the *random* h(p) h(p').
A weight reads its mean E h(p) h(p'). But φ' of the same h is not independent of it: the tangent of φ(h) is

Θ E φ'φ' + ω E ψψ,  ψ(x) = xφ'(x),

with Θ what all other parameters make, and not ω E hh E φ'φ'.
"""

from dataclasses import dataclass
from math import sqrt

from torch import Tensor

from mupi.activations import Activation, Cos, NormalizedPolynomial, Polynomial, Sin, as_activation
from mupi.activations.function_check import name_of, slope_of
from mupi.activations.rectifiers import Rectifier
from mupi.activations.scaled import Scaled


@dataclass(frozen=True)
class Gains:
    """Those that a Gaussian value has since the last weight.

    Attributes:
        owners: Whose they are.
        whole: Whether each of them moves all of the value, so that ∂h/∂γ = h.
    """

    owners: frozenset[str] = frozenset()
    whole: bool = True

    def times(self, owner: str) -> "Gains":
        """Of the value times another gain; with the same twice, ∂h/∂γ = 2h."""
        return Gains(self.owners | {owner}, self.whole and owner not in self.owners)


def together(parts: list[Gains]) -> Gains:
    """Of a sum, and of any map of positions."""
    owners = frozenset[str]().union(*(part.owners for part in parts))
    return Gains(owners, all(part.whole and part.owners == owners for part in parts) or not owners)


def times_slope(φ: Activation) -> Activation:
    """ψ(x) = xφ'(x).

    Raises:
        ValueError: If it jumps, as that of a φ with a kink elsewhere than at 0 does, or is a sine's.
    """
    if isinstance(φ, Rectifier):
        return φ
    if isinstance(φ, Polynomial):
        return Polynomial(tuple(i * a for i, a in enumerate(φ.coefficients)))
    if isinstance(φ, NormalizedPolynomial):  # y h_k'(y) = k h_k(y) + √(k(k−1)) h_{k−2}(y)
        of = (*φ.coefficients, 0.0, 0.0)
        terms = (k * a + sqrt((k + 2) * (k + 1)) * of[k + 2] for k, a in enumerate(φ.coefficients))
        return NormalizedPolynomial(tuple(terms))
    if isinstance(φ, Scaled):
        return Scaled(times_slope(φ.base), φ.inner, φ.outer)
    if isinstance(φ, Cos | Sin):
        raise ValueError("it swings ever wider, which no quadrature here resolves")
    slope = slope_of(φ)

    def ψ(x: Tensor) -> Tensor:
        return x * slope(x)

    return as_activation(ψ, f"x·φ'(x) of {name_of(φ)}")
