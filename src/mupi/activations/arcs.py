"""Moments of rectified Gaussians in float32, by polynomials in place of arccosines: a few times as fast.

Two Gaussians of correlation q, with t = 1 − |q| in [0, 1], have

    arccos |q| = √t A(t),   √(1 − q²) + q arcsin q = (π/2)(1 − t) + t √t B(t),

with A and B analytic but for t = 2, so that polynomials of low degree are as good as float32. What would lose digits
is t of nearly parallel Gaussians: 1 − |cov|/(√var_u √var_v). Here √var is split into a part of 12 bits and a rest, so
that products of the former are exact, and the difference from |cov| too.

Errors, for float32 moments taken as they come: at most `ERROR` (odd² + even²), of E φφ times √(var_u var_v).
"""

from functools import lru_cache
from math import pi

import torch
from jaxtyping import Float
from torch import Tensor

from mupi.activations.determinant import differentiated

ERROR = 3 * 2.0**-23
"""Three of float32's units in the last place of 1; measured 2.7e-7 over all correlations, of which polynomials make
a tenth."""

A = (
    1.41421335656930945,
    0.117860426755854261,
    0.0263945341495328584,
    0.00860358176789813426,
    0.000520470614637119642,
    0.00460737770254105181,
    -0.00284491379864953442,
    0.00144148055769045641,
)
"""Coefficients of t^0, t^1, …; the best in the largest error of √t A(t) on [0, 1], which is 1.2e-8 (Remez)."""

B = (
    0.942804317809885157,
    0.0472099825766426635,
    0.007214254838388054,
    0.00263330643516377127,
    -0.000564444557362319395,
    0.000702557819962929304,
)
"""Likewise of t √t B(t): 2.5e-8."""

SMALLEST, LARGEST = 1e-30, 1e30
"""Variances between which products of roots, and of their rests, are numbers with all digits."""

FEW = 2**12
"""Pairs of which the closed formula is as fast, which has fewer steps."""

PIECE = 2**17
"""Pairs that are computed at a time: with their temporaries they stay in a core's cache."""

Split = Float[Tensor, "5 *n"]
"""√var; and of vectors that are not 0, of zero vectors as if their √var were 1: it, its first 12 bits, the rest, and
its inverse. So a zero vector is at right angles to all others."""


def split(var: Float[Tensor, "*n"]) -> Split | None:
    """Roots of variances for `rectified`; None where that does not serve.

    Not in float64, on accelerators, where derivatives may be asked, or for variances out of its range.
    """
    if var.dtype != torch.float32 or not var.is_cpu or not var.numel() or differentiated(var):
        return None
    is_zero = var == 0
    var = torch.where(is_zero, 1.0, var)
    if not (float(var.amin()) >= SMALLEST and float(var.amax()) <= LARGEST):
        return None
    wide = var.double().sqrt()
    unit = wide.float()
    far = 4097 * unit
    high = far - (far - unit)  # Veltkamp: 24 − 12 bits
    return torch.stack([torch.where(is_zero, 0.0, unit), unit, high, (wide - high).float(), 1 / unit])


def rectified(
    u: Float[Tensor, "5 *#pairs"],
    cov: Float[Tensor, "*pairs"],
    v: Float[Tensor, "5 *#pairs"],
    *,
    odd: float,
    even: float,
    least: float,
    slope: bool,
) -> tuple[Float[Tensor, "*pairs"], Float[Tensor, "*pairs"] | None]:
    """E φφ and E φ'φ' of φ(x) = odd·x + even·|x|, as `Rectifier` has them.

    Args:
        u: Of one side, by `split`.
        cov: Covariances.
        v: Of the other side.
        odd: The weight of x.
        even: The weight of |x|.
        least: Correlations above 1 − ``least`` count as 1, those below −1 + ``least`` as −1.
        slope: Whether E φ'φ' is wanted; if not, it is None.
    """
    out, slopes = torch.empty_like(cov), torch.empty_like(cov) if slope else None
    _by_pieces(u, cov, v, out, slopes, (odd, even), least)
    return out, slopes


def _by_pieces(
    u: Tensor, cov: Tensor, v: Tensor, out: Tensor, slopes: Tensor | None, weights: tuple[float, float], least: float
) -> None:
    """The outermost axis is halved until a piece is small enough."""
    if cov.numel() <= PIECE:
        _piece(u, cov, v, out, slopes, weights, least)
        return
    axis = max((i for i in range(out.ndim) if out.shape[i] > 1), key=out.stride)
    length = cov.shape[axis]
    for start, stop in ((0, length // 2), (length // 2, length)):
        first, second = (x if x.shape[axis + 1] == 1 else x.narrow(axis + 1, start, stop - start) for x in (u, v))
        at, moments = (x.narrow(axis, start, stop - start) for x in (cov, out))
        part = None if slopes is None else slopes.narrow(axis, start, stop - start)
        _by_pieces(first, at, second, moments, part, weights, least)


def _piece(
    u: Tensor, cov: Tensor, v: Tensor, out: Tensor, slopes: Tensor | None, weights: tuple[float, float], least: float
) -> None:
    """See `rectified`."""
    root_u, unit_u, high_u, low_u, inverse_u = u.unbind()
    root_v, unit_v, high_v, low_v, inverse_v = v.unbind()
    of_moment, of_slope, odd, even, whole = _constants(*weights)
    signed = bool(cov.amin() < 0)
    # t, of which only the last two products are rounded.
    t = torch.mul(high_u, high_v, out=torch.empty_like(cov)).sub_(cov.abs() if signed else cov)
    t.addcmul_(high_u, low_v).addcmul_(low_u, unit_v).mul_(inverse_u).mul_(inverse_v)
    torch.threshold_(t, least, 0.0)
    r = t.sqrt()
    sign = cov.sign() if signed else None
    # E φφ/(|u||v|) = (even² ± odd²)(1 − t) + (2/π) even² t √t B(t)
    line = whole if sign is None else torch.addcmul(even, odd, sign)
    _horner(of_moment, t, out)
    torch.addcmul(line, out, r, out=out)
    torch.addcmul(line, out, t, value=-1, out=out)
    out.mul_(root_u).mul_(root_v)
    if slopes is None:
        return
    # E φ'φ' = odd² ± (2/π) even² (π/2 − √t A(t))
    _horner(of_slope, t, slopes)
    torch.addcmul(whole if sign is None else even, slopes, r, out=slopes)
    if sign is not None:
        torch.addcmul(odd, slopes, sign, out=slopes)


def _horner(coefficients: tuple[Tensor, ...], t: Tensor, out: Tensor) -> None:
    """The polynomial of t."""
    *rest, before, last = coefficients
    torch.add(before, t, alpha=float(last), out=out)
    for c in reversed(rest):
        torch.addcmul(c, out, t, out=out)


@lru_cache(maxsize=64)
def _constants(odd: float, even: float) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...], Tensor, Tensor, Tensor]:
    """−(2/π) even² B and A, odd², even², and both together: tensors without axes, which save a pass each."""
    weight = -(2 / pi) * even**2

    def number(value: float) -> Tensor:
        return torch.tensor(value, dtype=torch.float32)

    series = (tuple(number(weight * c) for c in coefficients) for coefficients in (B, A))
    of_moment, of_slope = series
    return of_moment, of_slope, number(odd**2), number(even**2), number(odd**2 + even**2)
