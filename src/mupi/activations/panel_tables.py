"""What Gauss–Legendre panels give for a function at many scales: Hermite coefficients, and sums over all degrees."""

from dataclasses import dataclass, field
from math import log2, sqrt

import torch
from jaxtyping import Float
from torch import Tensor

from mupi.activations.activation import Activation, Pairs
from mupi.activations.function_check import slope_of
from mupi.activations.gaussian_panels import COARSE, FINE, breaks_of, panel_rule
from mupi.activations.mehler import Function, sampled_coefficients
from mupi.checks import fail, is_eager
from mupi.compilers import outside_graphs
from mupi.torch_internals import without_transforms

BLOCK = 2**15
"""Scales times nodes held at a time."""

TABLES = 2**22
"""Coefficients kept, of scales that may be asked for again: those of atoms are, tile by tile."""


@dataclass(frozen=True)
class Table:
    """What panels give for some scales: of a function b + e, the coefficients of e and b, and sums over all degrees.

    Attributes:
        rest: Hermite coefficients of e = φ − b, the smooth rest.
        near: Hermite coefficients of b, the part with the kinks.
        size: E (b + e)².
        same: E e² + 2 E e b, less the sum over the degrees that are kept.
        opposite: The same of products of f(sz) with f(−sz).
        rest_left: What the degrees that are kept leave of E e².
        near_left: What is left of E b² after the degrees kept.
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


@dataclass(frozen=True, eq=False)
class PanelTables:
    """The tables of φ = b + ψ, which are kept for scales that are asked for again.

    Args:
        function: The function φ.
        near: The piecewise linear b that has φ's kinks.
    """

    function: Function
    near: Activation
    _known_breaks: dict[int, Tensor] = field(default_factory=dict)
    _known_tables: dict[tuple, Table] = field(default_factory=dict)

    def __getstate__(self) -> dict:
        """Without what can be computed again."""
        return self.__dict__ | {"_known_tables": {}}

    def breaks(self, largest: float) -> Tensor:
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

    def blocks(self, scale: Float[Tensor, " n"]) -> tuple[Tensor, ...]:
        """The scales, so many of them at a time that their nodes fit into `BLOCK`."""
        points = (len(self.breaks(largest(scale))) + 25) * FINE
        return scale.split(max(1, BLOCK // points))

    def table(self, scale: Tensor, slope: bool, degrees: int) -> Table:
        """What panels give for scales, of φ or of φ'."""
        keep = is_eager(scale) and not (torch.is_grad_enabled() and scale.requires_grad)
        key = slope, degrees, tuple(scale.shape), scale.detach().cpu().numpy().tobytes() if keep else b""
        tables = self._known_tables
        if keep and (known := tables.get(key)) is not None and known.size.device == scale.device:
            return known
        flat = scale.double().reshape(-1)
        if not len(flat):
            none = scale.double()
            return Table(*(none[..., None].expand(*none.shape, degrees) for _ in range(2)), *(none for _ in range(6)))
        near, rest = self.near, lambda x: self.function(x) - self.near(x)
        near, rest = (slope_of(near), slope_of(rest)) if slope else (near, rest)
        parts = [self._rows(rows, near, rest, degrees) for rows in self.blocks(flat)]
        columns = [torch.cat(column) for column in zip(*parts, strict=True)]
        table = Table(*(column.reshape(*scale.shape, *column.shape[1:]) for column in columns))
        if keep:
            while tables and sum(t.rest.numel() for t in tables.values()) + table.rest.numel() > TABLES:
                tables.pop(next(iter(tables)), None)
            tables[key] = table
        return table

    def _rows(self, scale: Float[Tensor, " n"], near: Function, rest: Function, degrees: int) -> tuple[Tensor, ...]:
        breaks = self.breaks(largest(scale))
        # h_k has √k/π waves to a unit; 6 nodes to a wave are plenty.
        z, w = panel_rule(scale.detach(), breaks, max(FINE, int(2 * sqrt(degrees))))
        b, e = near(scale[:, None] * z), rest(scale[:, None] * z)
        mirror_b, mirror_e = near(-scale[:, None] * z), rest(-scale[:, None] * z)
        c_e, c_b = sampled_coefficients(torch.stack([w * e, w * b], 1), z, degrees).unbind(1)
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


@outside_graphs
def largest(scale: Tensor) -> float:
    """The largest entry, also inside of transforms of torch.func."""
    scale = without_transforms(scale)
    return float(scale.detach().max()) if scale.numel() else 0.0
