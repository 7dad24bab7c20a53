"""`DepthScaling`: what the sum of many residual branches asks of each of them."""

from dataclasses import dataclass
from fractions import Fraction

from mupi.arrays import takes_numpy
from mupi.checks import fail
from mupi.optim.fans import AtDepth
from mupi.parametrization.exponents import Rational, rational


@takes_numpy
@dataclass(frozen=True)
class DepthScaling:
    """Residual branches times r^−α, where there are r times as many of them as at the base.

    With a multiplier m = r^−α on each branch, its weights must move by r^{α−1}: then all of them together move what
    they are added to by r·m·r^{α−1} = 1. Their gradients are m times as large. By the abc symmetry the multiplier can
    be in the last weight V of a branch, V' = m V: entries times m, steps times m·r^{α−1} = 1/r, gradients times 1. So
    the rates are multiplied by

        ===================  =====================  ==========
        optimizer            inside of a branch     its last
        ===================  =====================  ==========
        SGD                  r^{2α−1}               1/r
        Adam and its kin     r^{α−1}, ε by r^−α     1/r
        Muon                 r^{α−1}                1/r
        ===================  =====================  ==========

    >>> mupi.mup.DepthScaling.complete_p().last(4).size
    0.25

    Args:
        exponent: α, from ½ to 1: below, the sum of the branches grows with depth at the start; above, the rates would.

    Raises:
        ValueError: If it is not.
    """

    exponent: Rational = Fraction(1, 2)

    def __post_init__(self):
        object.__setattr__(self, "exponent", rational("DepthScaling(exponent=...)", self.exponent))
        if not Fraction(1, 2) <= self.α <= 1:
            hint = "½ is Depth-μP, 1 CompleteP"
            fail("DepthScaling(exponent=...)", "between 1/2 and 1", self.exponent, hint)

    @classmethod
    def depth_mup(cls) -> "DepthScaling":
        """α = ½: Depth-μP (Yang et al. 2023, arXiv 2310.02244; Bordelon et al. 2023, arXiv 2309.16620)."""
        return cls(Fraction(1, 2))

    @classmethod
    def complete_p(cls) -> "DepthScaling":
        """α = 1: CompleteP (Dey et al. 2025, arXiv 2505.01618), where all weights of a deep branch learn."""
        return cls(Fraction(1))

    @property
    def α(self) -> Fraction:
        """The exponent."""
        return Fraction(self.exponent)

    def multiplier(self, ratio: Fraction | int) -> float:
        """r^−α.

        Args:
            ratio: How many times as many branches as at the base there are.
        """
        return float(ratio) ** -float(self.α)

    def inside(self, ratio: Fraction | int) -> AtDepth:
        """Of a parameter of a branch that is multiplied behind it.

        Args:
            ratio: As of `multiplier`.
        """
        m = self.multiplier(ratio)
        return AtDepth("inside", Fraction(ratio), 1.0, float(ratio) ** float(self.α - 1), m)

    def last(self, ratio: Fraction | int) -> AtDepth:
        """Of one that carries the multiplier.

        Args:
            ratio: As of `multiplier`.
        """
        return AtDepth("last", Fraction(ratio), self.multiplier(ratio), 1 / float(ratio), 1.0)

    def stream(self, ratio: Fraction | int) -> AtDepth:
        """Of a gain or shift that what is added to passes through: each of r times as many moves it all.

        Args:
            ratio: As of `multiplier`.
        """
        return AtDepth("stream", Fraction(ratio), 1.0, 1 / float(ratio), 1.0)
