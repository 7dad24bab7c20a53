"""The error that closed forms state is not beaten: random functions that break anywhere, at scales 10^±2."""

import math

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import ncx2, norm

from mupi.programs import Program, apply, mean

SETTINGS = settings(max_examples=6, deadline=None)
PLACES = st.floats(-3, 3)
SCALES = st.floats(-2, 2).map(lambda x: 10**x)


def upper(c, power):
    """E z^power 1(z > c) by erfc: the oracle."""
    if power == 0:
        return norm.sf(c)
    return norm.pdf(c) if power == 1 else c ** (power - 1) * norm.pdf(c) + (power - 1) * upper(c, power - 2)


# By family: the function of x, and its mean for x = σz by closed forms; each breaks at b, or at b and b + w.
FAMILIES = {
    "relu": (lambda x, b, w: w * torch.relu(x - b), lambda b, w, σ: w * (σ * upper(b / σ, 1) - b * upper(b / σ, 0))),
    "step": (lambda x, b, w: (x > b).double(), lambda b, w, σ: upper(b / σ, 0)),
    "window": (
        lambda x, b, w: ((x > b) & (x < b + w)).double(),
        lambda b, w, σ: norm.cdf((b + w) / σ) - norm.cdf(b / σ) if b < 0 else norm.sf(b / σ) - norm.sf((b + w) / σ),
    ),
    "clamp": (
        lambda x, b, w: torch.clamp(x, b, b + w) - b,
        lambda b, w, σ: (
            (σ * upper(b / σ, 1) - b * upper(b / σ, 0)) - (σ * upper((b + w) / σ, 1) - (b + w) * upper((b + w) / σ, 0))
        ),
    ),
    "square": (
        lambda x, b, w: torch.where(x > b, x.square(), -x),
        lambda b, w, σ: σ**2 * upper(b / σ, 2) + σ * upper(b / σ, 1),
    ),
    "floor": (
        lambda x, b, w: torch.floor((x - b) / 4),
        lambda b, w, σ: sum(
            norm.sf((b + 4 * k) / σ) if k > 0 else -norm.cdf((b + 4 * k) / σ) for k in range(-300, 300)
        ),
    ),
}


def check(f, x, right, slack=1e-13):
    s = mean(f(x))
    values = x.program.limit()
    got, bound = values[s].item(), values.error(s).item()
    assert abs(got - right) <= bound + slack * abs(right) + 1e-16, (got, right, bound)
    return bound


@pytest.mark.parametrize("family", FAMILIES)
@SETTINGS
@given(b=PLACES, w=st.floats(0.01, 2), σ=SCALES)
def test_broken_functions_do_not_beat_the_bound(family, b, w, σ):
    f, right = FAMILIES[family]
    x = Program().vector("x", σ**2)
    check(lambda v: apply(f, v, b, w), x, float(right(b, w, σ)))


@SETTINGS
@given(places=st.lists(PLACES, min_size=2, max_size=4), σ=SCALES, sign=st.sampled_from([1.0, -1.0]))
def test_sums_of_kinks_and_jumps_do_not_beat_the_bound(places, σ, sign):
    def f(x):
        distances = [sign * (x - c) for c in places]
        return torch.stack([torch.relu(d) - 2.0 * (d > 0) for d in distances]).sum(0)

    parts = [σ * upper(sign * c / σ, 1) - (sign * c + 2) * upper(sign * c / σ, 0) for c in places]
    # E relu(−z − c) is that of relu(z − c): both signs have the same law.
    x = Program().vector("x", σ**2)
    check(lambda v: apply(f, v), x, float(sum(parts)), slack=1e-12 * (1 + sum(map(abs, parts))))


@SETTINGS
@given(k=st.floats(0, 4).map(lambda x: 10**x), b=PLACES, σ=SCALES)
def test_steep_functions_do_not_beat_the_bound(k, b, σ):
    # E Φ(k(x − b)) = P(z/k < x − b).
    x = Program().vector("x", σ**2)
    bound = check(lambda v: apply(lambda t: torch.special.ndtr(k * (t - b)), v), x, norm.sf(b / math.hypot(σ, 1 / k)))
    assert bound < 1e-9


@SETTINGS
@given(a=PLACES, b=PLACES, ρ=st.floats(-0.9999, 0.9999), σ=SCALES)
def test_two_variables_do_not_beat_the_bound(a, b, ρ, σ):
    rest = math.sqrt(1 - ρ**2)

    def across(z):
        """E relu(y − b) given x = σz."""
        m, s = σ * ρ * z - b, σ * rest
        return m * norm.cdf(m / s) + s * norm.pdf(m / s)

    start = max(a / σ, -12.0)
    stops = sorted({start, 12.0, *(b / σ / ρ + d * rest for d in (-8, -2, 0, 2, 8) if ρ)})
    stops = [start, *(s for s in stops if start < s < 12), 12.0] if start < 12 else []
    pieces = [
        quad(lambda z: across(z) * norm.pdf(z), low, high, epsabs=0, epsrel=1e-12)[0]
        for low, high in zip(stops, stops[1:], strict=False)
    ]
    x, y = Program().vector("x", [[σ**2, ρ * σ**2], [ρ * σ**2, σ**2]])
    check(lambda v: apply(lambda t: (t > a).double(), v) * torch.relu(y - b), x, sum(pieces), slack=1e-9)


def relu_mean(a, σ):
    return σ * upper(a / σ, 1) - a * upper(a / σ, 0)


def between(c, w):
    """P(c < z < c + w)."""
    return norm.cdf(c + w) - norm.cdf(c) if c + w / 2 < 0 else norm.sf(c) - norm.sf(c + w)


def maximum_mean(a, b, σ):
    """E max(x − a, y − b) (Clark 1961)."""
    θ, α = σ * 2**0.5, (b - a) / (σ * 2**0.5)
    return -a * norm.cdf(α) - b * norm.cdf(-α) + θ * norm.pdf(α)


# By family: the function of (x, y), and its mean for x, y ~ N(0, σ²) that are independent.
PAIRS = {
    "window": (
        lambda x, y, a, b, w: torch.relu(x - a) * ((y > b) & (y < b + w)),
        lambda a, b, w, σ: relu_mean(a, σ) * between(b / σ, w / σ),
    ),
    "askew": (
        lambda x, y, a, b, w: torch.relu(x - y - a) * ((x + y > b) & (x + y < b + w)),
        lambda a, b, w, σ: relu_mean(a, σ * 2**0.5) * between(b / σ / 2**0.5, w / σ / 2**0.5),
    ),
    "maximum": (lambda x, y, a, b, w: torch.maximum(x - a, y - b), lambda a, b, w, σ: maximum_mean(a, b, σ)),
    "steep": (
        lambda x, y, a, b, w: torch.special.ndtr((x + y - a) / w),
        lambda a, b, w, σ: norm.sf(a / math.hypot(2**0.5 * σ, w)),
    ),
}


def pair(family, a, b, w, σ):
    f, right = PAIRS[family]
    x, y = Program().vector("x", σ**2 * torch.eye(2, dtype=torch.float64))
    return check(lambda v: apply(f, v, y, a, b, w), x, float(right(a, b, w, σ)), slack=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("family", PAIRS)
@settings(max_examples=5, deadline=None)
@given(a=PLACES, b=PLACES, w=st.floats(0.01, 2), σ=SCALES)
def test_functions_of_two_arguments_do_not_beat_the_error(family, a, b, w, σ):
    pair(family, a, b, w, σ)


def test_a_maximum_of_two_arguments_does_not_beat_the_error():
    # Where a kink comes nearer to a cell's end than any node.
    assert pair("maximum", -2.4368424793545906, -2.8299151408679624, 1.0, 0.5383544058313555) < 1e-9


@pytest.mark.slow
def test_a_small_disc_is_seen():
    x, y = Program().vector("x", torch.eye(2, dtype=torch.float64))
    right = float(ncx2.cdf(1e-4, 2, 0.58))
    check(lambda v: apply(lambda s, t: ((s - 0.7) ** 2 + (t - 0.3) ** 2 < 1e-4).double(), v, y), x, right, 1e-11)


@SETTINGS
@given(b=PLACES, w=st.floats(-9, -2).map(lambda x: 10**x))
@example(b=2.0, w=1e-9)  # Rounding of the places alone is 5e-6 of the mean: it is said, and no reason to refuse.
def test_breaks_closer_than_any_grid_do_not_beat_the_bound(b, w):
    def f(x):
        return torch.where(x > b, 1.0, 0.0) - torch.where(x > b + w, 2.0, 0.0) + torch.where(x > b + 3 * w, 1.0, 0.0)

    right = between(b, w) - between(b + w, 2 * w)
    rounded = 16 * torch.finfo(torch.float64).eps * (1 + abs(b))
    check(lambda v: apply(f, v), Program().vector("x"), float(right), slack=rounded / max(abs(right), 1e-300))


ASKEW = {
    "transposed": lambda f, x: f(x.T).T,
    "nested": lambda f, x: f(x[None])[0],
    "one below the other": lambda f, x: f(torch.cat([x, x], 1).flatten()).reshape(-1, 2)[:, :1],
    "mapped": lambda f, x: torch.func.vmap(f)(x),
}


@pytest.mark.parametrize("way", ASKEW)
def test_windows_are_seen_whichever_way_points_are_laid_out(way):
    def window(x):
        return ((x > 0.7) & (x < 0.7001)).double()

    check(lambda v: apply(lambda x: ASKEW[way](window, x), v), Program().vector("x"), between(0.7, 1e-4), slack=1e-10)


@SETTINGS
@given(b=PLACES, w=st.floats(-4, -1).map(lambda x: 10**x))
def test_spikes_where_a_result_is_extreme_do_not_beat_the_bound(b, w):
    right = sum(between(b + 2 * math.pi * k - w, 2 * w) for k in range(-2, 3))
    x = Program().vector("x")
    check(lambda v: apply(lambda t: (torch.cos(t - b) > math.cos(w)).double(), v), x, float(right), 1e-14 / w**2)


def test_what_cannot_be_looked_into_has_an_unknown_error():
    p = Program()
    x = p.vector("x")
    outside = mean(apply(lambda v: torch.from_numpy(v.sin().numpy() ** 2), x))
    often = mean(apply(lambda v: (torch.floor(1e5 * v) % 1000 == 7).double(), x))
    known = mean(apply(torch.relu, x))
    with pytest.warns(UserWarning, match=r"its error is not known; compare with limit\(samples=...\)"):
        values = p.limit()
    assert values[outside].item() == pytest.approx((1 - math.exp(-2)) / 2, rel=1e-12)
    assert values.error(outside).item() == values.error(often).item() == math.inf
    assert values.error(known).item() < 1e-13


UNKNOWN = {
    "1/x": lambda x: 1 / x,
    "a pole": lambda x: 1 / (x - 0.5) ** 2,
    "too fast": lambda x: torch.sin(1e7 * x) ** 2,
    "a hole": lambda x: torch.where(x.abs() < 1e-4, float("nan"), x),
}


@pytest.mark.parametrize("case", UNKNOWN)
def test_what_is_not_known_is_refused(case):
    p = Program()
    mean(apply(UNKNOWN[case], p.vector("x")))
    with pytest.raises(ValueError, match=r"line 3: s3 = mean\(v2\): `limit\(\)` must be of functions"):
        p.limit()


NO_FUNCTIONS = {
    "rare dropout": lambda x: torch.nn.functional.dropout(x, 1e-3),
    "sums from above": lambda x: x.cumsum(0),
    "position": lambda x: x * torch.arange(len(x))[:, None],
    "conditions": lambda x: x > 0,
}


@pytest.mark.parametrize("case", NO_FUNCTIONS)
def test_what_is_no_function_of_coordinates_is_refused(case):
    with pytest.raises(ValueError, match="must be a function of coordinates|of a floating dtype"):
        apply(NO_FUNCTIONS[case], Program().vector("x"))
