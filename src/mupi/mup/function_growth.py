"""How a function's values and slopes grow: at small arguments and at large ones."""

from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

import torch
from torch import Tensor

from mupi.activations import Activation
from mupi.architecture import Refused
from mupi.mup.sizes import NONE, ZERO, Exponent

FLAT = Fraction(16)
"""The order at 0 of a function that is constant there."""


@dataclass(frozen=True)
class Growth:
    """φ(x) − φ(0) ~ x^near as x → 0, |φ(x)| ~ |x|^far as |x| → ∞.

    Attributes:
        near: The order at 0; 1 for what has a slope there.
        far: The order at ∞; 1 for a rectifier, 0 for what is bounded.
        constant: Whether φ(0) is not 0.
        saturates: Whether φ' vanishes at both ends: then only the coordinates near 0 still move.
    """

    near: Fraction
    far: Fraction
    constant: bool
    saturates: bool

    def varying(self, x: Exponent) -> Exponent:
        """The exponent of φ(x) − φ(0) for x of size n^x."""
        return ZERO if x == ZERO else self.near * x if x <= 0 else self.far * x

    def value(self, x: Exponent) -> Exponent:
        """The exponent of φ(x)."""
        return max(self.varying(x), NONE if self.constant else ZERO)

    def slope(self, x: Exponent) -> Exponent:
        """The exponent of the root mean square of φ'(x): where φ saturates, n^(−x) of the coordinates have a slope."""
        if x <= 0:
            return NONE if self.near == 1 else (self.near - 1) * x if x != ZERO else ZERO
        if self.far == 0 and not self.saturates:  # it oscillates
            return NONE
        return max((self.far - 1) * x, -x / 2)

    def change(self, x: Exponent, moved: Exponent) -> Exponent:
        """The exponent of φ(x + Δ) − φ(x) for Δ of size n^moved."""
        if moved >= x:
            return self.varying(moved)
        if self.saturates and x > 0:
            return (moved if moved <= 0 else moved / 2) - x / 2
        return min(moved + self.slope(x), self.value(x))


def growth(activation: Activation) -> Growth:
    """By the function's values at a few scales.

    Raises:
        Refused: If it grows faster than every power.
    """
    try:
        hash(activation)
    except TypeError:  # a user's own
        return _measured(activation)
    return _known(activation)


def _measured(activation: Activation) -> Growth:
    z = torch.special.ndtri((torch.arange(64, dtype=torch.float64) + 0.5) / 64)
    with torch.no_grad():
        origin = float(activation(torch.zeros(1, dtype=torch.float64)).abs().max())
        small = [_rms(activation(t * z) - activation(0 * z)) for t in (1e-3, 1e-4)]
        large = [_rms(activation(t * z)) for t in (1e4, 1e5)]
        slopes = _rms((activation(1e4 * z + 1e-2) - activation(1e4 * z - 1e-2)) / 2e-2)
    if not all(map(torch.isfinite, map(torch.tensor, large))):
        raise Refused("its activation grows faster than every power", "take one that grows like a polynomial")
    near = FLAT if small[1] == 0 else _order(small[0] / small[1])
    far = _order(large[1] / large[0]) if large[0] > 0 else NONE
    return Growth(near, far, origin > 1e-12, slopes < 1e-6)


_known = lru_cache(maxsize=64)(_measured)


def _rms(x: Tensor) -> float:
    return float(x.square().mean().sqrt())


def _order(ratio: float) -> Fraction:
    """The power of 10 that a ratio is, to a quarter."""
    return Fraction(round(4 * float(torch.tensor(ratio, dtype=torch.float64).log10())), 4)
