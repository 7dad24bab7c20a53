"""Callables as activations: what PyTorch has, random functions at all scales, and what is no function of one number."""

import json
import os
import re
import subprocess
import sys
import warnings
from functools import partial
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import mupi
from mupi.kernels import ConvNNGP, ConvNTK
from mupi.testing.moments import derivative
from oracles.piecewise import expectation

CALLABLES = {
    "torch.relu": (torch.relu, ()),
    "Tensor.relu": (torch.Tensor.relu, ()),
    "F.relu": (F.relu, ()),
    "nn.ReLU": (nn.ReLU(), ()),
    "nn.ReLU(inplace)": (nn.ReLU(inplace=True), ()),
    "clamp": (lambda x: x.clamp(min=0), ()),
    "where": (lambda x: torch.where(x > 0, x, 0.2 * x), ()),
    "shifted relu": (lambda x: torch.relu(x - 1.5), (1.5,)),
    "torch.abs": (torch.abs, ()),
    "abs": (abs, ()),
    "nn.LeakyReLU": (nn.LeakyReLU(0.3), ()),
    "partial leaky_relu": (partial(F.leaky_relu, negative_slope=0.2), ()),
    "nn.Sequential": (nn.Sequential(nn.ReLU()), ()),
    "nn.Hardtanh": (nn.Hardtanh(), (-1, 1)),
    "nn.ReLU6": (nn.ReLU6(), (6,)),
    "nn.Softshrink": (nn.Softshrink(), (-0.5, 0.5)),
    "F.hardsigmoid": (F.hardsigmoid, (-3, 3)),
    "F.hardswish": (F.hardswish, (-3, 3)),
    "F.gelu": (F.gelu, ()),
    "nn.GELU": (nn.GELU(), ()),
    "nn.GELU(tanh)": (nn.GELU(approximate="tanh"), ()),
    "torch.erf": (torch.special.erf, ()),
    "torch.tanh": (torch.tanh, ()),
    "nn.Tanh": (nn.Tanh(), ()),
    "torch.sin": (torch.sin, ()),
    "torch.cos": (torch.cos, ()),
    "nn.Identity": (nn.Identity(), ()),
    "torch.square": (torch.square, ()),
    "F.silu": (F.silu, ()),
    "F.mish": (F.mish, ()),
    "F.softplus": (F.softplus, ()),
    "F.elu": (F.elu, ()),
    "F.selu": (F.selu, ()),
    "F.celu": (F.celu, ()),
    "F.softsign": (F.softsign, ()),
    "F.logsigmoid": (F.logsigmoid, ()),
    "torch.sigmoid": (torch.sigmoid, ()),
    "torch.atan": (torch.atan, ()),
    "relu squared": (lambda x: torch.relu(x) ** 2, ()),
    "exp(-x^2)": (lambda x: torch.exp(-(x**2)), ()),
    "torch.exp": (torch.exp, ()),
    "torch.sinc": (lambda x: torch.sin(x) / (1 + x**2), ()),
}

LEARNED = nn.Parameter(torch.ones(()))

NOT_ACTIVATIONS = {
    "a name": "relu",
    "a number": 3,
    "a list": [torch.relu],
    "the class nn.ReLU": nn.ReLU,
    "the class mupi.ReLU": mupi.ReLU,
    "nn.PReLU": nn.PReLU(),
    "nn.RReLU": nn.RReLU(),
    "nn.RReLU, evaluating": nn.RReLU().eval(),
    "nn.Dropout": nn.Dropout(0.3),
    "nn.Dropout, evaluating": nn.Dropout(0.3).eval(),
    "nn.Softmax": nn.Softmax(-1),
    "F.softmax": partial(F.softmax, dim=-1),
    "torch.softmax": torch.softmax,
    "nn.GLU": nn.GLU(),
    "nn.LayerNorm": nn.LayerNorm(5, elementwise_affine=False),
    "nn.BatchNorm1d": nn.BatchNorm1d(5, affine=False),
    "F.normalize": F.normalize,
    "cumsum": lambda x: x.cumsum(-1),
    "sort": lambda x: x.sort(-1).values,
    "flip": lambda x: x.flip(-1),
    "centred by the batch": lambda x: x - x.mean(),
    "scaled by the batch": lambda x: torch.tanh(x / x.std()),
    "noise": lambda x: x + 0.1 * torch.randn_like(x),
    "half": lambda x: x.half(),
    "bool": lambda x: x > 0,
    "a sum": torch.sum,
    "of another shape": lambda x: x[..., None],
    "in place": lambda x: x.mul_(2),
    "detached": lambda x: torch.tanh(x).detach(),
    "straight-through": lambda x: x + (torch.tanh(x) - x).detach(),
    "numpy": lambda x: torch.from_numpy(x.detach().numpy() ** 3),
    "torch.sign": torch.sign,
    "torch.round": torch.round,
    "nn.Hardshrink": nn.Hardshrink(),
    "nn.Threshold": nn.Threshold(1.0, 0.0),
    "torch.log": torch.log,
    "torch.sqrt": torch.sqrt,
    "1/x": torch.reciprocal,
    "a learned scale": lambda x: LEARNED * torch.relu(x),
    "of two arguments": torch.maximum,
    "None in a tuple": (None,),
}

CONSTRUCTORS = {
    "PiMLP": lambda φ: mupi.PiMLP(3, 2, 4, activation=φ),
    "PiCNN": lambda φ: mupi.PiCNN((1, 4, 4), 2, 4, pools=(2,), activation=φ),
    "PiResNet": lambda φ: mupi.PiResNet((1, 16, 16), 2, 4, activation=φ),
    "PiTransformer": lambda φ: mupi.PiTransformer(mupi.Patches((1, 4, 4), 2), 2, 4, heads=1, activation=φ),
    "PiLinear": lambda φ: mupi.PiLinear(4, 2, features=mupi.Hermite(2), activation=φ),
    "PiConv2d": lambda φ: mupi.PiConv2d(4, 2, features=mupi.Hermite(2), activation=φ),
    "MLP": lambda φ: mupi.MLP(3, 2, 8, activation=φ),
    "MuCNN": lambda φ: mupi.nets.MuCNN((1, 4, 4), 2, 8, pools=(2,), activation=φ),
    "NNGP": lambda φ: mupi.NNGP(2, φ),
    "NTK": lambda φ: mupi.NTK(2, φ),
    "ConvNNGP": lambda φ: ConvNNGP((1, 4, 4), 2, φ),
    "ConvNTK": lambda φ: ConvNTK((1, 4, 4), 2, φ),
    "MuLimit": lambda φ: mupi.MuLimit(2, φ),
}


def outcome_of_kernel(φ, breaks, scale, q):
    """Of a depth-1 NTK of two inputs, whose E φφ and E φ'φ' are known."""
    x = scale * torch.tensor([[1.0, 0.0], [q, (1 - q * q) ** 0.5]], dtype=torch.float64) * 2**0.5
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        try:
            nngp, ntk = (kernel(1, φ, sigma_w=1.0)(x) for kernel in (mupi.NNGP, mupi.NTK))
        except ValueError:
            return "refused"
        except Exception:
            return "traceback"
    slopes = (ntk - nngp) / (x @ x.T / 2)
    for moment, f in ((nngp, lambda x: φ(x.clone())), (slopes, derivative(lambda x: φ(x.clone())))):
        sizes = expectation(f, f, scale, 1.0, scale, breaks)
        off = max(
            abs(float(moment[0, 0]) - sizes), abs(float(moment[0, 1]) - expectation(f, f, scale, q, scale, breaks))
        )
        allowed = [1e-3, *(float(re.findall(r"by up to (\S+)", str(w.message))[0]) for w in said)]
        if not off <= 1.05 * max(allowed) * sizes + 1e-12:
            return "silent"
    return "right"


@pytest.mark.parametrize("scale", [1.0, 30.0])
def test_what_pytorch_calls_an_activation(record, scale):
    for name, (φ, breaks) in CALLABLES.items():
        for q in (0.3, 0.999) if scale == 1 else (0.999,):
            record("activations: PyTorch's", f"{name} at {scale}, {q}", outcome_of_kernel(φ, breaks, scale, q))


def random_function(generator):
    """A continuous function of a few kinks, bends, bumps and waves of random places and widths, and its kinks."""

    def uniform(low, high, n=1):
        return low + (high - low) * torch.rand(n, generator=generator, dtype=torch.float64)

    kinds = torch.rand(4, generator=generator) < 0.5
    kinks = uniform(-3, 3, int(4 * torch.rand(1, generator=generator)))
    changes, (slope, constant) = uniform(-2, 2, len(kinks)), uniform(-1, 1, 2)
    (size, place, width), (bend, at, steep) = (
        torch.stack([uniform(-2, 2)[0], uniform(-3, 3)[0], 10 ** uniform(-1, 1)[0]]) for _ in range(2)
    )
    wave, pace = uniform(-1, 1, 2)

    def f(x):
        total = constant + slope * x
        for t, change in zip(kinks, changes, strict=True):
            total = total + change * torch.relu(x - t)
        if kinds[0]:
            total = total + size * torch.exp(-(((x - place) / width) ** 2))
        if kinds[1]:
            total = total + bend * torch.tanh(steep * (x - at))
        if kinds[2]:
            total = total + wave * torch.sin(3 * pace * x) * torch.exp(-(x**2) / 8)
        if kinds[3]:
            total = total + F.elu(x)
        return total.to(x)

    return f, (*kinks.tolist(), 0.0, float(place), float(at))


def test_random_functions_at_random_scales(record):
    for seed in range(16):
        generator = torch.Generator().manual_seed(seed)
        φ, breaks = random_function(generator)
        scale = float(10 ** (4 * torch.rand(1, generator=generator) - 2))
        q = float(1 - 10 ** (-5 * torch.rand(1, generator=generator)))
        outcome = outcome_of_kernel(φ, breaks, scale, q if seed % 3 else -q)
        record("activations: random functions", f"seed {seed} at {scale:.3g}, {q:.4g}", outcome)


def outcomes_of_constructors():
    """(case, outcome) of every constructor with every callable that is none."""
    outcomes = []
    for name, construct in CONSTRUCTORS.items():
        for kind, φ in NOT_ACTIVATIONS.items():
            try:
                construct(φ)
            except ValueError as error:
                named = f"`{name}(activation=...)`" in str(error) and "\n" not in str(error)
                outcome = "refused" if named else "traceback"
            except Exception:
                outcome = "traceback"
            else:
                outcome = "silent"
            outcomes.append((f"{name}, {kind}", outcome))
        for φ in (torch.relu, nn.GELU(), mupi.Tanh()):
            construct(φ)
            outcomes.append((f"{name}, {φ} (taken)", "right"))
    return outcomes


def test_what_is_no_activation(record):
    # In a process without the runtime type checks of the tests, as users have it.
    paths = os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    result = subprocess.run(
        [sys.executable, "-W", "ignore", __file__],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"PYTHONPATH": paths},
    )
    for case, outcome in json.loads(result.stdout):
        record("activations: no function of single numbers", case, outcome)


@pytest.mark.parametrize("φ", [F.silu, F.elu, F.softsign, torch.relu, nn.Hardtanh()], ids=str)
def test_the_error_report_is_no_less_than_the_error(record, φ):
    g = torch.randn(30, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 3
    net = mupi.PiMLP(
        4, 1, 4, 1, features=mupi.Atoms(), activation=φ, bias_scale=0.0, dtype=torch.float64, readout_std=1.0
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        report = net.error_report(g)[0]
        atoms = net.readout.weight.expansion()
        junction = net.hidden(g)[-1].detach()
        value = net(g).detach() / net.readout.scale
    exact = torch.zeros(len(g), dtype=torch.float64)
    for c, a, b in zip(atoms.c, atoms.a, atoms.b, strict=True):
        for i, row in enumerate(junction):
            s_b, s_g = float(b.norm()), float(row.norm())
            exact[i] += float(c * a[0]) * expectation(φ, φ, s_b, float(b @ row) / s_b / s_g, s_g, (-1, 1))
    off = float((value[:, 0] - exact).norm() / exact.norm())
    record("activations: error reports", str(φ), "right" if off <= report.output + 1e-9 else "silent")


if __name__ == "__main__":
    print(json.dumps(outcomes_of_constructors()))
