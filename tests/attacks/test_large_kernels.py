"""Kernel regression beyond a factor: solvers, features and batches under inputs that they are not made for."""

# `outcome` calls at once what it gets.
# ruff: noqa: B008, B023, E501

from collections.abc import Callable
from itertools import product

import jaxtyping
import numpy as np
import pytest
import torch

import mupi
from cases import randn, seeded
from mupi.architecture.zoo import cnn, gpt, perceptron
from mupi.kernels import FeatureRegression, KernelRegression

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(autouse=True)
def _as_users_call_it():
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


def outcome(call: Callable, right: Callable[[object], bool]) -> str:
    """What a call came to: a refusal is one line that begins with what it names."""
    try:
        value = call()
    except (ValueError, RuntimeError) as error:
        return "refused" if str(error).startswith("`") and "\n" not in str(error) else "traceback"
    except Exception:
        return "traceback"
    return "right" if right(value) else "silent"


def near(expected: torch.Tensor, off: float) -> Callable[[object], bool]:
    def check(value: object) -> bool:
        if not isinstance(value, torch.Tensor) or value.shape != expected.shape:
            return False
        return bool((value.double() - expected).norm() <= off * expected.norm())

    return check


def never(_: object) -> bool:
    return False


def exponential(a, b):
    """Each entry rounded once, which is what `rounding` is about."""
    return torch.exp(a.double() @ b.double().T / a.shape[1]).to(a)


def smooth(a, b):
    return torch.exp(-torch.cdist(a, b).square() / 8)


def test_ridges_and_dtypes_under_iterations(record):
    kind = "large kernels: ridge and dtype under conjugate gradients"
    kernels = {"exp": exponential, "smooth": smooth}
    for (name, kernel), d, rank in product(kernels.items(), (1, 3), (0, 30)):
        X, Xt = randn(60, d), randn(20, d, seed=1)
        Y = torch.sin(2 * X.sum(1)) + 0.1 * randn(60, seed=2)
        for ridge, dtype in product((1.0, 1e-3, 1e-6, 1e-10), (torch.float64, torch.float32)):
            expected = KernelRegression(kernel, ridge).fit(X, Y).predict(Xt)
            solver = mupi.kernels.ConjugateGradients(1e-6, rank, iterations=200)
            r = KernelRegression(kernel, ridge, solver)

            def fit(r=r, X=X.to(dtype), Y=Y, Xt=Xt.to(dtype)):
                return r.fit(X, Y).predict(Xt)

            def right(value, r=r, expected=expected, ridge=ridge):
                # What float32 rounds is said by `rounding`, as with a factor.
                return near(expected, 3 * (r.residual + r.rounding) + 1e-3)(value)

            record(kind, f"{name}, d={d}, rank={rank}, {ridge:g}, {dtype}", outcome(fit, right))


def test_deviations_under_iterations(record):
    kind = "large kernels: deviations under conjugate gradients"
    for kernel, ridge, dtype in product((exponential, smooth), (1.0, 1e-3, 1e-6, 1e-9), (torch.float64, torch.float32)):
        X, Xt = randn(80, 2), torch.cat([randn(5, 2, seed=1), randn(80, 2)[:5]])
        Y = X[:, 0]
        expected = KernelRegression(kernel, ridge).fit(X, Y)
        try:
            _, std = expected.predict(Xt, return_std=True)
        except ValueError:
            std = torch.full((10,), torch.nan).double()
        solver = mupi.kernels.ConjugateGradients(1e-6, 20, iterations=200)

        def deviations(kernel=kernel, ridge=ridge, solver=solver, X=X.to(dtype), Xt=Xt.to(dtype), Y=Y):
            return KernelRegression(kernel, ridge, solver).fit(X, Y).predict(Xt, return_std=True)[1]

        def right(value, std=std):
            return bool(((value.double() - std).abs() <= 0.15 * std + 1e-5).all())

        record(kind, f"{kernel.__name__}, {ridge:g}, {dtype}", outcome(deviations, right))


def test_kernels_that_are_none(record):
    kind = "large kernels: kernels that are none"
    X, Y = randn(60, 3), randn(60, seed=1)
    bad = {
        "asymmetric": lambda a, b: a @ (b + 1).T + 5, "negative": lambda a, b: -(a @ b.T) - 1,
        "indefinite": lambda a, b: 1 - torch.cdist(a, b), "nan": lambda a, b: a @ b.T * torch.nan,
        "shape": lambda a, b: a @ b.T[:, :-1], "NumPy": lambda a, b: (a @ b.T).numpy(), "zero": lambda a, b: 0 * (a @ b.T),
        "integers": lambda a, b: (a @ b.T).long(),
    }  # fmt: skip
    for (name, kernel), rank in product(bad.items(), (0, 10)):
        for tile in (16, 2048):
            solver = mupi.kernels.ConjugateGradients(1e-6, rank, tile=tile)
            record(kind, f"{name}, {rank}, {tile}", outcome(
                lambda: KernelRegression(kernel, 1e-3, solver).fit(X, Y).predict(X), never))  # fmt: skip
        record(kind, f"{name}, features, {rank}", outcome(
            lambda: mupi.kernels.NystromFeatures(kernel, X, rank + 20)(X), never))  # fmt: skip


def test_inputs_that_are_few_equal_or_large(record):
    kind = "large kernels: few, equal and large inputs"
    inputs = {
        "one": randn(1, 3), "two": randn(2, 3), "equal": randn(1, 3).expand(30, 3), "pairs": randn(15, 3).repeat(2, 1),
        "large": 1e3 * randn(30, 3), "tiny": 1e-5 * randn(30, 3), "outlier": torch.cat([randn(29, 3), 50 * randn(1, 3)]),
    }  # fmt: skip
    for (name, X), dtype in product(inputs.items(), (torch.float64, torch.float32)):

        def kernel(a, b):
            return 1 + a @ b.T

        Y, x = X.sum(1) + 1, X.to(dtype)
        expected = KernelRegression(kernel, 1e-3).fit(X, Y).predict(X)
        for rank in (0, 3, 500):
            solver = mupi.kernels.ConjugateGradients(1e-7, rank)
            record(kind, f"{name}, {dtype}, {rank}", outcome(
                lambda: KernelRegression(kernel, 1e-3, solver).fit(x, Y).predict(x), near(expected, 1e-2)))  # fmt: skip
        for landmarks in (mupi.kernels.PivotedCholesky(), mupi.kernels.UniformLandmarks()):
            record(kind, f"{name}, {dtype}, {landmarks}", outcome(
                lambda: mupi.kernels.NystromFeatures(kernel, x, 500, landmarks)(x), lambda psi: near(
                    kernel(X, X), 1e-2)(psi @ psi.T)))  # fmt: skip


def test_batches_of_every_kind(record):
    kind = "large kernels: batches"
    X, Y = randn(40, 3), randn(40, 2, seed=1)
    expected = FeatureRegression(0.1).fit(X, Y).predict(X)
    whole = near(expected, 1e-9)

    def fit(batches, **options):
        return FeatureRegression(0.1).fit_batches(batches, **options).predict(X)

    def endless():
        yield X, Y
        raise RuntimeError("`batches` ended early")

    good = {
        "list": [(X[:7], Y[:7]), (X[7:], Y[7:])], "generator": ((X[i : i + 9], Y[i : i + 9]) for i in range(0, 40, 9)),
        "NumPy": [(X.numpy(), Y.numpy())], "one by one": list(zip(X.split(1), Y.split(1), strict=True)),
        "Fortran order": [(np.asfortranarray(X.numpy()), Y)], "reversed": [(X.numpy()[::-1], Y.numpy()[::-1])],
    }  # fmt: skip
    for name, batches in good.items():
        record(kind, name, outcome(lambda: fit(batches), whole))
    labels = torch.arange(40) % 3
    by_class = FeatureRegression(0.1).fit(X, labels).predict(X)
    record(
        kind,
        "labels",
        outcome(lambda: fit([(X[:2], labels[:2]), (X[2:], labels[2:])], classes=3), near(by_class, 1e-9)),
    )
    spent = iter([(X, Y)])
    list(spent)
    bad = {
        "none": [], "spent": spent, "no pairs": [X], "three": [(X, Y, Y)], "rows": [(X, Y[:-1])], "width": [(X, Y), (X[:, :2], Y)],
        "dtype": [(X, Y), (X.float(), Y)], "outputs": [(X, Y), (X, Y[:, :1])], "nan": [(X, Y), (X * torch.nan, Y)],
        "targets nan": [(X, Y * torch.inf)], "labels": [(X, labels)], "bools": [(X, labels > 1)], "integers": [(X.long(), Y)],
        "text": [(np.array([["a"] * 3] * 40), Y)], "empty": [(X[:0], Y[:0])], "raises": endless(), "None": [(X, None)],
    }  # fmt: skip
    for name, batches in bad.items():
        record(kind, name, outcome(lambda: fit(batches), never))


def test_random_features_of_architectures(record):
    kind = "large kernels: random features"
    arch, x = perceptron(3, 1), randn(5, 3, dtype=torch.float32)
    exact = arch.nngp(1.2, 0.4)(x, x)

    def kernel(psi):
        return near(exact.double(), 0.3)(psi @ psi.T)

    for width in (4000, 4000.0, "4000", 0, -1, True, np.int64(4000)):
        record(kind, f"width {width!r}", outcome(
            lambda: arch.random_features(width, 1.2, 0.4, generator=seeded())(x), kernel))  # fmt: skip
    for σ in (-1.0, float("nan"), float("inf"), {"hidden": 1.0}, "1", None, True):
        record(kind, f"sigma_w {σ}", outcome(lambda: arch.random_features(64, σ)(x), lambda _: σ is None))
    for output in (None, "each", "mean", 0, 3, -3, -4, True, 1.0):
        tokens = torch.zeros(2, 3, dtype=torch.long)
        record(kind, f"output {output}", outcome(
            lambda: gpt(5, 3, depth=1).random_features(8, output=output)(tokens), lambda psi: psi.shape == (2, 8)))  # fmt: skip
    for wrong in (x[:, :2], x.double(), x * torch.nan, x.long(), x[0, :2], x.numpy()):
        record(kind, f"inputs {wrong.dtype} {wrong.shape}", outcome(
            lambda: arch.random_features(8)(wrong), lambda psi: isinstance(wrong, np.ndarray)))  # fmt: skip
    images = randn(2, 3, 4, 4, dtype=torch.float32)
    features = cnn((3, 4, 4), 1, depth=1).random_features(8, generator=seeded())
    record(kind, "images", outcome(lambda: features(images), near(features(images.flatten(1)).double(), 1e-6)))
