"""`Roles`: an abc-parametrization of networks that are no chains, by what μP calls a parameter rather than by layer."""

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

from mupi.arrays import takes_numpy
from mupi.checks import fail
from mupi.parametrization.exponents import Exponents, Rational, rational
from mupi.parametrization.parametrization import Parametrization
from mupi.parametrization.rates import LearningRates, adam_rates, sgd_rates

ROLES = ("input", "hidden", "readout", "vector", "finite")
"""What the size of a parameter does as the network widens: see `Roles`."""


@takes_numpy
@dataclass(frozen=True)
class Roles:
    """W = n^{−a} w, w ~ N(0, n^{−2b}), learning rate η n^{−c}, with exponents by the role of a parameter.

    - *input*: one infinite axis, out: the first weights, embeddings, tables of positions.
    - *hidden*: two infinite axes.
    - *readout*: one infinite axis, in.
    - *vector*: biases, gains and shifts of layers; weights on a constant input, so those of the input.
    - *finite*: none: biases of outputs, weights between data; (−c/2, c/2), with which they move by Θ(1) whatever c.

    It is the `Parametrization` of a perceptron in which all hidden weights have the same exponents, read for any
    network: what the theorems of Yang & Hu (2021) say of one layer is said of a role.

    >>> Roles.mup().a("readout"), Roles.mup().c("hidden", adam_rates)
    (Fraction(1, 2), Fraction(1, 1))
    >>> Roles.ntk().learns_features
    False

    Args:
        input: Exponents (a, b) of input weights.
        hidden: a and b; None where there is no hidden weight to speak of (`mean_field`).
        readout: Exponents (a, b) of readouts.
        rate: The exponent c of SGD.

    Raises:
        ValueError: If an exponent is no rational number.
    """

    input: tuple[Rational, Rational]
    hidden: tuple[Rational, Rational] | None
    readout: tuple[Rational, Rational]
    rate: Rational = 0

    def __post_init__(self):
        for name in ("input", "hidden", "readout"):
            pair = getattr(self, name)
            if pair is None and name == "hidden":
                continue
            if not isinstance(pair, tuple | list) or len(pair) != 2:
                fail(f"Roles({name}=...)", "a pair (a, b)", repr(pair))
            object.__setattr__(self, name, tuple(rational(f"Roles({name}=...)", x) for x in pair))
        object.__setattr__(self, "rate", rational("Roles(rate=...)", self.rate))

    @classmethod
    def of(cls, parametrization: Exponents) -> "Roles":
        """Those of a perceptron's exponents.

        Raises:
            ValueError: If its hidden weights differ in theirs.
        """
        (first, *hidden, last), c = zip(parametrization.a, parametrization.b, strict=True), parametrization.c
        if len(set(hidden)) > 1:
            fail("Roles.of(parametrization)", "one whose hidden weights have the same exponents", sorted(set(hidden)))
        return cls(first, hidden[0] if hidden else None, last, c)

    @classmethod
    def mup(cls) -> "Roles":
        """μP: see `Parametrization.mup`."""
        return cls.of(Parametrization.mup(2))

    @classmethod
    def ntk(cls) -> "Roles":
        """NTP: see `Parametrization.ntk`."""
        return cls.of(Parametrization.ntk(2))

    @classmethod
    def standard(cls, c: Rational = 0) -> "Roles":
        """SP: see `Parametrization.standard`."""
        return cls.of(Parametrization.standard(2, c))

    @classmethod
    def mean_field(cls) -> "Roles":
        """MFP, for networks without hidden weights: see `Parametrization.mean_field`."""
        return cls.of(Parametrization.mean_field())

    @property
    def parametrization(self) -> Parametrization:
        """The same of a perceptron with one hidden weight, or none."""
        pairs = [pair for pair in (self.input, self.hidden, self.readout) if pair is not None]
        return Parametrization([a for a, _ in pairs], [b for _, b in pairs], self.rate)

    def shift(self, theta: Rational) -> "Roles":
        """(a + θ, b − θ, c − 2θ): the same network at every step of SGD (Yang & Hu 2021)."""
        return type(self).of(self.parametrization.shift(theta))

    def a(self, role: str) -> Fraction:
        """The multiplier's exponent."""
        return self._pair(role)[0]

    def b(self, role: str) -> Fraction:
        """The exponent of the initial standard deviation."""
        return self._pair(role)[1]

    def c(self, role: str, rates: Callable[[Exponents], LearningRates] = sgd_rates) -> Fraction:
        """The exponent of the learning rate.

        Args:
            role: The parameter's role, one of `ROLES`.
            rates: Of the optimizer: `sgd_rates`, `adam_rates`, or another rule for perceptrons.
        """
        known, p = rates(self.parametrization), self.parametrization
        return known.of(role, {"input": 1, "hidden": 2, "readout": p.depth + 1}.get(self._known(role), 0))

    def _pair(self, role: str) -> tuple[Fraction, Fraction]:
        p = self.parametrization
        match self._known(role):
            case "vector":
                return p.hidden_bias
            case "finite":
                return p.readout_bias
            case _:
                layer = {"input": 0, "hidden": 1, "readout": p.depth}[role]
                return p.a[layer], p.b[layer]

    def _known(self, role: str) -> str:
        if role not in ROLES or (role == "hidden" and self.hidden is None):
            known = [name for name in ROLES if name != "hidden" or self.hidden is not None]
            fail("Roles(...)(role)", f"one of {', '.join(known)}", repr(role))
        return role

    @property
    def sgd_rates(self) -> LearningRates:
        """See `mupi.parametrization.rates.sgd_rates`."""
        return sgd_rates(self.parametrization)

    @property
    def adam_rates(self) -> LearningRates:
        """See `mupi.parametrization.rates.adam_rates`."""
        return adam_rates(self.parametrization)

    @property
    def stable(self) -> bool:
        """See `Exponents.stable`."""
        return self.parametrization.stable

    @property
    def learns_features(self) -> bool:
        """See `Exponents.learns_features`."""
        return self.parametrization.learns_features

    @property
    def verdict(self) -> str:
        """One sentence: see `Parametrization.verdict`."""
        return self.parametrization.verdict
