"""The three Gaussian moments in hundreds of digits: an oracle for rounding errors.

Textbook formulas as they stand, and derivatives by differences: what cancels in them, cancels in digits to spare.
"""

from collections.abc import Callable
from fractions import Fraction

import torch
from mpmath import mp, mpf

from mupi import GELU, Activation, Cos, Erf, Sin, Tanh
from mupi.activations.rectifiers import Rectifier
from mupi.activations.tanh import _mixture

DIGITS = 250
"""Enough for exp(±1e30), for 1 + var_u var_v − cov² at variances of 1e±30, and for a difference of any of these."""

SLACK = 8
"""Rounding errors that a moment may have, and by which each argument may have been off."""

Moment = Callable  # of var_u, cov and var_v, numbers of mpmath


def exact_moments(φ: Activation) -> tuple[Moment, Moment, Moment]:
    """E φφ, E φ'φ' and E φφ'' as functions of var_u, cov and var_v."""
    if isinstance(φ, Rectifier):
        return _rectifier(φ)
    if isinstance(φ, Tanh):
        return _tanh()
    value = {Erf: _erf, GELU: _gelu, Sin: _sin, Cos: _cos}[type(φ)]
    return (
        value,
        lambda a, c, b: mp.diff(lambda c: value(a, c, b), c),
        lambda a, c, b: 2 * mp.diff(lambda b: value(a, c, b), b),
    )


def moment_and_slack(moment: Moment, triple: tuple[float, float, float], eps: float) -> tuple[float, float]:
    """The moment of three floating-point numbers, and how far rounding may take one.

    That of the result, of each argument by itself (which is what an inner product and two norms come with), and of
    the bound √(E(u, u) E(v, v)), of which a moment of opposite vectors may be a small rest.
    """
    with mp.workdps(DIGITS):
        a, c, b = (mpf(t) for t in triple)
        exact, step = moment(a, c, b), SLACK * mpf(eps)
        moved = (moment(a * (1 + step), c, b), moment(a, c * (1 - step), b), moment(a, c, b * (1 + step)))
        bound = mp.sqrt(abs(moment(a, a, a) * moment(b, b, b)))
        return float(exact), float(step * max(abs(exact), bound) + sum(abs(m - exact) for m in moved))


def triple_within(var_u: float, correlation: float, var_v: float, dtype: torch.dtype) -> tuple[float, float, float]:
    """var_u, cov and var_v as numbers of a dtype, with cov² ≤ var_u var_v."""
    a, b = (torch.tensor(v, dtype=dtype) for v in (var_u, var_v))
    c = (correlation * a.double().sqrt() * b.double().sqrt()).to(dtype)
    while Fraction(float(c)) ** 2 > Fraction(float(a)) * Fraction(float(b)):
        c = torch.nextafter(c, torch.zeros_like(c))
    return float(a), float(c), float(b)


def _erf(a, c, b):
    return 2 / mp.pi * mp.asin(2 * c / mp.sqrt((1 + 2 * a) * (1 + 2 * b)))


def _gelu(a, c, b):
    big_a, big_b = 1 + a, 1 + b
    d = big_a * big_b - c**2
    g = mpf(1) / 4 + mp.asin(c / mp.sqrt(big_a * big_b)) / (2 * mp.pi)
    return c * g + (a * b + c**2 * (1 / big_a + 1 / big_b - 1)) / (2 * mp.pi * mp.sqrt(d))


def _sin(a, c, b):
    return (mp.exp(c - (a + b) / 2) - mp.exp(-c - (a + b) / 2)) / 2


def _cos(a, c, b):
    return (mp.exp(c - (a + b) / 2) + mp.exp(-c - (a + b) / 2)) / 2


def _rectifier(φ: Rectifier) -> tuple[Moment, Moment, Moment]:
    odd, even = mpf(φ.odd) ** 2, mpf(φ.even) ** 2

    def root(a, c, b):
        return mp.sqrt(max(mpf(0), a * b - c * c))

    def slopes(a, c, b):
        return odd + even * (1 - 2 * mp.atan2(root(a, c, b), c) / mp.pi)

    return (
        lambda a, c, b: c * slopes(a, c, b) + even * 2 / mp.pi * root(a, c, b),
        slopes,
        lambda a, c, b: even * 2 / mp.pi * root(a, c, b) / b,
    )


def _tanh() -> tuple[Moment, Moment, Moment]:
    """Of the mixture of error functions that `Tanh` is: what the nodes leave out is tested by quadrature elsewhere."""
    mixture = [(mpf(w), mpf(slope)) for w, slope in _mixture(24)]

    def total(term) -> Moment:
        def moment(a, c, b):
            pairs = ((w * w2, s, t) for w, s in mixture for w2, t in mixture)
            return sum(w * term(s, t, s * s * a, s * t * c, t * t * b) for w, s, t in pairs)

        return moment

    def root(a, c, b):
        return mp.sqrt((1 + 2 * a) * (1 + 2 * b) - 4 * c * c)

    return (
        total(lambda s, t, a, c, b: _erf(a, c, b)),
        total(lambda s, t, a, c, b: s * t * 4 / (mp.pi * root(a, c, b))),
        total(lambda s, t, a, c, b: -t * t * 8 * c / (mp.pi * (1 + 2 * b) * root(a, c, b))),
    )
