"""An activation with its axes stretched."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from mupi.activations.activation import Activation


@dataclass(frozen=True)
class Scaled(Activation):
    """φ(x) = outer·base(inner·x).

    Args:
        base: The activation to stretch.
        inner: Multiplier of x, > 0.
        outer: Multiplier of the value.
    """

    base: Activation
    inner: float
    outer: float

    @property
    def scale_free(self) -> bool:
        """As the base is."""
        return self.base.scale_free

    def __call__(self, x):
        """φ(x)."""
        return self.outer * self.base(self.inner * x)

    def dual_00(self, var_u, cov, var_v):
        """That of the base at stretched variances."""
        return self.outer**2 * self.base.dual_00(*self._stretched(var_u, cov, var_v))

    def dual_11(self, var_u, cov, var_v):
        """That of the base at stretched variances."""
        return (self.outer * self.inner) ** 2 * self.base.dual_11(*self._stretched(var_u, cov, var_v))

    def dual_02(self, var_u, cov, var_v):
        """That of the base at stretched variances."""
        return (self.outer * self.inner) ** 2 * self.base.dual_02(*self._stretched(var_u, cov, var_v))

    def hermite(self, degree: int, scale: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
        """That of the base at the stretched scale."""
        return self.outer * self.base.hermite(degree, self.inner * scale)

    def _stretched(self, *moments: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        u, cov, v = (self.inner**2 * moment for moment in moments)
        return u, cov, v
