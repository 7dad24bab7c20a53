"""Any callable as an activation, its expectations by quadrature with a measured error."""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import log2, sqrt

import torch
from jaxtyping import Float
from torch import Tensor

from mupi.activations.activation import Activation, Pairs
from mupi.activations.asymptotes import nearest_closed_form
from mupi.activations.function_check import check_function, name_of, slope_of
from mupi.activations.gaussian_panels import COARSE, FINE, breaks_of, panel_rule
from mupi.activations.hermite_polynomials import gauss_hermite, hermite_polynomials
from mupi.checks import fail, is_eager
from mupi.compilers import outside_graphs
from mupi.torch_internals import is_batched, without_transforms

SMALL_SCALE = 1e-5

WARN_ABOVE, REFUSE_ABOVE = 1e-3, 0.1
"""Relative errors of an expectation from which on it is said, and from which on it means nothing."""

AGREE = 1e-10
"""Gauss–Hermite nodes are taken where they agree so well with panels."""

BLOCK = 2**15
"""Scales times nodes held at a time."""

MORE = 4
"""How many times as many degrees are taken where the error would be said."""

TABLES = 2**22
"""Coefficients kept, of scales that may be asked for again: those of atoms are, tile by tile."""

Function = Callable[[Tensor], Tensor]


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

    Args:
        function: φ on tensors, coordinatewise, made of torch operations (φ' is taken by autograd).
        nodes: Number of Hermite degrees, and of Gauss–Hermite nodes, 2 to 150.

    Attributes:
        near: b.

    Raises:
        ValueError: If the function is no continuous function of single numbers.
    """

    function: Function
    nodes: int = 128
    near: Activation = field(init=False, compare=False, repr=False)
    _said: list[float] = field(init=False, compare=False, repr=False, default_factory=lambda: [0.0])
    _known_breaks: dict[int, Tensor] = field(init=False, compare=False, repr=False, default_factory=dict)
    _tables: dict[tuple, "Table"] = field(init=False, compare=False, repr=False, default_factory=dict)

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
        scale_u, correlation, scale_v = _standardize(var_u, cov, var_v)
        if self._resolved(scale_u, scale_v):
            return _mehler_sum(self._coefficients(scale_u), correlation, self._coefficients(scale_v))
        return self._by_panels(self.near.dual_00, (var_u, cov, var_v), "φ", False)

    def dual_11(self, var_u, cov, var_v):
        """E φ'φ': see the class."""
        scale_u, correlation, scale_v = _standardize(var_u, cov, var_v)
        if self._resolved(scale_u, scale_v):
            return _mehler_sum(self._slope_coefficients(scale_u), correlation, self._slope_coefficients(scale_v))
        return self._by_panels(self.near.dual_11, (var_u, cov, var_v), "φ'", True)

    def dual_02(self, var_u, cov, var_v):
        """E φφ'': see the class."""
        scale_u, correlation, scale_v = _standardize(var_u, cov, var_v)
        if self._resolved(scale_u, scale_v):
            # c'_{k+1}(s)/s has a limit at s = 0, which the quotient reaches long before rounding spoils it.
            scale_v = scale_v.clamp_min(SMALL_SCALE)
            slope = self._slope_coefficients(scale_v)
            second = [sqrt(k + 1) * slope[k + 1] / scale_v for k in range(self.nodes - 1)]
            return _mehler_sum(self._coefficients(scale_u)[:-1], correlation, second)
        return self._curvature_by_panels(var_u, cov, var_v)

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
            for rows in self._blocks(flat):
                z, w = panel_rule(rows.detach(), self._breaks(_largest(rows)), FINE)
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
                some, more = (self._table(few, slope, degrees) for degrees in (self.nodes, MORE * self.nodes))
                left = torch.maximum(more.bound(more), some.bound(some).clamp_max(WARN_ABOVE))
                errors.append(float((left + more.rule).max()))
        return errors[0], errors[1]

    def __getstate__(self) -> dict:
        """Without what can be computed again."""
        return self.__dict__ | {"_tables": {}}

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
            z, v = panel_rule(scale, self._breaks(float(scale)), FINE)
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
        if all(_largest(s) <= self._largest_resolved for s in scales):
            return True
        if any(map(is_batched, scales)):
            came = f"{name_of(self.function)} at this scale, which quadrature can integrate outside vmap only"
            fail("activation", "in closed form inside vmap", came, "use mupi's own activations")
        return False

    def _coefficients(self, scale: Tensor) -> list[Tensor]:
        """c_0(s), …, c_{Q−1}(s)."""
        return _project(self.function, scale, self.nodes)

    def _slope_coefficients(self, scale: Tensor) -> list[Tensor]:
        """c'_0(s), …, c'_{Q−1}(s)."""
        return _project(slope_of(self.function), scale, self.nodes)

    # By panels

    def _breaks(self, largest: float) -> Tensor:
        """Kinks, their mirror images (for E f(sz) f(−sz)), and where the function varies as far as this scale reaches.

        Scales of a factor 4 share them.
        """
        if not largest < torch.inf:
            fail("activation", "given finite variances", "a NaN or an infinite one")
        known = self._known_breaks
        level = max(-4, -int(-log2(max(largest, 1e-3)) // 2))
        if level not in known:
            kinks = torch.tensor([t for t, _ in getattr(self.near, "kinks", ())], dtype=torch.float64)
            known[level] = torch.cat([kinks, -kinks, breaks_of(self.function, 12.0 * 4.0**level)]).sort().values
        return known[level]

    def _blocks(self, scale: Float[Tensor, " n"]) -> tuple[Tensor, ...]:
        points = (len(self._breaks(_largest(scale))) + 25) * FINE
        return scale.split(max(1, BLOCK // points))

    def _table(self, scale: Tensor, slope: bool, degrees: int) -> "Table":
        """What panels give for scales, of φ or of φ'."""
        keep = is_eager(scale) and not (torch.is_grad_enabled() and scale.requires_grad)
        key = slope, degrees, tuple(scale.shape), scale.detach().cpu().numpy().tobytes() if keep else b""
        tables = self._tables
        if keep and (known := tables.get(key)) is not None and known.size.device == scale.device:
            return known
        flat = scale.double().reshape(-1)
        if not len(flat):
            none = scale.double()
            return Table(*(none[..., None].expand(*none.shape, degrees) for _ in range(2)), *(none for _ in range(6)))
        near, rest = self.near, lambda x: self.function(x) - self.near(x)
        near, rest = (slope_of(near), slope_of(rest)) if slope else (near, rest)
        parts = [self._rows(rows, near, rest, degrees) for rows in self._blocks(flat)]
        columns = [torch.cat(column) for column in zip(*parts, strict=True)]
        table = Table(*(column.reshape(*scale.shape, *column.shape[1:]) for column in columns))
        if keep:
            while tables and sum(t.rest.numel() for t in tables.values()) + table.rest.numel() > TABLES:
                tables.pop(next(iter(tables)), None)
            tables[key] = table
        return table

    def _rows(self, scale: Float[Tensor, " n"], near: Function, rest: Function, degrees: int) -> tuple[Tensor, ...]:
        breaks = self._breaks(_largest(scale))
        # h_k has √k/π waves to a unit; 6 nodes to a wave are plenty.
        z, w = panel_rule(scale.detach(), breaks, max(FINE, int(2 * sqrt(degrees))))
        b, e = near(scale[:, None] * z), rest(scale[:, None] * z)
        mirror_b, mirror_e = near(-scale[:, None] * z), rest(-scale[:, None] * z)
        c_e, c_b = _coefficients(torch.stack([w * e, w * b], 1), z, degrees).unbind(1)
        size = (w * (b + e).square()).sum(1)
        mixed = c_e * c_e + 2 * c_e * c_b
        signs = 1.0 - 2.0 * (torch.arange(degrees, device=z.device) % 2)
        same = (w * (e * e + 2 * e * b)).sum(1) - mixed.sum(1)
        opposite = (w * (e * mirror_e + e * mirror_b + b * mirror_e)).sum(1) - (mixed * signs).sum(1)
        left = (w * e * e).sum(1) - c_e.square().sum(1), (w * b * b).sum(1) - c_b.square().sum(1)
        with torch.no_grad():
            z, w = panel_rule(scale.detach(), breaks, COARSE)
            b, e = near(scale[:, None] * z), rest(scale[:, None] * z)
            rule = ((w * (b + e).square()).sum(1) - size).abs() / size.clamp_min(1e-300)
            rule = rule + ((w * e).sum(1) - c_e[:, 0]).abs() / size.clamp_min(1e-300).sqrt()
        return c_e, c_b, size, same, opposite, left[0].detach(), left[1].detach(), rule.nan_to_num(torch.inf)

    def _check_rule(self, scale: Float[Tensor, " n"]) -> None:
        """Say or refuse the error of the panels at these scales."""
        for rows in self._blocks(scale):
            sums = []
            for nodes in (FINE, COARSE):
                z, w = panel_rule(rows, self._breaks(_largest(rows)), nodes)
                sums.append((w * self.function(rows[:, None] * z).square()).sum(1))
            error = (sums[0] - sums[1]).abs() / sums[0].clamp_min(1e-300)
            self._judge("φφ", error.nan_to_num(torch.inf), rows)

    def _by_panels(
        self, exact: Callable[[Pairs, Pairs, Pairs], Pairs], pairs: tuple[Pairs, Pairs, Pairs], what: str, slope: bool
    ) -> Pairs:
        """The closed form's part and what the rest adds, with the bound of its error."""
        wide = tuple(t.double() for t in pairs)
        scale_u, q, scale_v = _standardize(*wide)
        parallel = (q.abs() >= 1 - 1e-14) & (scale_u == scale_v)
        for degrees in (self.nodes, MORE * self.nodes):
            u, v = self._table(scale_u, slope, degrees), self._table(scale_v, slope, degrees)
            with torch.no_grad():
                error = u.bound(v) * torch.where(parallel, torch.zeros_like(q), q.abs() ** degrees)
                error = (error + u.rule + v.rule).nan_to_num(torch.inf)
            if not (error > WARN_ABOVE).any() or (u.rule > WARN_ABOVE).any() or (v.rule > WARN_ABOVE).any():
                break
        self._judge(f"{what}{what}", error, torch.maximum(*torch.broadcast_tensors(scale_u, scale_v)))
        terms = [(u.rest, v.rest), (u.rest, v.near), (u.near, v.rest)]
        total = exact(*wide) + u.tail(v, q, degrees)
        for one, other in terms:
            total = total + _mehler_sum(one.unbind(-1), q, other.unbind(-1))
        return total.to(pairs[1])

    def _curvature_by_panels(self, var_u: Pairs, cov: Pairs, var_v: Pairs) -> Pairs:
        """E φφ'': the closed form's part and what the rest adds, which the last half of the degrees bounds."""
        wide = var_u.double(), cov.double(), var_v.double()
        scale_u, q, scale_v = _standardize(*wide)
        divisor = scale_v.clamp_min(SMALL_SCALE)
        for degrees in (self.nodes, MORE * self.nodes):
            u, v = self._table(scale_u, False, degrees), self._table(scale_v, True, degrees)
            roots = torch.arange(1, degrees, dtype=torch.float64, device=q.device).sqrt()
            e_v, b_v = ((roots * c[..., 1:] / divisor[..., None]).unbind(-1) for c in (v.rest, v.near))
            e_u, b_u = (c[..., :-1].unbind(-1) for c in (u.rest, u.near))
            terms = [(e_u, e_v), (e_u, b_v), (b_u, e_v)]
            total, half = (
                sum((_mehler_sum(one[:d], q, other[:d]) for one, other in terms), 0 * q)
                for d in (degrees - 1, degrees // 2)
            )
            with torch.no_grad():
                # Beside E φ'φ' b, this is multiplied by g: see `exact_input_gradient`.
                slopes = (self._table(scale_u, True, self.nodes).size * v.size).sqrt()
                error = (total - half).abs() * scale_v / (scale_u * slopes).clamp_min(1e-300)
                error = torch.where(scale_u > SMALL_SCALE, error, torch.zeros_like(error)) + u.rule + v.rule
            if not (error > WARN_ABOVE).any():
                break
        self._judge("φφ''", error.nan_to_num(torch.inf), torch.maximum(*torch.broadcast_tensors(scale_u, scale_v)))
        return (self.near.dual_02(*wide) + total).to(cov)

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


@dataclass(frozen=True)
class Table:
    """What panels give for some scales: of a function b + e, the coefficients of e and b, and sums over all degrees.

    Attributes:
        rest: Coefficients of e.
        near: Coefficients of b.
        size: E (b + e)².
        same: E e² + 2 E e b, less the sum over the degrees that are kept.
        opposite: The same of products of f(sz) with f(−sz).
        rest_left: What the degrees that are kept leave of E e².
        near_left: The same of E b².
        rule: Difference of two rules, relative.
    """

    rest: Float[Tensor, "*n degrees"]
    near: Float[Tensor, "*n degrees"]
    size: Float[Tensor, "*n"]
    same: Float[Tensor, "*n"]
    opposite: Float[Tensor, "*n"]
    rest_left: Float[Tensor, "*n"]
    near_left: Float[Tensor, "*n"]
    rule: Float[Tensor, "*n"]

    def bound(self, other: "Table") -> Tensor:
        """Bound of the error at |q| = 1, relative to √(E f(u)² E f(v)²): `left` for the truth and for `tail`."""
        return 2 * self.left(other) / (self.size * other.size).sqrt().clamp_min(1e-300)

    def left(self, other: "Table") -> Tensor:
        """Cauchy–Schwarz bound of the degrees left out at |q| = 1."""
        e_u, e_v, b_u, b_v = (
            t.clamp_min(0).sqrt() for t in (self.rest_left, other.rest_left, self.near_left, other.near_left)
        )
        return e_u * e_v + e_u * b_v + b_u * e_v

    def tail(self, other: "Table", q: Pairs, degrees: int) -> Pairs:
        """The degrees left out: exact at q = ±1 and equal scales, and falling like the degrees around 2K between."""
        ends = []
        for one, two in ((self.same, other.same), (self.opposite, other.opposite)):
            product = (one * two).clamp_min(0)
            root = torch.where(product > 0, product.clamp_min(1e-300).sqrt(), 0 * product)
            ends.append(root * torch.sign(one))
        most = self.left(other)
        return torch.where(q > 0, ends[0], ends[1]).clamp(-most, most) * q.abs() ** (2 * degrees)


@outside_graphs
def _largest(scale: Tensor) -> float:
    """The largest entry, also inside of transforms of torch.func."""
    scale = without_transforms(scale)
    return float(scale.detach().max()) if scale.numel() else 0.0


def _standardize(var_u: Pairs, cov: Pairs, var_v: Pairs) -> tuple[Pairs, Pairs, Pairs]:
    """Standard deviations and the correlation, 0 where a variance is 0."""
    scale_u, scale_v = _root(var_u), _root(var_v)
    tiny = torch.finfo(cov.dtype).tiny
    return scale_u, (cov / (scale_u * scale_v).clamp_min(tiny)).clamp(-1, 1), scale_v


def _root(var: Pairs) -> Pairs:
    """√var, at 0 with the derivative 0: that of a mean of directions, where an infinity would become NaN."""
    positive = var > 0
    return torch.where(positive, torch.where(positive, var, 1).sqrt(), 0)


def _project(function: Function, scale: Tensor, nodes: int) -> list[Tensor]:
    """E f(sz) h_k(z) for all k < nodes, taken in float64: h_k overflows float32 where its weight underflows."""
    x, w = (t.to(scale.device) for t in gauss_hermite(nodes))
    basis = torch.stack(hermite_polynomials(nodes - 1, x)) * w
    return list((function(scale.double()[..., None] * x) @ basis.T).to(scale).unbind(-1))


def _coefficients(
    weighted: Float[Tensor, "n functions points"], z: Float[Tensor, "n points"], degrees: int
) -> Float[Tensor, "n functions degrees"]:
    """Σ_i f(z_i) h_k(z_i) for all k < ``degrees``, 32 of them in one product."""
    before, now, parts = torch.zeros_like(z), torch.ones_like(z), []
    for start in range(0, degrees, 32):
        some = z.new_empty(len(z), min(32, degrees - start), z.shape[1])
        for k in range(start, start + some.shape[1]):
            some[:, k - start] = now
            before.mul_(-sqrt(k) / sqrt(k + 1)).addcmul_(z, now, value=1 / sqrt(k + 1))
            before, now = now, before
        parts.append(weighted @ some.mT)
    return torch.cat(parts, -1)


def _mehler_sum(first: Sequence[Tensor], correlation: Pairs, second: Sequence[Tensor]) -> Pairs:
    """Σ_k a_k b_k q^k by Horner's rule, without the tail of terms below the rounding error."""
    if correlation.numel() == 0 or first[0].numel() == 0 or second[0].numel() == 0:
        return first[0] * correlation * second[0]
    sizes = torch.stack([a.abs().amax() * b.abs().amax() for a, b in zip(first, second, strict=True)])
    if not sizes.any():
        return 0 * (first[0] * correlation * second[0])
    keep = int(torch.nonzero(sizes >= torch.finfo(sizes.dtype).eps / 100 * sizes.amax())[-1]) + 1
    total = torch.zeros_like(correlation)
    for a, b in zip(reversed(first[:keep]), reversed(second[:keep]), strict=True):
        total = total * correlation + a * b
    return total
