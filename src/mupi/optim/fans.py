"""`Fans`: the sizes of a parameter at the base and at the width, and its place in a network that has become deeper."""

from dataclasses import dataclass
from fractions import Fraction

from mupi.parametrization.roles import ROLES


@dataclass(frozen=True)
class AtDepth:
    """What a parameter is multiplied by as a network becomes deeper than its base: see `mupi.mup.DepthScaling`.

    Attributes:
        place: "inside" of a residual branch, "last" of one, "stream", or empty where depth changes nothing.
        ratio: How many times as many branches as at the base there are.
        size: Of its entries.
        step: Of what a step of training should add to them.
        gradient: Of its gradient, as it then is.
    """

    place: str = ""
    ratio: Fraction = Fraction(1)
    size: float = 1.0
    step: float = 1.0
    gradient: float = 1.0


@dataclass(frozen=True)
class Fans:
    """What a parameter reads and what it feeds, relative to the base.

    Attributes:
        role: One of `mupi.parametrization.roles.ROLES`.
        shape: Sizes of its axes at the width.
        base_shape: Sizes of its axes at the base.
        in_ratio: r_in, how many times as many coordinates it sums over; 1 where their number is finite.
        out_ratio: r_out, how many times as many neurons it feeds; 1 where their number is finite.
        depth: What depth changes.
    """

    role: str
    shape: tuple[int, ...]
    base_shape: tuple[int, ...]
    in_ratio: Fraction
    out_ratio: Fraction
    depth: AtDepth = AtDepth()

    def __post_init__(self):
        assert self.role in ROLES

    @property
    def metric(self) -> float:
        """r_out/r_in, of depth too: what SGD's rate is multiplied by, and with what the square of a gradient counts."""
        return float(self.out_ratio / self.in_ratio) * self.depth.step / self.depth.gradient
