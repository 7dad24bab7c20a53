"""`Fans`: the sizes of a parameter at the base and at the width."""

from dataclasses import dataclass
from fractions import Fraction

from mupi.parametrization.roles import ROLES


@dataclass(frozen=True)
class Fans:
    """What a parameter reads and what it feeds, relative to the base.

    Attributes:
        role: One of `mupi.parametrization.roles.ROLES`.
        shape: Sizes of its axes at the width.
        base_shape: Sizes of its axes at the base.
        in_ratio: r_in, how many times as many coordinates it sums over; 1 where their number is finite.
        out_ratio: r_out, how many times as many neurons it feeds; 1 where their number is finite.
    """

    role: str
    shape: tuple[int, ...]
    base_shape: tuple[int, ...]
    in_ratio: Fraction
    out_ratio: Fraction

    def __post_init__(self):
        assert self.role in ROLES

    @property
    def metric(self) -> float:
        """r_out/r_in: what SGD's rate is multiplied by, and with what the square of a gradient counts."""
        return float(self.out_ratio / self.in_ratio)
