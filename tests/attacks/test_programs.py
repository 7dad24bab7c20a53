"""Attacks on `Program.limit()`: functions whose averages are known, and functions that are none."""

import math

import torch
from scipy.stats import norm

from mupi.programs import Program, apply, mean

# Torch functions of lines are lines, which torch's annotations do not know.
# pyright: reportArgumentType=false


def relu_mean(b, σ):
    """E relu(σz − b)."""
    return σ * norm.pdf(b / σ) - b * norm.sf(b / σ)


FUNCTIONS = {
    "relu(x - b)": (lambda x, b: torch.relu(x - b), relu_mean),
    "1(x > b)": (lambda x, b: (x > b).double(), lambda b, σ: norm.sf(b / σ)),
    "1(b < x < b + .01)": (
        lambda x, b: ((x > b) & (x < b + 0.01)).double(),
        lambda b, σ: norm.cdf((b + 0.01) / σ) - norm.cdf(b / σ),
    ),
    "clamp(x, b, b + 1)": (
        lambda x, b: torch.clamp(x, b, b + 1),
        lambda b, σ: b + relu_mean(b, σ) - relu_mean(b + 1, σ),
    ),
    "ndtr(1e4 (x - b))": (
        lambda x, b: torch.special.ndtr(1e4 * (x - b)),
        lambda b, σ: norm.sf(b / math.hypot(σ, 1e-4)),
    ),
    "exp(-(1e3 (x - b))²)": (
        lambda x, b: torch.exp(-((1e3 * (x - b)) ** 2)),
        lambda b, σ: math.exp(-(b**2) / (2 * σ**2 + 1e-6)) / math.sqrt(1 + 2e6 * σ**2),
    ),
}


def outcome(write, right):
    """Of a program that ends in one scalar."""
    p = Program()
    try:
        s = write(p)
        values = p.limit()
        got, bound = values[s].item(), values.error(s).item()
    except ValueError as error:
        return "refused" if "\n" not in str(error) and len(str(error)) < 500 else "traceback"
    except Exception:
        return "traceback"
    return "right" if abs(got - right) <= bound + 1e-12 * abs(right) + 1e-15 else "silent"


def test_functions_that_break_anywhere(record):
    for name, (f, right) in FUNCTIONS.items():
        for σ in (0.01, 0.1, 1.0, 10.0, 100.0):
            for b in (-2.0, -0.3, 0.0015, 0.5, 2.0):
                found = outcome(lambda p, f=f, b=b, σ=σ: mean(apply(f, p.vector("x", σ**2), b)), float(right(b, σ)))
                record("closed form of a function that breaks", f"{name}, b = {b}, σ = {σ}", found)


def test_constants_between_a_matrix_and_its_transpose(record):
    def write(p, c):
        W, x = p.matrix("W"), p.vector("x")
        back = W.T @ apply(lambda h: torch.full_like(h, c), W @ x)
        return mean(back, back)

    for c in (0.0, 1.0, -2.5):
        record("constants", f"{c}", outcome(lambda p, c=c: write(p, c), c**2))


NONE = {
    "dropout": lambda x: torch.nn.functional.dropout(x, 0.5),
    "rare dropout": lambda x: torch.nn.functional.dropout(x, 1e-3),
    "cumulative sums": lambda x: x.cumsum(0),
    "position": lambda x: x * torch.arange(len(x))[:, None],
    "centred": lambda x: x - x.mean(0),
    "sorted": lambda x: x.sort(0).values,
    "conditions": lambda x: x > 0,
    "integers": lambda x: (x > 0).int(),
    "NaN": torch.log,
    "a hole of NaN": lambda x: torch.where(x.abs() < 1e-4, float("nan"), x),
    "infinite beyond 3": lambda x: torch.where(x > 3, float("inf"), x),
    "1/x": lambda x: 1 / x,
    "a double pole": lambda x: 1 / (x - 0.3) ** 2,
    "exp(x²)": lambda x: torch.exp(x * x),
    "fast": lambda x: torch.sin(1e7 * x) ** 2,
}


def test_what_is_no_function_with_a_mean_is_refused(record):
    for name, f in NONE.items():
        right = 0.5 if name == "fast" else math.nan
        record(
            "no function of coordinates, or no mean", name, outcome(lambda p, f=f: mean(apply(f, p.vector("x"))), right)
        )


def test_errors_of_what_is_computed_from_moments(record):
    for size in (1.0, 1e6, 1e12):
        right = size * relu_mean(0.7, 1.0)
        write = lambda p, size=size: size * mean(torch.relu(p.vector("x") - 0.7))  # noqa: E731
        record("error of a multiple", f"{size:g}", outcome(write, right))
