"""The tangent kernel of π-networks, at the start and in training, against steps of SGD and against autograd."""

from copy import deepcopy

import pytest
import torch
from torch import nn

import mupi
from assertions import assert_close
from cases import randn, seeded
from mupi.kernels import EmpiricalNTK
from mupi.statistics import exponent

FEATURES = {"hermite": mupi.Hermite(2), "random": mupi.RandomFeatures(32), "atoms": mupi.Atoms()}
RATES = dict(first=0.3, last=2.0, bias=0.5)
LABELS = torch.tensor([0, 1, 2, 0])


def perceptron(features: mupi.Features) -> nn.Module:
    options = dict(features=features, activation=mupi.Erf(), readout_std=0.3, generator=seeded(), dtype=torch.float64)
    return mupi.PiMLP(3, 3, rank=5, **options)


def convolutions(features: mupi.Features) -> nn.Module:
    options = dict(features=features, readout_std=0.3, generator=seeded(), dtype=torch.float64)
    return mupi.PiCNN((1, 8, 8), 3, rank=4, pools=(2,), **options)


def trained(net: nn.Module, x: torch.Tensor, steps: int) -> nn.Module:
    optimizer = mupi.SGD(net.parameter_groups(0.3, **RATES))
    for _ in range(steps):
        nn.functional.cross_entropy(net(x), LABELS).backward()
        optimizer.step()
        optimizer.zero_grad()
    return net


@pytest.mark.parametrize("steps", [0, 3])
@pytest.mark.parametrize("features", FEATURES)
@pytest.mark.parametrize(("make", "d"), [(perceptron, 3), (convolutions, 64)])
def test_a_step_of_sgd_is_that_of_the_tangent_kernel_to_second_order(make, d, features, steps):
    x, new = randn(4, d), randn(3, d, seed=1)
    net = trained(make(FEATURES[features]), x, steps)
    out = net(x)
    (slope,) = torch.autograd.grad(nn.functional.cross_entropy(out, LABELS), out)
    kernel = EmpiricalNTK(net, net.parameter_groups(1.0, **RATES), block=3).full(new, x)
    predicted = -torch.einsum("iajb,jb->ia", kernel, slope)
    rates, gaps = (1e-2, 5e-3, 2.5e-3), []
    for lr in rates:
        moved = deepcopy(net)
        nn.functional.cross_entropy(moved(x), LABELS).backward()
        mupi.SGD(moved.parameter_groups(lr, **RATES)).step()
        gaps.append(float((moved(new) - net(new) - lr * predicted).norm().detach()))
    assert exponent(rates, gaps)[0] == pytest.approx(2, abs=0.05)
    assert gaps[0] < 0.1 * rates[0] * float(predicted.norm())


def test_atoms_have_the_kernel_of_their_features_where_these_are_finite():
    # κ of a polynomial of degree 2 is that of `mupi.Hermite(2)` exactly.
    φ = mupi.Polynomial((0.3, 1.0, 0.5))
    nets = [
        mupi.PiMLP(3, 2, rank=5, features=f, activation=φ, readout_std=0.3, generator=seeded(), dtype=torch.float64)
        for f in (mupi.Atoms(), mupi.Hermite(2))
    ]
    x, y = randn(4, 3), randn(3, 3, seed=1)
    for ask in (lambda k: k(x, y), lambda k: k.full(x, y), lambda k: k.by_output(x), lambda k: k(x)):
        atoms, hermite = (ask(EmpiricalNTK(net, block=2)) for net in nets)
        assert_close(atoms, hermite, rtol=1e-10)
    kernels = [EmpiricalNTK(net)(x) for net in nets]
    assert float(torch.linalg.eigvalsh(kernels[0])[0]) > -1e-12


def test_groups_are_rates_by_name():
    net = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1)).double()
    x = randn(5, 3)
    groups = [{"params": [net[0].weight, net[0].bias], "lr": 0.5}, {"params": [net[2].weight], "lr": 2.0}]
    by_name = {"0.weight": 0.5, "0.bias": 0.5, "2.weight": 2.0, "2.bias": 0.0}
    assert_close(EmpiricalNTK(net, groups)(x), EmpiricalNTK(net, by_name)(x))
    optimizer = torch.optim.SGD(groups, lr=1.0)
    assert_close(EmpiricalNTK(net, optimizer.param_groups)(x), EmpiricalNTK(net, by_name)(x))
    assert float((EmpiricalNTK(net, groups)(x) - EmpiricalNTK(net)(x)).norm()) > 1e-3


def test_a_kernel_of_any_time_is_one_to_regress_with():
    x = randn(4, 3)
    start, end = perceptron(mupi.Atoms()), trained(perceptron(mupi.Atoms()), x, 3)
    for net in (start, end):
        kernel = EmpiricalNTK(net)
        assert mupi.KernelRegression(kernel, 1e-6).fit(x, LABELS).predict(x).shape == (4, 3)
    assert float((EmpiricalNTK(start)(x) - EmpiricalNTK(end)(x)).norm()) > 1e-3
