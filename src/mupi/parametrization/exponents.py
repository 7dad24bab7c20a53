"""The exponents (a, b, c) of an abc-parametrization, and the verdicts of Tensor Programs IV on them."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from mupi.checks import fail

HALF = Fraction(1, 2)

Rational = Fraction | int | float | str
"""What is turned into an exact fraction: 1, 0.5, "1/2"."""


def rational(argument: str, value: Rational) -> Fraction:
    """Return ``value`` as an exact rational; a float or a string counts as the decimal or quotient it shows.

    Raises:
        ValueError: If it is no finite number.
    """
    try:
        return Fraction(str(value)) if isinstance(value, float) else Fraction(value)
    except (ValueError, TypeError, ZeroDivisionError, OverflowError):
        fail(argument, "a rational number", repr(value), 'write 1, 0.5, "1/2" or Fraction(1, 2)')


@dataclass(frozen=True, init=False)
class Exponents:
    """W^l = n^{-a_l} w^l,  w^l ~ N(0, n^{-2 b_l}),  learning rate η n^{-c};  l = 1 … L+1, L hidden layers of width n.

    All arithmetic is exact. The verdicts are the theorems of Yang & Hu (2021), proved there for tanh and a smoothed
    GELU.

    Args:
        a: (a_1, …, a_{L+1}), multiplier exponents, readout last.
        b: (b_1, …, b_{L+1}), initialisation exponents.
        c: Learning-rate exponent.

    Raises:
        ValueError: If ``a`` and ``b`` differ in length, have fewer than two entries, or hold no rational numbers.
    """

    a: tuple[Fraction, ...]
    b: tuple[Fraction, ...]
    c: Fraction

    def __init__(self, a: Sequence[Rational], b: Sequence[Rational], c: Rational):
        for name, exponents in dict(a=a, b=b).items():
            exact = tuple(rational(f"Parametrization({name}=...)", x) for x in exponents)
            object.__setattr__(self, name, exact)
        object.__setattr__(self, "c", rational("Parametrization(c=...)", c))
        if len(self.a) < 2:
            fail("Parametrization(a=...)", "at least two exponents, input and readout", len(self.a))
        if len(self.a) != len(self.b):
            fail("Parametrization(b=...)", f"as long as a, {len(self.a)}", len(self.b), "one entry per weight")

    @property
    def depth(self) -> int:
        """L, the number of hidden layers."""
        return len(self.a) - 1

    @property
    def initial_readout(self) -> Fraction:
        """a_{L+1} + b_{L+1}: the entries of W^{L+1} start as Θ(n^{-this})."""
        return self.a[-1] + self.b[-1]

    @property
    def readout_update(self) -> Fraction:
        """2a_{L+1} + c: a step changes the entries of W^{L+1} by Θ(n^{-this})."""
        return 2 * self.a[-1] + self.c

    @property
    def layer_r(self) -> tuple[Fraction, ...]:
        """(r_1, …, r_L): the update of W^l changes h^l by Θ(n^{-r_l}).

        r_l = min(a_{L+1} + b_{L+1}, 2a_{L+1} + c) + c − 1 + 2a_l + 1(l = 1).
        """
        common = min(self.initial_readout, self.readout_update) + self.c - 1
        return tuple(common + 2 * a + (layer == 0) for layer, a in enumerate(self.a[:-1]))

    @property
    def r(self) -> Fraction:
        """min_l r_l: the last hidden layer changes by Θ(n^{-r}) (Yang & Hu 2021)."""
        return min(self.layer_r)

    @property
    def stable_at_init(self) -> bool:
        """Whether every h^l starts as Θ(1) and f as O(1): a_1+b_1 = 0, a_l+b_l = ½, a_{L+1}+b_{L+1} ≥ ½."""
        first, *hidden, last = (a + b for a, b in zip(self.a, self.b, strict=True))
        return first == 0 and all(s == HALF for s in hidden) and last >= HALF

    @property
    def stable(self) -> bool:
        """Whether nothing blows up with width, at the start or in training (Stability Characterisation)."""
        return self.stable_at_init and self.r >= 0 and self.readout_update >= 1 and self.initial_readout + self.r >= 1

    @property
    def nontrivial(self) -> bool:
        """Whether training moves f by Θ(1), given stability: a_{L+1}+b_{L+1}+r = 1 or 2a_{L+1}+c = 1."""
        return self.initial_readout + self.r == 1 or self.readout_update == 1

    @property
    def learns_features(self) -> bool:
        """Stable, nontrivial and r = 0: hidden layers change by Θ(1) (Dynamical Dichotomy)."""
        return self.stable and self.nontrivial and self.r == 0

    @property
    def kernel_regime(self) -> bool:
        """Stable, nontrivial and r > 0: in the limit f follows kernel gradient descent (Dynamical Dichotomy)."""
        return self.stable and self.nontrivial and self.r > 0

    @property
    def initial_gp_limit(self) -> bool:
        """Whether f starts as a Gaussian process that is not zero: stable at the start and a_{L+1}+b_{L+1} = ½."""
        return self.stable_at_init and self.initial_readout == HALF

    @property
    def maximally_updated(self) -> tuple[bool, ...]:
        """For W^1 … W^{L+1}, whether its update moves what it feeds by Θ(1): r_l = 0; 2a_{L+1}+c = 1."""
        return (*(r == 0 for r in self.layer_r), self.readout_update == 1)

    @property
    def readout_maximally_initialized(self) -> bool:
        """Whether the change of features moves f by Θ(1) through the initial readout: a_{L+1}+b_{L+1}+r = 1."""
        return self.initial_readout + self.r == 1

    @property
    def readout_maximally_initialised(self) -> bool:
        """`readout_maximally_initialized`, as earlier versions spelled it."""
        return self.readout_maximally_initialized

    @property
    def is_maximal(self) -> bool:
        """Stable, every weight maximally updated, the readout maximally initialised: true of μP alone, up to shift."""
        return self.stable and all(self.maximally_updated) and self.readout_maximally_initialized

    @property
    def hidden_bias(self) -> tuple[Fraction, Fraction]:
        """(a, b) of the biases of hidden layers: a bias is a weight on a constant input, so those of W^1."""
        return self.a[0], self.b[0]

    @property
    def readout_bias(self) -> tuple[Fraction, Fraction]:
        """(a, b) of the readout's bias: (−c/2, c/2), with which it starts and moves by Θ(1) whatever c."""
        return -self.c / 2, self.c / 2
