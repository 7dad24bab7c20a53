"""Any callable as an activation, its expectations by quadrature with a measured error."""

import warnings
from dataclasses import dataclass, field
from functools import cached_property
from math import sqrt

import torch
from jaxtyping import Float
from torch import Tensor

from mupi.activations.activation import Activation
from mupi.activations.asymptotes import nearest_closed_form
from mupi.activations.function_check import check_function, name_of, slope_of
from mupi.activations.gaussian_panels import COARSE, FINE, panel_rule
from mupi.activations.hermite_polynomials import gauss_hermite, hermite_polynomials
from mupi.activations.mehler import Function, mehler_sum, project, standardize
from mupi.activations.panel_duals import MORE, SMALL_SCALE, WARN_ABOVE, curvature_by_panels, dual_by_panels
from mupi.activations.panel_tables import PanelTables, largest
from mupi.checks import fail
from mupi.torch_internals import is_batched

REFUSE_ABOVE = 0.1
"""The relative error of an expectation from which on it means nothing."""

AGREE = 1e-10
"""Gauss–Hermite nodes are taken where they agree so well with panels."""


@dataclass(frozen=True)
class Quadrature(Activation):
    """A coordinatewise function φ, its Hermite coefficients c_k(s) taken by quadrature.

    The duals are Mehler sums: E φφ = Σ_k c_k c_k q^k, E φ'φ' = Σ_k c'_k c'_k q^k with c'_k(s) = E φ'(sz) h_k(z),
    and E φφ'' = Σ_k c_k c''_k q^k with c''_k(s) = √(k+1) c'_{k+1}(s)/s by Stein's lemma, so that φ'' is never
    evaluated. For smooth φ at small scales ``nodes`` Gauss–Hermite nodes give the coefficients to 1e-10.

    Elsewhere φ = b + ψ, with b in closed form: the kinks of φ, which are located, or a smooth step or bend with its
    asymptotes (see `nearest_closed_form`). The coefficients come from Gauss–Legendre panels between the kinks and where
    φ varies, the dual of b is exact, and the sum over degrees below ``nodes`` adds what ψ changes. At q = ±1 and equal
    variances the rest of the sum is known from one-dimensional integrals; between it is bounded by Cauchy and Schwarz.
    This bound and the difference of two rules are the error, relative to √(E φ(u)² E φ(v)²), or to that of φ'. Above
    1e-3 four times as many degrees are tried; what stays above it is said in a ``UserWarning``, and above 0.1 refused.

    What is narrower than 1/100 in x, the step at which kinks are looked for, may be missed.

    >>> φ = mupi.Quadrature(torch.nn.functional.softplus)
    >>> round(float(φ.hermite(1, torch.ones((), dtype=torch.float64))), 4)  # E softplus(z) z = E sigmoid(z)
    0.5

    Args:
        function: φ on tensors, coordinatewise, made of torch operations (φ' is taken by autograd).
        nodes: Number of Hermite degrees, and of Gauss–Hermite nodes, 2 to 150.

    Attributes:
        near: The piecewise linear b that has φ's kinks.

    Raises:
        ValueError: If the function is no continuous function of single numbers.
    """

    function: Function
    nodes: int = 128
    near: Activation = field(init=False, compare=False, repr=False)
    _said: list[float] = field(init=False, compare=False, repr=False, default_factory=lambda: [0.0])

    def __post_init__(self):
        argument = "Quadrature(function=...)"
        if not callable(self.function):
            fail(argument, "a callable on tensors", repr(self.function))
        if not 2 <= self.nodes <= 150:
            fail("Quadrature(nodes=...)", "between 2 and 150", self.nodes)
        check_function(argument, self.function)
        object.__setattr__(self, "near", nearest_closed_form(self.function, argument))

    def __call__(self, x):
        """φ(x)."""
        return self.function(x)

    def dual_00(self, var_u, cov, var_v):
        """E φφ: see the class."""
        scale_u, correlation, scale_v = standardize(var_u, cov, var_v)
        if self._resolved(scale_u, scale_v):
            return mehler_sum(self._coefficients(scale_u), correlation, self._coefficients(scale_v))
        return dual_by_panels(
            self._panels, self.near.dual_00, (var_u, cov, var_v), self.nodes, self._judge, slope=False
        )

    def dual_11(self, var_u, cov, var_v):
        """E φ'φ': see the class."""
        scale_u, correlation, scale_v = standardize(var_u, cov, var_v)
        if self._resolved(scale_u, scale_v):
            return mehler_sum(self._slope_coefficients(scale_u), correlation, self._slope_coefficients(scale_v))
        return dual_by_panels(self._panels, self.near.dual_11, (var_u, cov, var_v), self.nodes, self._judge, slope=True)

    def dual_02(self, var_u, cov, var_v):
        """E φφ'': see the class."""
        scale_u, correlation, scale_v = standardize(var_u, cov, var_v)
        if self._resolved(scale_u, scale_v):
            # c'_{k+1}(s)/s has a limit at s = 0, which the quotient reaches long before rounding spoils it.
            scale_v = scale_v.clamp_min(SMALL_SCALE)
            slope = self._slope_coefficients(scale_v)
            second = [sqrt(k + 1) * slope[k + 1] / scale_v for k in range(self.nodes - 1)]
            return mehler_sum(self._coefficients(scale_u)[:-1], correlation, second)
        return curvature_by_panels(self._panels, (var_u, cov, var_v), self.nodes, self._judge)

    def hermite(self, degree: int, scale: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
        """Σ_i w_i φ(s x_i) h_k(x_i)."""
        wide = scale.double()
        if self._resolved(scale):
            x, w = (t.to(scale.device) for t in gauss_hermite(self.nodes))
            basis = w * hermite_polynomials(degree, x)[degree]
            coefficient = self.function(wide[..., None] * x) @ basis
        else:
            flat = wide.reshape(-1)
            with torch.no_grad():
                self._check_rule(flat)
            parts = []
            for rows in self._panels.blocks(flat):
                z, w = panel_rule(rows.detach(), self._panels.breaks(largest(rows)), FINE)
                parts.append((self.function(rows[:, None] * z) * w * hermite_polynomials(degree, z)[degree]).sum(1))
            coefficient = torch.cat(parts).reshape(wide.shape)
        # Near 0, where c_k(s)/s is wanted, rounding of φ(0) would be divided by s: the tangent there is exact enough.
        zero = torch.zeros_like(wide)
        slope = slope_of(self.function)(zero)
        tangent = self.function(zero) if degree == 0 else slope * wide if degree == 1 else zero
        small = (wide < SMALL_SCALE) & torch.tensor(self._smooth_at_0, device=wide.device)
        return torch.where(small, tangent, coefficient).to(scale)

    def error(self, scale: Float[Tensor, "*n"]) -> tuple[float, float]:
        """Relative errors of E φφ and E φ'φ' between Gaussians of these standard deviations, at the worst correlation.

        Measured at 16 standard deviations from the smallest to the largest.
        """
        if not scale.numel() or self._resolved(scale):
            return AGREE, AGREE
        few = torch.linspace(float(scale.min()), float(scale.max()), 16, dtype=torch.float64, device=scale.device)
        errors = []
        with torch.no_grad():
            for slope in (False, True):
                some, more = (self._panels.table(few, slope, degrees) for degrees in (self.nodes, MORE * self.nodes))
                left = torch.maximum(more.bound(more), some.bound(some).clamp_max(WARN_ABOVE))
                errors.append(float((left + more.rule).max()))
        return errors[0], errors[1]

    @cached_property
    def _panels(self) -> PanelTables:
        return PanelTables(self.function, self.near)

    @cached_property
    def _smooth_at_0(self) -> bool:
        return not any(abs(t) < SMALL_SCALE * 40 for t, _ in getattr(self.near, "kinks", ()))

    @cached_property
    def _largest_resolved(self) -> float:
        """The scale up to which Gauss–Hermite nodes agree with panels about φ and φ', their squares and low degrees."""
        if getattr(self.near, "kinks", ()):
            return 0.0
        best = 0.0
        x, w = gauss_hermite(self.nodes)
        for j in range(-16, 15):
            scale = torch.tensor([2.0 ** (j / 2)], dtype=torch.float64)
            z, v = panel_rule(scale, self._panels.breaks(float(scale)), FINE)
            for f in (self.function, slope_of(self.function)):
                sums = []
                for nodes, weights in ((x, w), (z[0], v[0])):
                    values = f(scale * nodes)
                    low = (torch.stack(hermite_polynomials(9, nodes)) * weights) @ values
                    sums.append(torch.cat([low, (weights * values.square()).sum().sqrt()[None]]))
                if not (sums[0] - sums[1]).abs().amax() <= AGREE * sums[1][-1] + 1e-300:
                    return best
            best = float(scale)
        return best

    def _resolved(self, *scales: Tensor) -> bool:
        """Whether the Gauss–Hermite nodes will do."""
        if all(largest(s) <= self._largest_resolved for s in scales):
            return True
        if any(map(is_batched, scales)):
            came = f"{name_of(self.function)} at this scale, which quadrature can integrate outside vmap only"
            fail("activation", "in closed form inside vmap", came, "use mupi's own activations")
        return False

    def _coefficients(self, scale: Tensor) -> list[Tensor]:
        """c_0(s), …, c_{Q−1}(s)."""
        return project(self.function, scale, self.nodes)

    def _slope_coefficients(self, scale: Tensor) -> list[Tensor]:
        """c'_0(s), …, c'_{Q−1}(s)."""
        return project(slope_of(self.function), scale, self.nodes)

    def _check_rule(self, scale: Float[Tensor, " n"]) -> None:
        """Say or refuse the error of the panels at these scales."""
        for rows in self._panels.blocks(scale):
            sums = []
            for nodes in (FINE, COARSE):
                z, w = panel_rule(rows, self._panels.breaks(largest(rows)), nodes)
                sums.append((w * self.function(rows[:, None] * z).square()).sum(1))
            error = (sums[0] - sums[1]).abs() / sums[0].clamp_min(1e-300)
            self._judge("φφ", error.nan_to_num(torch.inf), rows)

    def _judge(self, what: str, error: Tensor, scale: Tensor) -> None:
        """Warn of a large error, once unless it doubles; refuse one that leaves no digit."""
        if not error.numel():
            return
        error, scale = torch.broadcast_tensors(error, scale)
        i = int(error.argmax())
        worst, at = float(error.flatten()[i]), float(scale.flatten()[i])
        told = f"E {what} of {name_of(self.function)} at standard deviation {at:.3g}"
        if worst > REFUSE_ABOVE:
            hint = "scale the inputs down, or use a smoother activation"
            fail("activation", "one whose expectations quadrature can find", f"{told}, error {worst:.1g}", hint)
        if worst > WARN_ABOVE and worst > 2 * self._said[0]:
            self._said[0] = worst
            warnings.warn(f"{told} is off by up to {worst:.1g} of its size", stacklevel=2)
