"""Attacks on `Program.limit()` by random functions: pieces, however written, and spikes."""

import math
import random
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from scipy.stats import norm

from mupi.programs import Program, apply, mean

# Torch functions of lines are lines, which torch's annotations do not know.
# pyright: reportArgumentType=false, reportCallIssue=false, reportRedeclaration=false

FUNCTIONS, PRODUCTS, PAIRS, CONSTANTS = 72, 12, 4, 3
"""Random cases of each kind; more by hand, with other seeds."""

SEED = 0

NODES, WEIGHTS = np.polynomial.legendre.leggauss(40)


@dataclass
class Pieces:
    """A polynomial of degree ≤ 3 between neighbouring breaks, in z = x/σ.

    Attributes:
        at: The breaks, increasing.
        coefficients: One row more than there are breaks, of 1, z, z², z³.
    """

    at: list[float]
    coefficients: list[list[float]]

    def __call__(self, z: np.ndarray) -> np.ndarray:
        rows = np.array(self.coefficients)[np.searchsorted(self.at, z)]
        return rows[:, 0] + z * (rows[:, 1] + z * (rows[:, 2] + z * rows[:, 3]))


def gauss(f: Callable[[np.ndarray], np.ndarray], at: list[float], shift: float = 0.0) -> tuple[float, float]:
    """E f(z) for z ~ N(shift, 1), by Gauss–Legendre between breaks, and to what it is known in double precision."""
    edges = np.unique([*np.clip(at, shift - 14, shift + 14), *(shift + np.arange(-14, 14.5, 0.5))])
    half = np.diff(edges)[:, None] / 2
    z = (edges[:-1, None] + half * (NODES + 1)).ravel()
    terms = f(z) * norm.pdf(z - shift) * (half * WEIGHTS).ravel()
    # Arguments are rounded, and breaks with them: of a thin window not all digits are left.
    places = np.array(at)
    jumps = np.abs(f(places - 1e-12)) + np.abs(f(places + 1e-12))
    ends = (jumps * norm.pdf(places - shift) * (np.abs(places) + abs(shift) + 1)).sum()
    return math.fsum(terms), 2e-13 * math.fsum(np.abs(terms)) + 8 * np.finfo(float).eps * float(ends)


def pieces(r: random.Random) -> Pieces:
    """Random ones: many or few, in clusters or far out, joined or not, of very different sizes."""
    count = r.choice([1, 1, 2, 2, 3, 5, 12])
    center, spread = r.choice([0.0, r.uniform(-3, 3), r.choice([-1, 1]) * r.uniform(3, 7)]), 10 ** r.uniform(-6, 0.5)
    at = sorted(center + spread * r.uniform(-1, 1) for _ in range(count))
    degree, size, joined = r.choice([0, 1, 1, 3]), 10 ** r.uniform(-2, 2), r.random() < 0.4
    rows: list[list[float]] = []
    for i in range(count + 1):
        row = [size * r.gauss(0, 1) * (k <= degree) * (r.random() < 0.8) for k in range(4)]
        # Zero outside, so that nothing is seen from afar.
        if i in (0, count) and count > 1 and r.random() < 0.5:
            row = [0.0] * 4
        if joined and rows:
            z = at[i - 1]
            row[0] = 0.0
            row[0] = sum((a - b) * z**k for k, (a, b) in enumerate(zip(rows[-1], row, strict=True)))
        rows.append(row)
    return Pieces(at, rows)


def powers(z: torch.Tensor, row: list[float]) -> torch.Tensor:
    return row[0] + z * (row[1] + z * (row[2] + z * row[3]))


def by_choices(p: Pieces, z: torch.Tensor) -> torch.Tensor:
    total = powers(z, p.coefficients[0])
    for a, row in zip(p.at, p.coefficients[1:], strict=True):
        total = torch.where(z > a, powers(z, row), total)
    return total


def by_windows(p: Pieces, z: torch.Tensor) -> torch.Tensor:
    edges = [-math.inf, *p.at, math.inf]
    return sum(
        powers(z, row) * ((z > a) & (z <= b)) for a, b, row in zip(edges, edges[1:], p.coefficients, strict=False)
    )  # type: ignore[return-value]


def by_table(p: Pieces, z: torch.Tensor) -> torch.Tensor:
    rows = torch.tensor(p.coefficients, dtype=z.dtype)[torch.bucketize(z, torch.tensor(p.at, dtype=z.dtype))]
    return rows[..., 0] + z * (rows[..., 1] + z * (rows[..., 2] + z * rows[..., 3]))


def sideways(p: Pieces, z: torch.Tensor) -> torch.Tensor:
    return by_windows(p, z.T).T


def inside_out(p: Pieces, z: torch.Tensor) -> torch.Tensor:
    return by_windows(p, z[None])[0]


def stacked(p: Pieces, z: torch.Tensor) -> torch.Tensor:
    return by_windows(p, torch.cat([z, z], 1).flatten()).reshape(-1, 2)[:, :1]


def row_by_row(p: Pieces, z: torch.Tensor) -> torch.Tensor:
    return torch.func.vmap(lambda one: by_choices(p, one))(z)


def in_place(p: Pieces, z: torch.Tensor) -> torch.Tensor:
    total = powers(z, p.coefficients[0])
    for a, row in zip(p.at, p.coefficients[1:], strict=True):
        beyond = z > a
        total[beyond] = powers(z, row)[beyond]
    return total


def by_numpy(p: Pieces, z: torch.Tensor) -> torch.Tensor:
    return torch.from_numpy(p(z[:, 0].numpy()))[:, None]


WAYS = [by_choices, by_windows, by_table, sideways, inside_out, stacked, row_by_row, in_place, by_numpy]


def outcome(write: Callable[[Program], object], right: float, slack: float) -> str:
    """Of a program that ends in one number, known to a few digits; an error of infinity says that it is not known."""
    p = Program()
    warnings.simplefilter("ignore")
    try:
        s = write(p)
        values = p.limit()
        got, bound = values[s].item(), values.error(s).item()  # type: ignore[index]
    except ValueError as error:
        return "refused" if "\n" not in str(error) and len(str(error)) < 600 else "traceback"
    except Exception:
        return "traceback"
    if math.isinf(bound):
        return "refused"
    return "right" if abs(got - right) <= bound + slack + 1e-18 else "silent"


def test_random_pieces(record):
    r = random.Random(SEED)
    for number in range(FUNCTIONS):
        p, way, σ, shift = pieces(r), WAYS[number % len(WAYS)], 10 ** r.uniform(-2, 2), r.choice([0.0, r.gauss(0, 1)])
        right, slack = gauss(p, p.at, shift)

        def write(program, p=p, way=way, σ=σ, shift=shift):
            return mean(apply(lambda x: way(p, x / σ), program.vector("x", σ**2, σ * shift)))

        record(f"random pieces, {way.__name__}", f"{number}: {p}, σ = {σ}", outcome(write, right, slack))


def test_products_of_random_pieces(record):
    """Of one Gaussian, and behind a matrix: E x Wᵀf(Wx) = E f'(z)."""
    r = random.Random(SEED + 1)
    for number in range(PRODUCTS):
        p, q = pieces(r), pieces(r)
        if number % 3:
            right, slack = gauss(lambda z, p=p, q=q: p(z) * q(z), p.at + q.at)

            def write(program, p=p, q=q):
                x = program.vector("x")
                return mean(apply(lambda z: by_choices(p, z), x), apply(lambda z: by_windows(q, z), x))

            record("products of random pieces", f"{number}: {p}, {q}", outcome(write, right, slack))
        else:
            σ = 10 ** r.uniform(-1, 1)
            right, slack = gauss(lambda z, p=p: z * p(z) / 1, p.at)

            def write(program, p=p, σ=σ):
                W, x = program.matrix("W", σ), program.vector("x")
                return mean(x, W.T @ apply(lambda h: by_choices(p, h / σ), W @ x))

            record("random pieces between W and Wᵀ", f"{number}: {p}, σ = {σ}", outcome(write, σ * right, σ * slack))


def test_pairs_of_random_pieces(record):
    r = random.Random(SEED + 2)
    for number in range(PAIRS):
        p, q, ρ = pieces(r), pieces(r), r.choice([r.uniform(-1, 1), 1 - 10 ** r.uniform(-6, -1)])
        rest = math.sqrt(1 - ρ**2)

        def inner(z, q=q, ρ=ρ, rest=rest):
            """E q(y) given x = z, in closed form."""
            total = np.zeros_like(z)
            edges = [-np.inf, *q.at, np.inf]
            for a, b, row in zip(edges, edges[1:], q.coefficients, strict=False):
                lo, hi = (a - ρ * z) / rest, (b - ρ * z) / rest
                # E u^k over (lo, hi), by parts.
                swap = np.minimum(np.abs(lo), np.abs(hi)) == np.abs(lo)
                m = [np.where(swap & (lo > 0), norm.sf(lo) - norm.sf(hi), norm.cdf(hi) - norm.cdf(lo))]
                at = [np.where(np.isinf(v), 0, norm.pdf(v) * np.where(np.isinf(v), 0, v) ** 0) for v in (lo, hi)]
                finite = [np.where(np.isinf(v), 0, v) for v in (lo, hi)]
                m.append(at[0] - at[1])
                for k in (2, 3):
                    m.append(at[0] * finite[0] ** (k - 1) - at[1] * finite[1] ** (k - 1) + (k - 1) * m[k - 2])
                for k, c in enumerate(row):
                    total += c * sum(math.comb(k, j) * (ρ * z) ** (k - j) * rest**j * m[j] for j in range(k + 1))
            return total

        near = [b / ρ + d * rest / abs(ρ) for b in q.at for d in (-6, -3, -1, 0, 1, 3, 6)] if ρ else []
        right, slack = gauss(lambda z, p=p, inner=inner: p(z) * inner(z), p.at + near)

        def write(program, p=p, q=q, ρ=ρ):
            x, y = program.vector("x", [[1.0, ρ], [ρ, 1.0]])
            return mean(apply(lambda z: by_choices(p, z), x), apply(lambda z: by_choices(q, z), y))

        # The oracle cancels to a few digits less than all.
        record("pairs of random pieces", f"{number}: {p}, {q}, ρ = {ρ}", outcome(write, right, 1e3 * slack))


def bump(f: Callable[[np.ndarray], np.ndarray], at: float, w: float) -> float:
    """E f(z − at) of a function that breaks at ±w at most, and is taken for 0 beyond π."""
    return gauss(
        lambda z: f(z - at) * (np.abs(z - at) < math.pi),
        [at, *(at + side * k * w for side in (-1, 1) for k in (1, 2, 3, 5, 8, 12, 24))],
    )[0]


def bumps(f: Callable[[np.ndarray], np.ndarray], at: float, w: float) -> float:
    """The same, with a period of 2π."""
    return sum(bump(f, at + 2 * math.pi * k, w) for k in range(-2, 3))


def near(b: float, half: float) -> float:
    """P(|z − b| < half)."""
    return float(norm.cdf(-abs(b) + half) - norm.cdf(-abs(b) - half))


# What no result changes its sign at, but one is extreme there: by width.
SPIKES = {
    "cos(x - b) > c": (
        lambda x, b, w: (torch.cos(x - b) > math.cos(w)).double(),
        lambda b, w: sum(near(b + 2 * math.pi * k, w) for k in range(-2, 3)),
    ),
    "relu(cos(x - b) - c)": (
        lambda x, b, w: torch.relu(torch.cos(x - b) - math.cos(w)),
        lambda b, w: bumps(lambda d: np.maximum(np.cos(d) - math.cos(w), 0), b, w),
    ),
    "clamp(cos(x - b), c)": (
        lambda x, b, w: torch.clamp(torch.cos(x - b), min=math.cos(w)) - math.cos(w),
        lambda b, w: bumps(lambda d: np.maximum(np.cos(d) - math.cos(w), 0), b, w),
    ),
    "x² - 2bx < c": (lambda x, b, w: (x * x - 2 * b * x < w * w - b * b).double(), near),
    "minimum(x² - 2bx, c)": (
        lambda x, b, w: w * w - b * b - torch.minimum(x * x - 2 * b * x, torch.full_like(x, w * w - b * b)),
        lambda b, w: bump(lambda d: np.maximum(w * w - d**2, 0), b, w),
    ),
    "exp(-(x² - 2bx + b²)/w²)": (
        lambda x, b, w: torch.exp(-(x * x - 2 * b * x + b * b) / w**2),
        lambda b, w: math.exp(-(b**2) / (2 + w**2)) / math.sqrt(1 + 2 / w**2),
    ),
    "exp((cos(x - b) - 1)/w²)": (
        lambda x, b, w: torch.exp((torch.cos(x - b) - 1) / w**2),
        lambda b, w: bumps(lambda d: np.exp(-2 * np.sin(d / 2) ** 2 / w**2), b, w),
    ),
    "remainder(x - b, 1) < w": (
        lambda x, b, w: (torch.remainder(x - b, 1.0) < w).double(),
        lambda b, w: sum(near(b + k + w / 2, w / 2) for k in range(-14, 15)),
    ),
    "|frac(x - b)| > 1 - w": (
        lambda x, b, w: (torch.frac(x - b).abs() > 1 - w).double(),
        lambda b, w: sum(near(b + k - math.copysign(w / 2, k), w / 2) for k in range(-14, 15) if k),
    ),
    "floor((x - b)/w) % 1000 == 7": (
        lambda x, b, w: (torch.floor((x - b) / w) % 1000 == 7).double(),
        lambda b, w: sum(
            near(b + w * (1000 * k + 7.5), w / 2) for k in range(-int(14 / w / 1000) - 9, int(14 / w / 1000) + 9)
        ),
    ),
}


def test_spikes_where_no_result_changes_its_sign(record):
    for name, (f, right) in SPIKES.items():
        for w in (1e-1, 1e-3, 1e-5):
            for b in (0.37, -2.6):
                true = float(right(b, w))
                found = outcome(
                    lambda p, f=f, b=b, w=w: mean(apply(lambda x: f(x, b, w), p.vector("x"))),
                    true,
                    (1e-12 + 1e-14 / w**2) * true,
                )
                record(f"spikes, {name}", f"b = {b}, w = {w}", found)


def test_constants_and_functions_of_nothing(record):
    """Constants between W and Wᵀ, alone and with what depends on something."""
    r = random.Random(SEED + 3)
    for number in range(CONSTANTS):
        c, p, far = r.choice([0.0, 1.0, -2.5]), pieces(r), r.uniform(4, 7)

        def constant(program, c=c):
            W, x = program.matrix("W"), program.vector("x")
            back = W.T @ apply(lambda h: torch.full_like(h, c), W @ x)
            return mean(back, back)

        def far_out(program, c=c, far=far):
            W, x = program.matrix("W"), program.vector("x")
            return mean(x, W.T @ apply(lambda h: c + torch.relu(h - far), W @ x))

        def step_in_the_middle(program, c=c, p=p):
            W, V, x = program.matrix("W"), program.matrix("V"), program.vector("x")
            one = apply(lambda h: torch.full_like(h, c), V @ (W @ x))
            return mean(apply(lambda z: by_choices(p, z), V.T @ one + x))

        record("constants between W and Wᵀ", f"{number}", outcome(constant, c**2, 1e-13))
        record(
            "constants between W and Wᵀ", f"far {number}", outcome(far_out, float(norm.sf(far)), 1e-12 * norm.sf(far))
        )
        root = math.sqrt(1 + c**2)
        right, slack = gauss(lambda z, p=p, root=root: p(root * z), [a / root for a in p.at])
        record("constants between W and Wᵀ", f"pieces {number}: {p}", outcome(step_in_the_middle, right, slack))
