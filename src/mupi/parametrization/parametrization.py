"""`Parametrization`: a value that says how a network scales with width."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from mupi.arrays import takes_numpy
from mupi.checks import fail, positive_int
from mupi.parametrization.conditions import explain, verdict
from mupi.parametrization.exponents import HALF, Exponents, Rational, rational
from mupi.parametrization.nearest import nearest_feature_learning
from mupi.parametrization.rates import LearningRates, adam_rates, sgd_rates
from mupi.parametrization.scalings import Scalings, scalings


@takes_numpy
@dataclass(frozen=True, init=False)
class Parametrization(Exponents):
    """An abc-parametrization (Yang & Hu 2021): see `Exponents` for the exponents and their verdicts.

    >>> p = Parametrization.standard(depth=2, c=1)
    >>> p.r, p.stable, p.learns_features
    (Fraction(1, 2), True, False)
    """

    @classmethod
    def standard(cls, depth: int, c: Rational = 0) -> "Parametrization":
        """SP: a = 0, b = (0, ½, …, ½). Unstable with c = 0; with c = 1, learning rate η/n, in the kernel regime."""
        return cls._uniform("standard", depth, (0, 0, 0), (0, HALF, HALF), rational("standard(c=...)", c))

    @classmethod
    def ntk(cls, depth: int) -> "Parametrization":
        """NTP: a = (0, ½, …, ½), b = 0, c = 0 (Jacot, Gabriel & Hongler 2018)."""
        return cls._uniform("ntk", depth, (0, HALF, HALF), (0, 0, 0), 0)

    @classmethod
    def mean_field(cls, depth: int = 1) -> "Parametrization":
        """MFP: a = (0, 1), b = 0, c = −1, for one hidden layer, where it is μP.

        Raises:
            ValueError: If ``depth`` is not 1.
        """
        if depth != 1:
            fail("mean_field(depth=...)", "1", depth, "deeper networks learn features with Parametrization.mup(depth)")
        return cls._uniform("mean_field", depth, (0, 0, 1), (0, 0, 0), -1)

    @classmethod
    def mup(cls, depth: int) -> "Parametrization":
        """μP: a = (−½, 0, …, 0, ½), b = ½, c = 0 (Yang & Hu 2021)."""
        return cls._uniform("mup", depth, (-HALF, 0, HALF), (HALF, HALF, HALF), 0)

    @classmethod
    def modified_standard(cls, depth: int) -> "Parametrization":
        """The 'simple modification' of SP that learns features, at learning rate η: the paper's way to write μP.

        From `standard`, the logits are divided by √n (a_{L+1} = ½) and the first layer is multiplied by √n, its
        initialisation divided by √n (a_1 = −½, b_1 = ½).
        """
        p = cls.standard(depth)
        return cls((-HALF, *p.a[1:-1], HALF), (HALF, *p.b[1:]), p.c)

    @classmethod
    def _uniform(cls, name: str, depth: int, a: Sequence, b: Sequence, c: Rational) -> "Parametrization":
        """Exponents given for the input weight, all hidden ones, and the readout."""
        positive_int(f"{name}(depth=...)", depth)
        (a_first, a_hidden, a_last), (b_first, b_hidden, b_last) = a, b
        hidden = depth - 1
        return cls((a_first, *[a_hidden] * hidden, a_last), (b_first, *[b_hidden] * hidden, b_last), Fraction(c))

    def shift(self, theta: Rational) -> "Parametrization":
        """(a_l + θ, b_l − θ, c − 2θ): the same network at every step of SGD (Yang & Hu 2021)."""
        θ = rational("shift(theta=...)", theta)
        return type(self)(tuple(a + θ for a in self.a), tuple(b - θ for b in self.b), self.c - 2 * θ)

    def equivalent(self, other: "Parametrization") -> bool:
        """Whether both are the same network, that is, equal up to `shift`."""
        return self.depth == other.depth and self.shift(other.a[-1] - self.a[-1]) == other

    @property
    def is_mup(self) -> bool:
        """Whether this is μP, up to `shift`."""
        return self.equivalent(type(self).mup(self.depth))

    @property
    def sgd_rates(self) -> LearningRates:
        """See `mupi.parametrization.rates.sgd_rates`."""
        return sgd_rates(self)

    @property
    def adam_rates(self) -> LearningRates:
        """See `mupi.parametrization.rates.adam_rates`."""
        return adam_rates(self)

    def scalings(self, steps: int = 2) -> Scalings:
        """Predicted exponents of every quantity: see `mupi.parametrization.scalings.scalings`."""
        return scalings(self, positive_int("scalings(steps=...)", steps))

    def nearest_feature_learning(self) -> "Parametrization":
        """The nearest that learns features: see `mupi.parametrization.nearest.nearest_feature_learning`."""
        return type(self)(*nearest_feature_learning(self))

    @property
    def verdict(self) -> str:
        """One sentence: μP, feature learning, kernel regime, trivial or unstable, and why."""
        return verdict(self)

    def explain(self) -> str:
        """The verdict, every condition layer by layer, and the smallest change that learns features; print it."""
        return explain(self)
