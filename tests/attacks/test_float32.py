"""Sizes at which closed forms lose their digits: moments against hundreds of digits, and the kernels of them."""

import math
from itertools import product

import pytest
import torch
from mpmath import mp, mpf

from mupi import GELU, NNGP, NTK, Abs, Activation, Cos, Erf, LeakyReLU, ReLU, Sin, Tanh
from mupi.kernels import ConvNNGP, ConvNTK
from oracles.gaussian_digits import DIGITS, exact_moments, moment_and_slack, triple_within
from oracles.hermite_digits import by_quadrature, hermite_slope_and_slacks

DTYPES = (torch.float32, torch.float64)
SIZES = (1e-30, 1e-3, 1.0, 60.0, 9e5, 1e30)
SCALES = (1e-30, 1e-15, 1e-3, 0.05, 0.7, 3.0, 9.0, 30.0, 1e6, 1e15, 1e30)
CORRELATIONS = (0.0, 0.5, -(1 - 1e-7), 1.0, -1.0)
CLOSED: tuple[Activation, ...] = (ReLU(), LeakyReLU(0.1), Abs(), Erf(), GELU(), Sin(), Cos())


def close(value: float, exact, slack) -> str:
    """The outcome of a number that came out without a word."""
    return "right" if math.isfinite(value) and abs(value - exact) <= slack else "silent"


@pytest.mark.parametrize("φ", [*CLOSED, Tanh()], ids=lambda φ: type(φ).__name__)
def test_moments_at_any_variance(φ, record):
    exact = exact_moments(φ)
    # Tanh's oracle sums 576 terms, and its 12 nodes for float32 are right to 1e-8 of erf's values.
    slow = isinstance(φ, Tanh)
    sizes = [(1e-30, 1e-30), (1.0, 1e10)] if slow else [(u, v) for u, v in product(SIZES, SIZES) if u <= v]
    correlations = (0.5, 1.0) if slow else CORRELATIONS
    for dtype, (var_u, var_v), q in product(DTYPES, sizes, correlations):
        info = torch.finfo(dtype)
        triple = triple_within(var_u, q, var_v, dtype)
        arguments = [torch.tensor([t], dtype=dtype) for t in triple]
        for name, moment in zip(("dual_00", "dual_11", "dual_02"), exact, strict=True):
            right, slack = moment_and_slack(moment, triple, info.eps)
            if abs(right) > info.max:
                continue
            value = float(getattr(φ, name)(*arguments))
            record(
                "moments in float32 and float64",
                f"{φ} {name} {triple} {dtype}",
                close(value, right, slack + 4 * info.tiny),
            )


def slope_of(value: torch.Tensor, s: torch.Tensor) -> float:
    """The derivative, 0 of a constant."""
    return float(torch.autograd.grad((value + 0 * s).sum(), s)[0])


@pytest.mark.parametrize("φ", CLOSED, ids=lambda φ: type(φ).__name__)
def test_hermite_coefficients_at_any_scale(φ, record):
    for dtype, scale, degree in product(DTYPES, SCALES, range(7)):
        info = torch.finfo(dtype)
        s = torch.tensor([scale], dtype=dtype, requires_grad=True)
        value = φ.hermite(degree, s)
        exact, slacks = hermite_slope_and_slacks(φ, degree, float(s.detach()), info.eps)
        got = (float(value.detach()), slope_of(value, s))
        for kind, number, right, slack in zip(("value", "slope"), got, exact, slacks, strict=True):
            if abs(right) <= info.max:
                outcome = close(number, right, slack + 4 * info.tiny)
                record("Hermite coefficients", f"{φ} {degree} {scale} {kind} {dtype}", outcome)


def test_hermite_coefficients_of_tanh(record):
    # Its 24 nodes are right to 1e-14 of erf's values.
    for scale, degree in product((0.05, 3.0, 1e6), (1, 3, 5)):
        exact = by_quadrature(mp.tanh, lambda x: mp.sech(x) ** 2 if abs(x) < 1e6 else mpf(0), degree, scale)
        s = torch.tensor([scale], dtype=torch.float64, requires_grad=True)
        value = Tanh().hermite(degree, s)
        for kind, number, right in zip(
            ("value", "slope"), (float(value.detach()), slope_of(value, s)), exact, strict=True
        ):
            outcome = close(number, right, 1e-12 * abs(right))
            record("Hermite coefficients", f"Tanh {degree} {scale} {kind}", outcome)


def kernels():
    """Every kernel of every activation."""
    for φ in CLOSED:
        for kernel in (NNGP, NTK):
            yield f"{kernel.__name__} {φ}", kernel(2, φ, 1.0, 0.1), 6
        for conv in (ConvNNGP, ConvNTK):
            yield f"{conv.__name__} {φ}", conv((1, 2, 3), 2, φ, True, sigma_w=1.0, sigma_b=0.1), 6


@pytest.mark.parametrize("scale", [1e-25, 1e-10, 1e-4, 1.0, 8.0, 30.0, 300.0, 1e3, 1e5, 1e10, 1e19, 1e25])
def test_kernels_of_inputs_of_any_size(scale, record):
    x = torch.randn(4, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * scale
    # The last three: equal to the first, and parallel but for the bias.
    x = torch.cat([x, x[:1], -x[:1], 3 * x[:1]]).float()
    for name, kernel, _ in kernels():
        try:
            value, right = kernel(x).double(), kernel(x.double())
        except ValueError as error:
            record("kernels in float32", f"{name} {scale}", "refused" if "\n" not in str(error) else "traceback")
            continue
        # An inner product of single precision leaves angles of √eps to a kink.
        root = right.diagonal().sqrt()
        off = (value - right).abs() / (root[:, None] * root)
        record("kernels in float32", f"{name} {scale}", "right" if bool((off < 3e-3).all()) else "silent")


@pytest.mark.parametrize("φ", CLOSED, ids=lambda φ: type(φ).__name__)
def test_angles_beside_biases_in_digits(φ, record):
    # In digits that resolve all angles: float64 does not, from sizes of 1e6 on.
    shallow = product((1e-4, 1.0, 8.0, 30.0, 1e3, 1e5, 1e6, 1e8, 1e12), (1,), (1.0,), (0.0, 0.1, 1.0))
    deep = product((1.0,), (2,), (1.0, 1e3, 1e8), (0.1, 1e3))
    for dtype, (scale, depth, σ_w, σ_b) in product(DTYPES, (*shallow, *deep)):
        x = torch.tensor([3.0, -1.0, 2.0], dtype=dtype) * scale
        nearly = x * (1 + 16 * torch.finfo(dtype).eps)
        inputs = torch.stack([x, x, -x, 3 * x, nearly, x.flip(0)])
        for kernel, right in zip((NNGP, NTK), in_digits(φ, inputs, depth, σ_w, σ_b), strict=True):
            case = f"{kernel.__name__} {φ} {scale} {depth} {σ_w} {σ_b} {dtype}"
            try:
                value = kernel(depth, φ, σ_w, σ_b)(inputs)
            except ValueError as error:
                record("angles beside biases", case, "refused" if "\n" not in str(error) else "traceback")
                continue
            root = [mp.sqrt(right[i][i]) for i in range(6)]
            off = max(abs(float(value[i, j]) - right[i][j]) / (root[i] * root[j]) for i in range(6) for j in range(6))
            record("angles beside biases", case, "right" if off < 3e-3 else "silent")


def in_digits(φ, inputs, depth, σ_w, σ_b):
    """NNGP and NTK of exactly these inputs."""
    moment, slope, _ = exact_moments(φ)
    with mp.workdps(DIGITS):
        rows, w, b = [[mpf(float(t)) for t in row] for row in inputs], mpf(σ_w) ** 2, mpf(σ_b) ** 2
        pairs = [(i, j) for i in range(len(rows)) for j in range(i + 1)]
        k = {(i, j): w * sum(s * t for s, t in zip(rows[i], rows[j], strict=True)) / 3 + b for i, j in pairs}
        tangent = k
        for _ in range(depth):
            arguments = {(i, j): (k[i, i], k[i, j], k[j, j]) for i, j in pairs}
            k = {pair: w * moment(*arguments[pair]) + b for pair in pairs}
            tangent = {pair: k[pair] + w * tangent[pair] * slope(*arguments[pair]) for pair in pairs}
        return [[[m[max(i, j), min(i, j)] for j in range(6)] for i in range(6)] for m in (k, tangent)]


def test_second_derivatives_at_equal_inputs(record):
    for name, kernel, d in kernels():
        if "Cos" in name or "Tanh" in name:
            continue
        for dtype in DTYPES:
            x = torch.randn(d, generator=torch.Generator().manual_seed(1)).to(dtype)
            case = f"{name} {dtype}"

            def entry(a, b, kernel=kernel):
                return kernel(a[None], b[None])[0, 0]

            def own(a, kernel=kernel):
                return kernel.diagonal(a[None])[0]

            try:
                pair = sum(h for row in torch.autograd.functional.hessian(entry, (x, x.clone())) for h in row)
                along = torch.autograd.functional.hessian(own, x)
            except (RuntimeError, TypeError):
                record("second derivatives", case, "traceback")
                continue
            # Both inputs moved alike: the second derivative of k(x, x), which has no cusp.
            size = float(along.abs().max())
            right = bool((pair - along).abs().max() <= 3e-4 * size) and size > 0
            record("second derivatives", case, "right" if right else "silent")


@pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")
def test_function_transforms(record):
    x = torch.randn(3, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    for name, kernel, _ in kernels():
        if not any(φ in name for φ in ("(Re", " ReLU", "GELU", "Erf", "Sin")):
            continue

        def total(a, kernel=kernel):
            return kernel(a[None], x).sum()

        compare_transforms(name, total, x, record)


def compare_transforms(name, total, x, record):
    """Each transform against plain autograd."""
    gradients = torch.stack([torch.autograd.functional.jacobian(total, a) for a in x])
    second = torch.stack([torch.autograd.functional.hessian(total, a) for a in x])
    cases = {
        "grad": lambda: torch.stack([torch.func.grad(total)(a) for a in x]) - gradients,
        "vmap of grad": lambda: torch.func.vmap(torch.func.grad(total))(x) - gradients,
        "jacrev": lambda: torch.func.jacrev(total)(x[0]) - gradients[0],
        "jacfwd": lambda: torch.func.jacfwd(total)(x[0]) - gradients[0],
        "hessian": lambda: torch.func.vmap(torch.func.hessian(total))(x) - second,
    }
    for transform, difference in cases.items():
        try:
            outcome = "right" if float(difference().abs().max()) < 1e-12 * float(second.abs().max() + 1) else "silent"
        except (RuntimeError, NotImplementedError, TypeError):
            outcome = "traceback"
        record("torch.func of kernels", f"{name} {transform}", outcome)
