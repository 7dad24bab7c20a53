"""Variances, likelihoods and trained ensembles in float32: right to a tenth of a deviation, or refused in a line."""

from collections.abc import Callable
from functools import partial
from itertools import product
from math import inf

import pytest
import torch

from cases import randn
from mupi import NNGP, NTK, Erf, ReLU
from mupi.kernels import CrossEntropyFlow, DirichletClassification, KernelDynamics, KernelRegression

KERNELS = {
    "nngp": NNGP(2, ReLU(), 1.0, 0.5),
    "ntk": NTK(2, ReLU(), 1.0, 0.5),
    "ntk of erf": NTK(2, Erf(), 1.0, 0.5),
    "smooth": lambda a, b: torch.exp(-torch.cdist(a, b).square() / 8),
    "linear": lambda a, b: a @ b.T,
}
DIMENSIONS = (1, 3, 30)
# A kernel of distances, whose kink float32 knows to √eps.
IN_TRAINING = KERNELS | {"laplace": lambda a, b: torch.exp(-torch.cdist(a, b) / 2)}


def data(n: int, d: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Inputs in float32, and targets in float64."""
    X = randn(n, d, dtype=torch.float32)
    return X, torch.sin(X.double().sum(1))


def inputs(X: torch.Tensor) -> dict[str, torch.Tensor]:
    """New ones, those of training, and some near to them."""
    near = X[:8] + 1e-3 * randn(8, X.shape[1], seed=2, dtype=torch.float32)
    return {"new": randn(20, X.shape[1], seed=1, dtype=torch.float32), "training": X[:8], "near": near}


def compared(single: Callable[[], object], double: Callable[[], object], right: Callable) -> str | None:
    """What float32 came to, where float64 has an answer."""
    try:
        exact = double()
    except ValueError:
        return None
    try:
        value = single()
    except ValueError as error:
        return "refused" if str(error).startswith("`") and "\n" not in str(error) else "traceback"
    return "right" if right(value, exact) else "silent"


def single_only(kernel: Callable) -> Callable:
    """As a network with parameters in float32."""

    def single(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        if a.dtype != torch.float32:
            raise RuntimeError("expected float32")
        return kernel(a, b)

    return single


def deviations_agree(value: torch.Tensor, exact: torch.Tensor) -> bool:
    return bool(((value - exact).abs() <= 0.1 * exact).all())


def means_agree(within: float, value: torch.Tensor, exact: torch.Tensor) -> bool:
    return float((value - exact).square().mean().sqrt()) <= within


def after_momentum(dynamics: KernelDynamics, x: torch.Tensor, t: float) -> torch.Tensor:
    """Deviations from covariances."""
    lr, steps = dynamics.largest_lr / 2, min(t, 3000)
    return dynamics.descend(x, lr, steps, momentum=0.9, return_cov=True)[1].diagonal().clamp_min(0).sqrt()


@pytest.mark.parametrize("name", KERNELS)
def test_posteriors_in_float32(name, record):
    kernel = KERNELS[name]
    for d, n, ridge in product(DIMENSIONS, (50, 150), (1e-1, 1e-3, 1e-5, 1e-6)):
        X, Y = data(n, d)
        try:
            single = KernelRegression(kernel, ridge).fit(X, Y.float())
        except ValueError:
            continue
        double = KernelRegression(kernel, ridge).fit(X.double(), Y)
        asked: dict[str, tuple[Callable, Callable]] = {
            "leave one out": (lambda r, _: r.leave_one_out()[1], deviations_agree),
            "likelihood": (lambda r, _: r.log_marginal_likelihood(), lambda a, b: abs(a - b) <= 0.5 + 0.01 * abs(b)),
        }
        within = 0.05 * float(Y.square().mean().sqrt())
        for place in inputs(X):
            asked[f"mean, {place}"] = (lambda r, x: r.predict(x), partial(means_agree, within))
            asked[f"std, {place}"] = (lambda r, x: r.predict(x, return_std=True)[1], deviations_agree)
            asked[f"cov, {place}"] = (
                lambda r, x: r.predict(x, return_cov=True)[1].diagonal().clamp_min(0).sqrt(),
                deviations_agree,
            )
            asked[f"sample, {place}"] = (
                lambda r, x: r.sample(x, 400, torch.Generator().manual_seed(0)).std(0),
                lambda a, b: bool(((a - b).abs() <= 0.5 * b).all()),
            )
        for question, (ask, right) in asked.items():
            x = inputs(X).get(question.rpartition(" ")[2], X)
            outcome = compared(lambda: ask(single, x), lambda: ask(double, x.double()), right)  # noqa: B023
            if outcome:
                record(f"posterior: {question.split(',')[0]}", f"{name} d={d} n={n} {ridge:g} {question}", outcome)


@pytest.mark.parametrize("name", IN_TRAINING)
def test_ensembles_in_float32(name, record):
    kernel, initial = IN_TRAINING[name], NNGP(2, ReLU(), 1.0, 0.5)
    for d, n in product(DIMENSIONS, (50, 150)):
        X, Y = data(n, d)
        single = KernelDynamics(kernel, initial).fit(X, Y.float())
        alone = KernelDynamics(single_only(kernel), initial).fit(X, Y.float())
        double = KernelDynamics(kernel, initial).fit(X.double(), Y)
        within = 0.05 * float(Y.square().mean().sqrt())
        questions: dict[str, tuple[Callable, Callable]] = {
            "mean": (lambda r, x, t: r.flow(x, t), partial(means_agree, within)),
            "std": (lambda r, x, t: r.flow(x, t, return_std=True)[1], deviations_agree),
            "cov, momentum": (after_momentum, deviations_agree),
        }
        for (place, x), t in product(inputs(X).items(), (0.0, 1e3, 1e5, inf)):
            for question, (ask, right) in questions.items():
                for how, dynamics in {"": single, ", kernel in float32 only": alone}.items():
                    outcome = compared(lambda: ask(dynamics, x, t), lambda: ask(double, x.double(), t), right)  # noqa: B023
                    if outcome:
                        record(f"ensemble: {question}{how}", f"{name} d={d} n={n} t={t:g} {place}", outcome)


@pytest.mark.parametrize("name", KERNELS)
def test_classes_in_float32(name, record):
    for d in DIMENSIONS:
        X, Y = data(40, d)
        labels = (Y > 0).long()
        for scale in (None, 1.0, 1e4):
            try:
                single = DirichletClassification(KERNELS[name], scale=scale).fit(X, labels)
            except ValueError:
                continue
            double = DirichletClassification(KERNELS[name], scale=scale or single.scale).fit(X.double(), labels)
            for place, x in inputs(X).items():
                outcome = compared(
                    lambda: single.predict(x)[1], lambda: double.predict(x.double())[1], deviations_agree  # noqa: B023
                )  # fmt: skip
                if outcome:
                    record("Dirichlet: std", f"{name} d={d} scale={scale} {place}", outcome)
        times = [1.0, 1e3]
        single = CrossEntropyFlow(KERNELS[name]).fit(X, labels, times)
        double = CrossEntropyFlow(KERNELS[name]).fit(X.double(), labels, times)
        for place, x in inputs(X).items():
            outcome = compared(
                lambda: single.predict(x), lambda: double.predict(x.double()),  # noqa: B023
                lambda a, b: bool(((a.softmax(-1) - b.softmax(-1)).abs() <= 0.01).all()),
            )  # fmt: skip
            if outcome:
                record("cross-entropy flow", f"{name} d={d} {place}", outcome)
