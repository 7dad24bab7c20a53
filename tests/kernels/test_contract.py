"""What every kernel and every regression does with what it cannot use: one line that names the argument."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import mupi
from assertions import assert_close
from cases import randn, seeded
from mupi import NNGP, NTK, ConvNNGP, ConvNTK, ReLU
from mupi.architecture.zoo import perceptron
from mupi.kernels import (
    CosineKernel,
    CrossEntropyFlow,
    DirichletClassification,
    EmpiricalNNGP,
    EmpiricalNTK,
    FeatureRegression,
    KernelDynamics,
    KernelRegression,
    Linearized,
    centered_alignment,
    maximize_likelihood,
)

X, Y, LABELS = randn(6, 3), randn(6, seed=1), torch.arange(6) % 2
KERNEL = NNGP(1, ReLU(), 1.0, 0.1)


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 2)).double()


def of_inputs() -> dict[str, Callable]:
    """Everything that takes inputs, as a function of them."""
    arch, net = perceptron(3, 1, depth=1), network()
    kernels = {
        "NNGP": NNGP(1, ReLU()),
        "NTK": NTK(1, ReLU()),
        "ConvNNGP": ConvNNGP((1, 1, 3), 1, ReLU(), True),
        "ConvNTK": ConvNTK((1, 1, 3), 1, ReLU(), True),
        "arch.nngp": arch.nngp(),
        "arch.ntk": arch.ntk(),
        "EmpiricalNTK": EmpiricalNTK(net),
        "EmpiricalNTK of atoms": EmpiricalNTK(
            mupi.PiMLP(3, 2, 4, features=mupi.Atoms(), generator=seeded(), dtype=torch.float64)
        ),
        "EmpiricalNNGP": EmpiricalNNGP(net, net[2]),
        "CosineKernel": CosineKernel(KERNEL, KERNEL.diagonal),
    }
    fits = {
        "KernelRegression": lambda x: KernelRegression(KERNEL, 0.1).fit(x, Y),
        "KernelDynamics": lambda x: KernelDynamics(KERNEL, KERNEL).fit(x, Y),
        "CrossEntropyFlow": lambda x: CrossEntropyFlow(KERNEL).fit(x, LABELS, [1.0]),
        "DirichletClassification": lambda x: DirichletClassification(KERNEL, scale=1.0).fit(x, LABELS),
        "FeatureRegression": lambda x: FeatureRegression(0.1).fit(x, Y),
        "maximize_likelihood": lambda x: maximize_likelihood(lambda s: NNGP(1, ReLU(), s), x, Y, s=1.0),
    }
    fitted = {name: fit(X) for name, fit in fits.items()}
    scored = KernelRegression(KERNEL, 0.1).fit(X, LABELS)
    asked = {
        "KernelRegression.predict": fitted["KernelRegression"].predict,
        "KernelRegression.predict std": lambda x: fitted["KernelRegression"].predict(x, return_std=True),
        "KernelRegression.sample": fitted["KernelRegression"].sample,
        "KernelRegression.score": lambda x: scored.score(x, LABELS),
        "KernelDynamics.flow": lambda x: fitted["KernelDynamics"].flow(x, 1.0, return_cov=True),
        "KernelDynamics.descend": lambda x: fitted["KernelDynamics"].descend(x, 0.1, 3),
        "CrossEntropyFlow.predict": fitted["CrossEntropyFlow"].predict,
        "DirichletClassification.predict": fitted["DirichletClassification"].predict,
        "DirichletClassification.predict_proba": fitted["DirichletClassification"].predict_proba,
        "FeatureRegression.predict": fitted["FeatureRegression"].predict,
    }
    return {
        **{name: lambda x, kernel=kernel: kernel(x, x) for name, kernel in kernels.items()},
        **{f"{name}.fit": fit for name, fit in fits.items()},
        **asked,
    }


CALLS = of_inputs()

WRONG = {
    "integers": torch.ones(6, 3, dtype=torch.long),
    "bools": torch.ones(6, 3) > 0,
    "integers of NumPy": np.ones((6, 3), int),
    "bools of NumPy": np.ones((6, 3), bool),
    "text": np.array([["a"] * 3] * 6),
    "NaN": X * torch.nan,
    "infinite": X / 0,
    "NaN of NumPy": np.full((6, 3), np.nan),
    "vector": X[:, 0],
    "number": torch.tensor(1.0).double(),
    "no columns": X[:, :0],
    "complex": X + 0j,
    "list": X.tolist(),
    "None": None,
}


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.filterwarnings("ignore")
def test_wrong_inputs_are_refused_in_a_line(name, unchecked):
    for case, x in WRONG.items():
        with pytest.raises(ValueError, match="must") as raised:
            CALLS[name](x)
            pytest.fail(f"{case} was taken")
        message = str(raised.value)
        assert message.startswith("`"), (case, message)
        assert "\n" not in message, case


@pytest.mark.parametrize("name", CALLS)
def test_arrays_are_taken_as_tensors(name):
    torch.manual_seed(0)
    right = CALLS[name](X)
    torch.manual_seed(0)
    got = CALLS[name](X.numpy())
    if isinstance(right, torch.Tensor):
        assert_close(got, right)
    elif isinstance(right, tuple):
        for part, expected in zip(got, right, strict=True):
            assert_close(part, expected)
    elif hasattr(right, "predict"):
        parts = [fit.predict(X) for fit in (got, right)]
        a, b = (part[0] if isinstance(part, tuple) else part for part in parts)
        assert_close(a, b)


def test_arrays_are_taken_beside_tensors():
    net = network()
    assert_close(Linearized(net)(X.numpy()), net(X))
    assert_close(centered_alignment((X @ X.T).numpy(), X @ X.T), torch.ones((), dtype=torch.float64))


KERNELS_THAT_ARE_NONE = {
    "not symmetric": lambda a, b: a @ b.T + a[:, :1],
    "negative": lambda a, b: -(a @ b.T) - 1,
    "indefinite": lambda a, b: (a @ b.T) - 30 * torch.outer(a[:, 0], b[:, 0]),
    "NaN": lambda a, b: a @ b.T * torch.nan,
    "one number": lambda a, b: (a @ b.T).sum(),
    "integers": lambda a, b: (a @ b.T).long(),
    "of NumPy": lambda a, b: (a @ b.T).numpy(),
    "None": lambda a, b: None,
}


@pytest.mark.parametrize("case", KERNELS_THAT_ARE_NONE)
def test_kernels_that_are_none_are_refused_in_a_line(case, unchecked):
    kernel = KERNELS_THAT_ARE_NONE[case]
    for name, fit in {
        "KernelRegression": lambda: KernelRegression(kernel, 1e-3).fit(X, Y),
        "KernelDynamics": lambda: KernelDynamics(kernel).fit(X, Y),
        "KernelDynamics initial": lambda: KernelDynamics(KERNEL, kernel).fit(X, Y).flow(X, 1.0, return_std=True),
        "CrossEntropyFlow": lambda: CrossEntropyFlow(kernel).fit(X, LABELS, [1.0]),
        "DirichletClassification": lambda: DirichletClassification(kernel, scale=1.0).fit(X, LABELS),
        "maximize_likelihood": lambda: maximize_likelihood(lambda s: kernel, X, Y, s=1.0),
    }.items():
        with pytest.raises(ValueError, match="must be") as raised:
            fit()
            pytest.fail(f"{name} took it")
        assert str(raised.value).startswith(f"`{name.split()[0]}"), str(raised.value)
        assert "\n" not in str(raised.value)


def test_half_precision_is_refused_where_matrices_are_factorized():
    for name in ("KernelRegression", "KernelDynamics", "CrossEntropyFlow", "DirichletClassification"):
        with pytest.raises(ValueError, match=r"fit\(X\)` must be of torch.float32 or torch.float64; got torch.float16"):
            CALLS[f"{name}.fit"](X.half())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_an_input_twice_without_noise_to_speak_of_is_solved_or_refused(dtype):
    twice, targets = torch.cat([X, X]).to(dtype), torch.cat([Y, Y + 1]).to(dtype)
    try:
        got = KernelRegression(KERNEL, 1e-13).fit(twice, targets).predict(twice)
    except ValueError as error:
        assert "use a larger ridge" in str(error)
        assert "\n" not in str(error)
    else:
        assert_close(got, (targets + torch.cat([Y + 1, Y]).to(dtype)) / 2, rtol=0.05, scale=1.0)


def breaks(a, b):
    """A kernel that six rows get, and five do not."""
    if len(a) == 5:
        raise ArithmeticError("no kernel of five rows")
    return KERNEL(a, b)


REFITS: dict[str, tuple[Any, Callable, Callable]] = {
    "KernelRegression": (KernelRegression(breaks, 0.1), lambda m, n: m.fit(X[:n], Y[:n]), lambda m: m.predict(X)),
    "KernelDynamics": (KernelDynamics(breaks), lambda m, n: m.fit(X[:n], Y[:n]), lambda m: m.flow(X, 1.0)),
    "CrossEntropyFlow": (
        CrossEntropyFlow(breaks),
        lambda m, n: m.fit(X[:n], LABELS[:n], [float(n)]),
        lambda m: m.predict(X),
    ),
    "DirichletClassification": (
        DirichletClassification(breaks, scale=1.0),
        lambda m, n: m.fit(X[:n], LABELS[:n]),
        lambda m: m.predict(X),
    ),
    "FeatureRegression": (
        FeatureRegression(0.1, lambda x: breaks(x, X)),
        lambda m, n: m.fit(X[:n], Y[:n]),
        lambda m: m.predict(X),
    ),
}


@pytest.mark.parametrize("name", REFITS)
def test_after_a_fit_that_failed_nothing_is_left_of_an_earlier_one(name):
    model, fit, ask = REFITS[name]
    fit(model, 6)
    ask(model)
    with pytest.raises(ArithmeticError):
        fit(model, 5)
    with pytest.raises(RuntimeError, match="fit"):
        ask(model)
    fit(model, 6)
    ask(model)
