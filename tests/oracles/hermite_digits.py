"""Hermite coefficients of closed-form activations in hundreds of digits, and their derivatives.

c_k(s) = s^k E φ^{(k)}(sz)/√k!. For erf and GELU φ^{(k)} is a polynomial times a Gaussian, whose moments are known: what
cancels in the sum, cancels in digits to spare. Tanh is integrated by quadrature.
"""

from collections.abc import Callable
from functools import cache

from mpmath import mp, mpf

from mupi import GELU, Activation, Cos, Erf, Sin
from mupi.activations.rectifiers import Rectifier

DIGITS = 400
"""Enough for the eighth power of 1 + 1e60, of which 1 is asked for."""

SLACK = 16
"""Rounding errors that a coefficient may have, and by which the scale may have been off."""


def hermite_and_slope(φ: Activation, degree: int, scale, digits: int = DIGITS):
    """c_k(s) and c_k'(s) = (k c_k(s) + √((k+1)(k+2)) c_{k+2}(s))/s, by the heat equation, for s > 0."""
    with mp.workdps(digits):
        s = mpf(scale)
        if isinstance(φ, Rectifier):
            unit = _rectifier(φ, degree)
            return unit * s, unit
        coefficient: Callable = {Erf: _erf, GELU: _gelu, Sin: _sin, Cos: _cos}[type(φ)]
        value, above = coefficient(degree, s), coefficient(degree + 2, s)
        return value, (degree * value + mp.sqrt((degree + 1) * (degree + 2)) * above) / s


def hermite_slope_and_slacks(φ: Activation, degree: int, scale: float, eps: float):
    """c_k(s) and c_k'(s), and how far rounding of s and of the result may take them."""
    with mp.workdps(DIGITS):
        step = SLACK * mpf(eps)
        exact, moved = (hermite_and_slope(φ, degree, s) for s in (mpf(scale), mpf(scale) * (1 + step)))
        value, slope = (abs(m - e) + step * abs(e) for m, e in zip(moved, exact, strict=True))
        return exact, (value, slope)


def by_quadrature(φ: Callable, slope: Callable, degree: int, scale: float, digits: int = 30):
    """E φ(sz) h_k(z) and E z φ'(sz) h_k(z), between edges at the scales of the Gaussian and of φ.

    For small s what h_k leaves of φ is s^k: so many more digits are taken.
    """
    with mp.workdps(digits + int(max(0, -(degree + 3) * mp.log10(scale)))):
        s = mpf(scale)
        inner = [mpf(m) / s for m in (0.5, 1, 2, 4, 8, 16, 32, 64) if m / s < 16]
        decades = [mpf(10) ** -p / s for p in range(1, 3)] if s > 1 else []
        positive = sorted({mpf(0), *decades, *inner, *(mpf(m) for m in (0.5, 1, 2, 4, 6, 8, 11, 14, 18))})
        edges = [-e for e in reversed(positive[1:])] + positive

        def expectation(f):
            weight = mp.sqrt(2 * mp.pi * mp.factorial(degree))
            return mp.quad(lambda z: f(z) * _he(degree, z) * mp.exp(-z * z / 2), edges) / weight

        return expectation(lambda z: φ(s * z)), expectation(lambda z: z * slope(s * z))


def _he(k: int, z):
    """He_k(z)."""
    below, here = mpf(0), mpf(1)
    for j in range(k):
        below, here = here, z * here - j * below
    return here


@cache
def _rectifier(φ: Rectifier, degree: int):
    """Of αx + β|x| one term is odd, and orthogonal to all h_k but h_1, the other even."""
    if degree % 2:
        return mpf(φ.odd) if degree == 1 else mpf(0)
    with mp.workdps(60):
        half = mp.quad(lambda z: _he(degree, z) * z * mp.npdf(z), [0, 1, 2, 4, 8, 16, 24])
        return 2 * mpf(φ.even) * half / mp.sqrt(mp.factorial(degree))


def _gaussian_moments(polynomial: list[int], steepness: int, s):
    """E p(x) e^{−λx²/2} for x ~ N(0, s²): with V = 1 + λs² that of N(0, s²/V), over √V."""
    v = 1 + steepness * s * s
    even = (a * (s * s / v) ** (m // 2) * mp.fac2(m - 1) for m, a in enumerate(polynomial) if m % 2 == 0)
    return sum(even, mpf(0)) / mp.sqrt(v)


def _derivative(polynomial: list[int], steepness: int) -> list[int]:
    """q of (p e^{−λx²/2})' = q e^{−λx²/2} = (p' − λxp) e^{−λx²/2}."""
    slope = [m * a for m, a in enumerate(polynomial)][1:] + [0, 0]
    return [d - steepness * a for d, a in zip(slope, [0, *polynomial], strict=True)]


def _erf(k: int, s):
    if k == 0:
        return mpf(0)
    polynomial = [1]
    for _ in range(k - 1):
        polynomial = _derivative(polynomial, 2)
    return s**k * 2 / mp.sqrt(mp.pi) * _gaussian_moments(polynomial, 2, s) / mp.sqrt(mp.factorial(k))


def _gelu(k: int, s):
    # φ = xΦ, φ' = Φ + xn, φ'' = (2 − x²) n, with n the normal density; E xΦ(x) = s² E n(x), E Φ = ½.
    if k == 0:
        return s * s * _gaussian_moments([1], 1, s) / mp.sqrt(2 * mp.pi)
    if k == 1:
        return s / 2
    polynomial = [2, 0, -1]
    for _ in range(k - 2):
        polynomial = _derivative(polynomial, 1)
    return s**k * _gaussian_moments(polynomial, 1, s) / mp.sqrt(2 * mp.pi * mp.factorial(k))


def _sin(k: int, s):
    """That of E e^{isz} He_k(z) = (is)^k e^{−s²/2} which is imaginary."""
    return mpf((0, 1, 0, -1)[k % 4]) * s**k * mp.exp(-s * s / 2) / mp.sqrt(mp.factorial(k))


def _cos(k: int, s):
    return mpf((1, 0, -1, 0)[k % 4]) * s**k * mp.exp(-s * s / 2) / mp.sqrt(mp.factorial(k))
